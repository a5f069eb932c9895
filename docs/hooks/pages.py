"""What MkDocs does beside rendering docs/: pages made of the code, the changelog and the notebooks; formulas.

Nothing that is made here is kept in the repository, so none of it can be out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this one

from mkdocs.structure.files import File, Files

from formulas import Formulas
from notebook_page import notebook_page
from reference_cli import cli_page
from reference_config import config_page
from reference_python import python_page
from twotower.core.colours import DARK, LIGHT

ROOT = Path(__file__).parents[2]


NOTEBOOKS = {
    "notebook": "kuairec.ipynb",
    "notebook-own-data": "own-data.ipynb",
    "notebook-sequences": "sequences.ipynb",
}
"""Page -> notebook in examples/."""


def changelog_page() -> str:
    """Return the changelog as it is."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def colours_css() -> str:
    """Return the colours of the page and the report, as variables of the light and the dark scheme."""
    schemes = {"default": LIGHT, "slate": DARK}
    rules = {
        name: " ".join(f"--{key}: {value};" for key, value in of.items()) for name, of in schemes.items()
    }
    return "".join(f'[data-md-color-scheme="{name}"] {{ {rule} }}\n' for name, rule in rules.items())


PAGES: dict[str, Callable[[], str]] = {
    "reference/config.md": config_page,
    "reference/cli.md": cli_page,
    "reference/python.md": python_page,
    "changelog.md": changelog_page,
    "assets/colours.css": colours_css,
}


def on_config(config: Any) -> Any:
    """Add the extension that renders formulas."""
    config.markdown_extensions.append(Formulas())
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages and style sheet, and the pictures of the notebooks."""
    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for page, notebook in NOTEBOOKS.items():
        text, pictures = notebook_page(ROOT / "examples" / notebook, page)
        files.append(File.generated(config, f"{page}.md", content=text))
        for name, picture in pictures.items():
            files.append(File.generated(config, f"{page}/{name}", content=picture))
    return files

"""The documentation builds, strictly, into pages that load nothing from elsewhere; what is made is whole."""

from __future__ import annotations

import re
import sys

import pytest
import typer

from doc_blocks import ROOT
from twotower.cli import app
from twotower.config import Config
from twotower.config.parts import MODEL, PLACES

sys.path.insert(0, str(ROOT / "docs" / "hooks"))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True))
    return folder


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*\b(?:href|src)=\"?([^\" >]+)", text)
        assert [url for url in loaded if re.match(r"(https?:)?//", url)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


@pytest.mark.slow
def test_formulas_are_rendered(site):
    text = (site / "objectives.html").read_text(encoding="utf-8")
    assert text.count("<math") > 20
    assert not re.search(r"\$\$|\\frac|\\sum", re.sub(r"<annotation.*?</annotation>", "", text))


def test_the_config_reference_has_every_key_with_its_docstring():
    from reference_config import config_page

    page = config_page()
    for name, field in Config.model_fields.items():
        kind = getattr(field.annotation, "model_fields", None)
        if kind is None:
            continue
        part = page.split(f"## [{field.alias or name}]")[1].split("\n## ")[0]
        for key in kind:
            found = re.search(rf"<dt markdown>`{key}`.*?</dt>\n<dd markdown>(.+?)</dd>", part)
            assert found, f"{name}.{key}"
            assert len(found[1]) > 10
    for place in PLACES.values():
        for name, config in place.configs():
            part = page.split(f"### {place.key} = `{name}` ")[1].split("\n## ")[0].split("\n### ")[0]
            for key in set(config.model_fields) - set(place.base.model_fields):
                assert re.search(rf"<dt markdown>`{key}`.*?</dt>\n<dd markdown>(.+?)</dd>", part), (
                    f"{name}.{key}"
                )
    assert MODEL.fields()["dim"].default == "auto"
    assert '`dim` <span class="facts" markdown>`"auto"` or whole number from 4; default `"auto"`' in page


def test_the_command_line_reference_has_every_option():
    from reference_cli import cli_page

    page = cli_page()
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        part = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for parameter in command.params:
            options = [*parameter.opts, *parameter.secondary_opts]
            for option in options if parameter.param_type_name == "option" else ():
                assert f"`{option}`" in part, (name, option)


def test_the_python_reference_has_every_public_name():
    import twotower
    from reference_python import python_page

    page = python_page()
    for name in twotower.__all__:
        if name != "datasets":
            assert re.search(rf"^## {name} ", page, flags=re.M), name
    assert "#### Recommender.users_for " in page
    assert "`history`" in page


def test_docstrings_are_read():
    from docstrings import rendered

    def fields(a, b):
        """Do it.

        Args:
            a: the first,
                on two lines.
            b: the second.

        Returns:
            Something.
        """

    def followed(a, b):
        """Do it.

        Args:
            a, b: both.

        Degenerate case: none.
        """

    found = rendered(fields)
    assert "<dt markdown>`a`</dt>\n<dd markdown>the first, on two lines.</dd>" in found
    assert found.endswith("**Returns**\n\nSomething.")
    found = rendered(followed)
    assert "<dt markdown>`a`, `b`</dt>\n<dd markdown>both.</dd>" in found
    assert found.endswith("Degenerate case: none.")

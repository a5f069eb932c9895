"""The public names are there and documented, importing is quick, and what is written about exists."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import twotower

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODULES = [info.name for info in pkgutil.walk_packages(twotower.__path__, "twotower.")]
EXAMPLES = [
    ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "src" / "twotower").rglob("*.py"))
    if ">>>" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", twotower.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(twotower, name)
    assert inspect.getdoc(value), f"{name} needs a docstring"
    assert name in dir(twotower)


def test_public_methods_are_documented():
    for kind in (twotower.TwoTower, twotower.Recommender, twotower.Dataset, twotower.Schema):
        for name, method in inspect.getmembers(kind, callable):
            if not name.startswith("_") and method.__module__.startswith("twotower"):
                assert inspect.getdoc(method), f"{kind.__name__}.{name} needs a docstring"


def test_public_names_are_where_the_package_says():
    assert set(twotower._HOME) | {"datasets", "load"} == set(twotower.__all__)
    assert twotower.__version__ == version("twotower")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Twotower'"):
        _ = twotower.Twotower
    assert not hasattr(twotower, "tune")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("twotower", {"torch", "numba", "scipy", "polars", "pandas", "pydantic"}),
        ("twotower.cli", {"torch", "numba"}),
        ("twotower.client", {"torch", "numba", "scipy", "polars", "pandas", "numpy", "fastapi", "starlette"}),
    ],
)
def test_importing_is_quick(module, heavy):
    code = f"import sys, {module}; print(*({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.split() == []


@pytest.mark.parametrize("name", MODULES)
def test_every_module_is_described(name):
    doc = importlib.import_module(name).__doc__
    assert doc
    assert "To be described" not in doc


@pytest.mark.parametrize("name", EXAMPLES)
def test_docstring_examples_are_true(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_make_targets_that_are_written_about_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    used = set(re.findall(r"`make ([a-z]+)|run: make ([a-z]+)", README + workflow + contributing))
    assert used
    assert {name for pair in used for name in pair if name} <= targets


def test_the_places_of_behaviours_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("| behaviour | place |") :].split("\n\n")[0]
    places = re.findall(r"`(\w+/\w+\.py)`(?:: `(\w+)`)?", table)
    assert len(places) > 5
    for file, name in places:
        assert re.search(rf"\b{name}\b", (ROOT / "src" / "twotower" / file).read_text(encoding="utf-8")), file


def test_constraints_pin_every_requirement():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            name, _, pinned = line.partition("==")
            assert re.fullmatch(r"[0-9][0-9a-z.]*", pinned), f"{line}: one version, without a local part"
            pins[name] = pinned
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    required = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        required += extra
    assert {re.split(r"[<>=\[; ]", line)[0].lower() for line in required} <= set(pins)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/design.md"])
def test_the_layers_of_the_documents_are_those_that_are_checked(page: str) -> None:
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    checked = [set(re.findall(r"\w+", layer)) for layer in contract["contracts"][0]["layers"]]
    text = (ROOT / page).read_text(encoding="utf-8")
    table = text[text.index("| package | contents |") :].split("\n\n")[0]
    written = [set(re.findall(r"`(\w+)(?:\.py|/)`", row.split("|")[1])) for row in table.splitlines()[2:]]
    assert written == [checked[0] | checked[1], *checked[2:]]  # one row has __main__ and cli

"""How the package is laid out: short files, names that don't stutter, nothing private read from outside."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import twotower

ROOT = Path(twotower.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MOST_LINES = 400
LONG: set[str] = set()
"""Files that are still longer."""
STUTTER = {"audit/audit.py", "config/config.py", "recommender/recommender.py"}
"""Modules that are named for the one class or function that their package is about."""
OF_TUPLES = {"_asdict", "_fields", "_make", "_replace"}
"""Public methods of a NamedTuple."""
OF_OTHERS = {"sys._getframe", "hashlib._Hash", "gloo._Options", "options._devices"}
"""Private names of other projects that there is no public way to."""


def private_reads(text: str, package: str) -> list[str]:
    """Return the private names of others that a module reads.

    A name with one leading underscore belongs to the module that defines it, and to subclasses, which read it
    from ``self``, ``cls`` or ``super()``. A private module belongs to its package.
    """
    tree, own, found = ast.parse(text), set[str](), []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if ast.unparse(node.value) == "self":
                own.add(node.attr)
        elif isinstance(node, ast.alias):
            own.add(node.asname or node.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            name = ast.unparse(node)
            inherited = ast.unparse(node.value) in ("self", "cls", "super()")
            if node.attr not in own | OF_TUPLES and not inherited and name not in OF_OTHERS:
                found.append(f"{name}, line {node.lineno}")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twotower"):
            home = str(node.module)
            names = [part for part in home.split(".") if is_private(part)]
            names += [alias.name for alias in node.names if is_private(alias.name)]
            of_package = home.startswith(package) and all((ROOT / module_of(home, n)).exists() for n in names)
            if names and not of_package:
                found.append(f"from {home} import {', '.join(a.name for a in node.names)}")
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def module_of(home: str, name: str) -> str:
    parts = home.split(".")[1:]
    inside = parts[: parts.index(name) + 1] if name in parts else [*parts, name]
    return "/".join(inside) + ".py"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_named_for_what_it_does_and_reads_nothing_private_of_others(path: Path) -> None:
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    assert text.count("\n") <= MOST_LINES or name in LONG, "a file this long holds two ideas; split it"
    assert path.stem != path.parent.name or name in STUTTER, "name the module for what it does"
    package = ".".join(("twotower", *path.relative_to(ROOT).parts[:-1]))
    assert private_reads(text, package) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import a\na.b._c", ["a.b._c, line 2"]),
        ("from twotower.data.tables import _read", ["from twotower.data.tables import _read"]),
        ("from twotower.retrieval import _clusters", ["from twotower.retrieval import _clusters"]),
        ("class A:\n    def f(self, other):\n        self._x = other._x + self._y", []),
        ("found = pair._replace(x=1)", []),
    ],
)
def test_a_private_read_would_be_found(text: str, expected: list[str]) -> None:
    assert private_reads(text, "twotower.data") == expected


def test_a_private_module_is_its_packages() -> None:
    assert private_reads("from twotower.retrieval import _clusters", "twotower.retrieval") == []


def test_no_two_files_of_tests_have_the_same_name() -> None:
    """pytest imports them as top-level modules, and runs none of the second one."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, times in names.items() if times > 1 and name != "__init__.py"] == []

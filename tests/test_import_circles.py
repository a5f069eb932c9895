"""No module of the package imports itself by way of others, inside functions either; types are exempt."""

from __future__ import annotations

import ast
import graphlib
import time
from pathlib import Path

import twotower

ROOT = Path(twotower.__file__).parent
OWN_PROCESS = {"twotower.retrieval._legacy"}
"""Modules whose imports run in a process of their own."""


def name_of(path: Path) -> str:
    parts = ("twotower", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def parsed(text: str) -> ast.Module:
    """Return the tree of a module. Python 3.11 counts depth for all threads at once, and may be disturbed."""
    for _ in range(20):
        try:
            return ast.parse(text)
        except SystemError:  # another thread parses too
            time.sleep(0.05)
    return ast.parse(text)


def imported(path: Path, modules: set[str]) -> set[str]:
    """Return the modules that a file imports by name, wherever the import stands."""
    found, tree = set(), parsed(path.read_text(encoding="utf-8"))
    types = [
        node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    left = {id(inner) for node in types for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in left:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner if inner <= modules else {node.module, *(inner & modules)}
    own = name_of(path)
    return set() if own in OWN_PROCESS else (found & modules) - {own}


def circle(graph: dict[str, set[str]]) -> list[str] | None:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return None


def test_no_import_circle() -> None:
    paths = list(ROOT.rglob("*.py"))
    modules = {name_of(path) for path in paths}
    graph = {name_of(path): imported(path, modules) for path in paths if path != ROOT / "__init__.py"}
    found = circle(graph)
    assert found is None, " -> ".join(found or ())


def test_a_circle_would_be_found() -> None:
    assert circle({"a": {"b"}, "b": {"a"}}) is not None

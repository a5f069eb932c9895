"""The Python reference: the public names of the package and of its public modules, from their docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from docstrings import rendered

_TOP = """# Python

The public names, from their docstrings. `import twotower as tt` is fast: dependencies such as torch are
imported when a name that needs them is first used. Names that are not listed here may change without notice.
"""

_MODULES: dict[str, str] = {
    "twotower": "",
    "twotower.datasets": "`tt.datasets`: data sets by name.",
    "twotower.evaluation": "Measure any model, with intervals and by slice.",
    "twotower.metrics": "Pure metrics of arrays.",
    "twotower.baselines": "Baselines for predictions and rankings.",
    "twotower.retrieval": "Search for the largest dot products.",
    "twotower.server": "The server, for use in your own application. Needs the extra `serve`.",
    "twotower.client": "A typed client of the server. Needs the extra `client`.",
    "twotower.errors": "The errors that a user can fix.",
}
_NAMES: dict[str, str] = {
    "twotower": """
        TwoTower Recommender Query Queries Dataset Schema FeatureKind split read_dataset read_table load
        compare cross_validate evaluate_rating Callback TwoTowerError""",
    "twotower.datasets": "load names",
    "twotower.evaluation": """
        evaluate_model evaluate_rating evaluate_ranking compare_ratings compare_rankings Evaluation
        RatingEvaluation RankingEvaluation SliceResult RatingComparison RankingComparison Predictor Ranker""",
    "twotower.metrics": """
        Interval mae rmse r2 xauc xauc_by_user rating_report paired_difference ranking_values recall ndcg
        hit_rate precision average_precision reciprocal_rank coverage gini popularity_percentile
        self_information mean_intervals mean_differences""",
    "twotower.baselines": """
        GlobalMean Biases NotebookNetwork Popularity RecentPopularity CategoryPopularity ContentKNN ItemKNN
        RP3beta NextItemCounts EASE IALS BPR""",
    "twotower.retrieval": """
        Index ExactIndex HnswIndex IvfIndex IvfPqIndex tune_index load_index exact_top_k Candidates""",
    "twotower.errors": """
        TwoTowerError ConfigError DataError DownloadError BundleError TrainingError MissingExtraError""",
}


def python_page() -> str:
    """Return the page's Markdown."""
    parts = [_TOP]
    anchors: dict[str, str] = {}
    shown: list[tuple[str, list[tuple[str, Any]]]] = []
    for module in _MODULES:
        home = importlib.import_module(module)
        names = _NAMES[module].split() if module in _NAMES else home.__all__
        if module == "twotower":
            names = [*names, *(name for name in home.__all__ if name not in {*names, "datasets"})]
        found = [(name, getattr(home, name)) for name in names]
        seen = {id(value) for _, listed in shown for _, value in listed}
        found = [(name, value) for name, value in found if id(value) not in seen]
        shown.append((module, found))
        for name, _value in found:
            anchors.setdefault(name, _anchor(module, name))
    for module, found in shown:
        short = module.removeprefix("twotower.")
        if module != "twotower":
            parts.append(f"## {module} {{ #{short} }}\n\n{_MODULES[module]}")
        level = 2 if module == "twotower" else 3
        parts += [_name(module, name, value, level) for name, value in found]
    return _linked("\n\n".join(parts), anchors) + "\n"


def _anchor(module: str, name: str) -> str:
    short = module.removeprefix("twotower").lstrip(".").replace(".", "-")
    return f"{short}-{name}".lower() if short else name.lower()


def _name(module: str, name: str, value: Any, level: int) -> str:
    heading = f"{'#' * level} {name} {{ #{_anchor(module, name)} }}"
    parts = [heading]
    if inspect.isclass(value):
        if _has_signature(value):
            parts.append(_signature(name, value))
        parts.append(rendered(value))
        for method, function in _methods(value):
            parts.append(f"#### {name}.{method} {{ #{_anchor(module, name)}-{method} }}")
            parts += [_signature(method, function), rendered(function)]
    else:
        parts += [_signature(name, value), rendered(value)]
    return "\n\n".join(part for part in parts if part)


def _has_signature(value: type) -> bool:
    if issubclass(value, Exception) or inspect.isabstract(value):
        return False
    if re.search(r"Made by|Build one with", inspect.getdoc(value) or ""):
        return False
    return (
        "__init__" in value.__dict__
        and not hasattr(value, "model_fields")
        and not hasattr(value, "__members__")
    )


def _methods(value: type) -> list[tuple[str, Any]]:
    package = value.__module__.rpartition(".")[0]
    kinds = [kind for kind in value.__mro__ if kind is value or kind.__module__.rpartition(".")[0] == package]
    found: list[tuple[str, Any]] = []
    for name, given in [own for kind in kinds for own in vars(kind).items()]:
        function = given.__func__ if isinstance(given, classmethod | staticmethod) else given
        if name.startswith("_") or not inspect.isfunction(function):
            continue
        if not function.__module__.startswith("twotower") or name in dict(found):
            continue
        found.append((name, function))
    return found


def _signature(name: str, value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    kept = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    shown = [_parameter(one) for one in kept]
    named = [one.kind is one.KEYWORD_ONLY for one in kept]
    if any(named) and not any(one.kind is one.VAR_POSITIONAL for one in kept):
        shown.insert(named.index(True), "*")
    gives = "" if inspect.isclass(value) else _annotation(signature.return_annotation)
    gives = f" -> {gives}" if gives else ""
    line = f"{name}({', '.join(shown)}){gives}"
    if len(line) > 88:
        line = f"{name}(\n" + "".join(f"    {one},\n" for one in shown) + f"){gives}"
    return f"```{{ .python .signature .no-copy }}\n{line}\n```"


def _parameter(given: inspect.Parameter) -> str:
    stars = "*" if given.kind is given.VAR_POSITIONAL else "**" if given.kind is given.VAR_KEYWORD else ""
    kind = _annotation(given.annotation)
    kind = f": {kind}" if kind else ""
    if given.default is given.empty:
        return f"{stars}{given.name}{kind}"
    return f"{stars}{given.name}{kind}{' = ' if kind else '='}{given.default!r}"


def _annotation(given: Any) -> str:
    if given is inspect.Parameter.empty:
        return ""
    return str(given if isinstance(given, str) else getattr(given, "__name__", given)).replace("'", "")


def _linked(text: str, anchors: dict[str, str]) -> str:
    """Link names in backticks, but for those in headings and code."""

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f"[`{name}`](#{anchors[name]})" if name in anchors else found[0]

    lines, inside = [], False
    for line in text.split("\n"):
        if line.startswith("```"):
            inside = not inside
        if not inside and not line.startswith(("#", "**")):
            lines.append(re.sub(r"(?<!`)(?<!\[)`(\w+)`(?!`)", link, line))
        else:
            lines.append(line)
    return "\n".join(lines)

"""Tables of metrics on stdout: one model, its slices, or several models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from twotower.cli.output import BETWEEN, new_console, new_table
from twotower.metrics import metric_of
from twotower.metrics.registry import shown_metrics, title_of

if TYPE_CHECKING:
    from twotower.retrieval import Point

_NARROWEST = 12
"""Fewest cells for row names in a table whose numbers are not wrapped."""

Interval = Mapping[str, float | None]


def print_evaluation(report: Mapping[str, Any]) -> None:
    """Print the metrics of one model, each with its interval: for predicted labels, rankings, or both."""
    console = new_console()
    if report["rating"]:
        table = new_table("metric", "value", "95% interval")
        for name, interval in report["rating"].items():
            table.add_row(title_of(name), _number(interval["value"], ".4f"), bounds(interval, ".4f"))
        console.print(f"test set, {report['rows']:,} rows")
        console.print(table)
    if report["ranking"]:
        ranked = report["ranked"]
        ks = list(dict.fromkeys(name.partition("@")[2] for name in report["ranking"] if "@" in name))
        metrics: dict[str, dict[str, str]] = {}  # metric -> k -> cell; one of whole lists is at the last k
        for name, interval in report["ranking"].items():
            metric, _, k = name.partition("@")
            metrics.setdefault(metric, {})[k or ks[-1]] = _with_bounds(interval)
        lines = [[title_of(metric), *(of.get(k, "") for k in ks)] for metric, of in metrics.items()]
        console.print(
            f"test set, {ranked['items']:,} items ranked for {ranked['users']:,} users with "
            f"{ranked['positives']:,} positives{_left_out(ranked['left_out'])}"
        )
        _print_fitted(console, ["ranking", *(f"@{k}" for k in ks)], lines)
    print_beside(report.get("popularity") or {}, report["ranking"])
    if (stages := report.get("stages")) is not None:
        print_stages(stages, report["ranking"])


def print_stages(stages: Mapping[str, Any], both: Mapping[str, Interval]) -> None:
    """Print the towers alone, both stages, and the second one among its candidates."""
    console, lines = new_console(), []
    for name, interval in stages["difference"].items():
        values = (_number(of[name]["value"], ".4f") for of in (stages["towers"], both, stages["ranker"]))
        difference = f"{_number(interval['value'], '+.4f')} {bounds(interval, '+.3f')}".strip()
        lines.append([title_of(name), *values, difference])
    names = ["ranking", "towers alone", "both stages", "ranker on what was found", "difference"]
    _print_fitted(console, names, lines)
    console.print(stages["says"], markup=False)


def print_beside(popularity: Mapping[str, Any], ours: Mapping[str, Interval]) -> None:
    """Print our ranking beside the popularity ranking, and a sentence that says which is better."""
    if not popularity:
        return
    console = new_console()
    lines = []
    for name, interval in popularity["difference"].items():
        values = (_number(of[name]["value"], ".4f") for of in (ours, popularity["metrics"]))
        difference = f"{_number(interval['value'], '+.4f')} {bounds(interval, '+.3f')}".strip()
        lines.append([title_of(name), *values, difference])
    _print_fitted(console, ["ranking", "ours", f"popularity ({popularity['counted']})", "difference"], lines)
    console.print(popularity["says"], markup=False)


_REASONS = {
    "seen": "already in the user's training set",
    "not_candidates": "not among the candidates",
    "repeated": "repeated pairs",
}


def _left_out(counts: Mapping[str, int]) -> str:
    """Return how many test positives are left out of the ranking, and why."""
    said = [f"{counts[name]:,} ({why})" for name, why in _REASONS.items() if counts.get(name)]
    return f"; left out: {', '.join(said)}" if said else ""


def print_slices(slices: Mapping[str, Any]) -> None:
    """Print a few metrics of every slice, for predicted labels and rankings."""
    for kind, groups in slices.items():
        found = [(group, name, of) for group, members in groups.items() for name, of in members.items()]
        names = dict.fromkeys(name for _, _, of in found for name in of["metrics"])
        wanted = _sliced(kind, [name for name in names if not name.endswith("_capped")])
        rows = "rows" if kind == "rating" else "positives"
        lines = []
        for group, name, of in found:
            counts = (f"{of[key]:,}" for key in ("rows", "users"))
            cells = (_with_bounds(of["metrics"][metric]) for metric in wanted)
            lines.append([f"{group.replace('_', ' ')}: {name}", *counts, *cells])
        _print_fitted(new_console(), [f"{kind} by slice", rows, "users", *map(title_of, wanted)], lines)


def _sliced(kind: str, names: Sequence[str]) -> list[str]:
    """Return two metrics of slices: of lists, each at the cut-off nearest to a usual one."""
    shown = shown_metrics(names)
    if kind == "rating":
        return shown[1:3]
    ks = [int(name.partition("@")[2]) for name in shown]
    bases = dict.fromkeys(name.partition("@")[0] for name in shown)
    usual = zip(bases, (10, 20), strict=False)
    return [f"{base}@{min(ks, key=lambda k: abs(k - near))}" for base, near in usual][::-1]


def print_comparison(comparison: Mapping[str, Any]) -> None:
    """Print models side by side, each metric with its interval, then the differences from ours."""
    console, against = new_console(), comparison["against"]
    models = {name: model["metrics"] for name, model in comparison["models"].items()}
    differences = comparison["ours_minus"]
    if "users" in comparison:
        first = comparison["models"][against]
        console.print(
            f"test set, {first['items']:,} items ranked for {comparison['users']:,} users with "
            f"{first['positives']:,} positives; value and 95% interval over users"
        )
        models = {name: _compared(metrics) for name, metrics in models.items()}
        differences = {name: _compared(metrics) for name, metrics in differences.items()}
    else:
        console.print(f"test set, {comparison['rows']:,} rows; value and 95% interval over users")
    _print_beside(console, models)
    console.print(
        f"{against} minus each baseline, and the 95% interval of the difference (same resampled users)"
    )
    _print_beside(console, differences, sign="+")
    _print_given(console, comparison)
    if beside := comparison.get("popularity"):
        print_beside(beside, beside["ours"])
    if "seeds" in comparison:
        found = comparison["seeds"]
        print_spread(found["metrics"], found["seeds"], of=f"{against}, whose mean is above,")


def _print_given(console: Console, comparison: Mapping[str, Any]) -> None:
    """Print each model's training data, its settings chosen on validation, and its validation scores."""
    from twotower.workflows.tuned_baselines import settings_said  # noqa: PLC0415

    table = new_table("model", "trained on", "validation NDCG@100", "settings chosen")
    for name, given in comparison["given"].items():
        scores = comparison.get("validation", {}).get(name, {})
        settings = comparison.get("settings", {}).get(name, {})
        table.add_row(
            name,
            given,
            "\n".join(f"{what} {_number(value, '.4f')}" for what, value in scores.items()),
            settings_said(settings),
        )
    console.print(
        "training data of each model; ranking baselines keep whichever is better on the validation set"
    )
    console.print(table)


def print_spread(metrics: Mapping[str, Any], seeds: Sequence[int], of: str = "test set") -> None:
    """Print the spread of the metrics of one config over several seeds."""
    console = new_console()
    ranked = {name: found for name, found in metrics.items() if "@" in name}
    metrics = {name: found for name, found in metrics.items() if name not in ranked}
    if ranked:
        metrics |= _compared(ranked)
    table = new_table("metric", "mean", "sd", "lowest", "highest")
    for name, found in metrics.items():
        table.add_row(title_of(name), *(_number(found[key], ".4f") for key in ("mean", "sd", "min", "max")))
    console.print(
        f"{of} with the seeds {', '.join(map(str, seeds))}: the same split, different weights and batches"
    )
    console.print(table)


def point_line(point: Point) -> str:
    """Return one line that describes a measured index."""
    return (
        f"{' '.join([point.kind, _listed(point.parameters)]).strip()}: recall {point.recall:.4f}, "
        f"{point.microseconds:,.0f} us a query, built in {point.build_seconds:.1f} s, "
        f"{point.bytes / 2**20:,.1f} MiB"
    )


def print_curve(found: Mapping[str, Any]) -> None:
    """Print every measured index, and mark the chosen one."""
    console = new_console()
    table = new_table("index", "parameters", f"recall@{found['k']}", "us a query", "s to build", "MiB", "")
    for point in found["curve"]:
        table.add_row(
            point["kind"],
            _listed(point["parameters"]),
            f"{point['recall']:.4f}",
            f"{point['microseconds']:,.0f}",
            f"{point['build_seconds']:.1f}",
            f"{point['bytes'] / 2**20:,.1f}",
            "chosen" if point == found["chosen"] else "",
        )
    console.print(table)
    console.print(found["reason"])


def _listed(parameters: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def _compared(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics that a comparison prints: accuracy at every k, the others at the largest."""
    shown = [(name, metric_of(name)) for name in shown_metrics(metrics)]
    last = shown[-1][0].partition("@")[2]
    return {
        name: metrics[name] for name, of in shown if of and (of.headline or name.partition("@")[2] == last)
    }


def _print_fitted(console: Console, names: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table with each cell on one line if it fits, else with line breaks."""
    whole = [[cell.replace("\n", " ") for cell in line] for line in lines]
    fits = _width([names, *whole]) <= console.width
    table = new_table(*names)
    if fits or _width([names[1:], *(line[1:] for line in lines)]) + _NARROWEST <= console.width:
        for column in table.columns[1:]:
            column.no_wrap = True
    for line in whole if fits else lines:
        table.add_row(*line)
    console.print(table)


def _print_beside(console: Console, models: Mapping[str, Mapping[str, Interval]], sign: str = "") -> None:
    """Print models as columns, as many per table as fit the width."""
    names = list(next(iter(models.values()), {}))
    metrics = [title_of(name) for name in names]
    columns = {
        model: [
            f"{_number(values[name]['value'], sign + '.4f')}\n{bounds(values[name], sign + '.3f')}"
            for name in names
        ]
        for model, values in models.items()
    }
    while columns:
        room = console.width - _widest(["metric", *metrics]) - BETWEEN
        shown: list[str] = []
        for model, cells in columns.items():
            room -= _widest([model, *cells]) + BETWEEN
            if shown and room < 0:
                break
            shown.append(model)
        table = new_table("metric", *shown)
        for row in zip(metrics, *(columns.pop(model) for model in shown), strict=True):
            table.add_row(*row)
        console.print(table)


def _width(lines: Sequence[Sequence[str]]) -> int:
    return sum(_widest(column) + BETWEEN for column in zip(*lines, strict=True))


def _widest(cells: Sequence[str]) -> int:
    return max(len(line) for cell in cells for line in cell.split("\n"))


def _with_bounds(interval: Interval) -> str:
    within = bounds(interval, ".3f")
    return _number(interval["value"], ".4f") + (f"\n{within}" if within else "")


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None else format(value, form)


def bounds(interval: Interval, form: str) -> str:
    """Return the bounds of an interval as printed; empty if it has none."""
    low, high = interval["low"], interval["high"]
    return "" if low is None or high is None else f"[{low:{form}}, {high:{form}}]"

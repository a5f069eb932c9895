"""The result of a search: tables and a sentence on stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twotower.cli.measures import bounds
from twotower.cli.output import new_console, new_table
from twotower.cli.verdict import judged, of_evaluation
from twotower.core.wording import count_of
from twotower.metrics import verdict_on

_SHOWN = 8
"""The most parameters whose importance is printed."""

_TITLES = {"given": "original config", "best": "best config", "difference": "best minus original"}


def print_tuned(result: Mapping[str, Any]) -> None:
    """Print the gain, its selection bias, the result on the test set, and the parameter importance."""
    console = new_console()
    metric, trials = result["metric"], result["trials"]
    given, best, gain = result["given"], result["best"], result["gain"]
    console.print(
        f"{count_of(trials['complete'] + trials['pruned'], 'trial')} ({trials['pruned']} stopped early) in "
        f"{result['seconds'] / 60.0:.1f} min"
    )
    table = new_table("validation set", metric, "95% interval")
    table.add_row("original config", f"{given['validation']:.4f}", "")
    if gain["apparent"] > 0.0:
        table.add_row(f"best trial ({best['trial']})", f"{best['validation']:.4f}", "")
        table.add_row("apparent gain", f"{gain['apparent']:+.4f}", "")
        table.add_row("selection bias", f"{gain['optimism']:+.4f}", "")
        left = gain["corrected"]
        table.add_row("corrected gain", f"{left['value']:+.4f}", bounds(left, "+.4f"))
    console.print(table)
    test = result["test"]
    table = new_table("test set, used once", test["metric"], "95% interval")
    for name, label in _TITLES.items():
        if test[name]:
            form = "+.4f" if name == "difference" else ".4f"
            table.add_row(label, f"{test[name]['value']:{form}}", bounds(test[name], form))
    console.print(table)
    report = test.get("baseline") or {}
    beside = of_evaluation(report, "rating" if "rating" in report else "ranking")
    if beside is not None:
        which = "best" if test["best"] else "original"
        console.print(f"Test set, {which} config. {judged(beside).says}", markup=False)
        console.print()
    if result["changed"]:
        table = new_table("changed setting", "original", "best")
        for key, (before, after) in result["changed"].items():
            table.add_row(key, _shown(before), _shown(after))
        console.print(table)
    if result["importance"]:
        table = new_table("parameter importance", "share")
        for key, share in list(result["importance"].items())[:_SHOWN]:
            table.add_row(key, f"{share:.0%}")
        console.print(table)
    console.print(verdict(result), soft_wrap=True, markup=False)


def verdict(result: Mapping[str, Any]) -> str:
    """Return a sentence that says which config to use."""
    gain, test = result["gain"], result["test"]
    if result["stands"]:
        if gain["apparent"] > 0.0:
            return (
                "Keep the original config: after correcting for selection bias, the best trial is no better."
            )
        return "Keep the original config: no trial was better on the validation set."
    found = verdict_on(**test["difference"], higher_is_better=result["higher_is_better"])
    if found == "better":
        return "The best config is better on the test set too: use best.toml."
    if found == "worse":
        return "The best config is worse on the test set: keep the original one."
    return "The best config is not clearly better on the test set: the interval of the difference includes 0."


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return (
        f"{value:.4g}"
        if isinstance(value, float)
        else json.dumps(value)
        if isinstance(value, list)
        else str(value)
    )

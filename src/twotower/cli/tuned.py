"""What a search has come to, in words and a table on stdout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twotower.cli.measures import bounds
from twotower.cli.output import new_console, new_table

_SHOWN = 8
"""Parameters whose importance is printed."""


def print_tuned(result: Mapping[str, Any]) -> None:
    """Print what was gained, what of it is luck, what the test part says, and what matters."""
    console = new_console()
    metric, trials = result["metric"], result["trials"]
    given, best, gain = result["given"], result["best"], result["gain"]
    console.print(
        f"{trials['complete'] + trials['pruned']} trials, {trials['pruned']} of them given up early; "
        f"{result['seconds'] / 60.0:.1f} minutes"
    )
    table = new_table("validation part", metric, "95% interval")
    table.add_row("given config", f"{given['validation']:.4f}", "")
    if gain["apparent"] > 0.0:
        table.add_row(f"best trial, {best['trial']}", f"{best['validation']:.4f}", "")
        table.add_row("gain as it looks", f"{gain['apparent']:+.4f}", "")
        table.add_row("luck of choosing the best", f"{gain['optimism']:+.4f}", "")
        left = gain["corrected"]
        table.add_row("gain on other users", f"{left['value']:+.4f}", bounds(left, "+.4f"))
    console.print(table)
    test = result["test"]
    table = new_table("test part, read once", test["metric"], "95% interval")
    for name in ("given", "best", "difference"):
        if test[name]:
            form = "+.4f" if name == "difference" else ".4f"
            label = "best minus given" if name == "difference" else f"{name} config"
            table.add_row(label, f"{test[name]['value']:{form}}", bounds(test[name], form))
    console.print(table)
    if result["changed"]:
        table = new_table("changed", "given", "best")
        for key, (before, after) in result["changed"].items():
            table.add_row(key, _shown(before), _shown(after))
        console.print(table)
    if result["importance"]:
        table = new_table("what makes trials differ", "share")
        for key, share in list(result["importance"].items())[:_SHOWN]:
            table.add_row(key, f"{share:.0%}")
        console.print(table)
    console.print(verdict(result), soft_wrap=True, markup=False)


def verdict(result: Mapping[str, Any]) -> str:
    """Return in a sentence whether the given config stands."""
    gain, test = result["gain"], result["test"]
    if result["stands"]:
        if gain["apparent"] > 0.0:
            return (
                "The given config stands: nothing is left of the best trial's gain once the luck of choosing "
                "it is taken off."
            )
        return "The given config stands: no trial was better on the validation part."
    sign = 1.0 if result["higher_is_better"] else -1.0
    ends = sorted(
        sign * end for end in (test["difference"]["low"], test["difference"]["high"]) if end is not None
    )
    if len(ends) < 2 or ends[0] <= 0.0 <= ends[1]:
        return (
            "The best config is not clearly better on the test part: the interval of the difference holds 0."
        )
    if ends[0] > 0.0:
        return "The best config is better on the test part too."
    return "The best config is worse on the test part: keep the given one."


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

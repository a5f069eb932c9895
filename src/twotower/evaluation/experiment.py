"""Experiments: which of several models was better for the users that it answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from twotower.core.wording import count_of
from twotower.errors import ConfigError, DataError, nearest
from twotower.metrics.sequential import LEAST, Difference, mean_difference, split_p_value

OUTCOMES: Mapping[str, str] = {
    "interactions": "interactions per user",
    "active": "share of users with an interaction",
    "value": "sum of values per user",
    "skips": "skips per user",
}
"""What is compared, of each user's window, and how it is said."""
MISMATCH = 0.001
"""p-value of the split below which an experiment is not to be trusted."""


@dataclass(frozen=True)
class Group:
    """The users of one model.

    Attributes:
        run: the model.
        versions: that answered.
        share: percent of the users that it should have.
        exposed: users that it answered, and no other model did.
        users: of these, those whose window is over.
        mean: of their outcome; nan without any.
    """

    run: str
    versions: tuple[str, ...]
    share: float
    exposed: int
    users: int
    mean: float


@dataclass(frozen=True)
class Experiment:
    """What an experiment says now.

    Attributes:
        outcome: what is compared.
        window: seconds from a user's first list in which events count.
        level: of the confidence sequences, all groups together.
        groups: each model's, the base first.
        differences: of each other model, its mean minus that of the base.
        mismatch: always-valid p-value of the shares.
        notes: what was left out, and what is not to be trusted.
    """

    outcome: str
    window: float
    level: float
    groups: tuple[Group, ...]
    differences: Mapping[str, Difference]
    mismatch: float
    notes: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        """Whether users came in the shares that they should."""
        return not self.mismatch < MISMATCH

    def verdict(self, run: str) -> str:
        """Say in a sentence whether a model is better than the base."""
        value, base = self.differences[run].value, self.groups[0].run
        of = OUTCOMES[self.outcome]
        if not self.trusted:
            return f"{run} and {base} can't be compared: users did not come in the shares of the split"
        if math.isnan(value.low):
            return (
                f"{run} and {base} can't be compared yet: each needs {LEAST} users whose window is over, and "
                "outcomes that differ"
            )
        if value.low > 0.0:
            return f"{run} has more than {base}: {of} {value:+.4g} [{value.low:+.4g}, {value.high:+.4g}]"
        if value.high < 0.0:
            return f"{run} has less than {base}: {of} {value:+.4g} [{value.low:+.4g}, {value.high:+.4g}]"
        return (
            f"{run} and {base} are not known to differ: {of} {value:+.4g} [{value.low:+.4g}, "
            f"{value.high:+.4g}]"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "outcome": self.outcome,
            "window": self.window,
            "level": self.level,
            "groups": [dict(group.__dict__) | {"versions": list(group.versions)} for group in self.groups],
            "differences": {
                run: {**one.value.as_dict(), "p": one.p, "says": self.verdict(run)}
                for run, one in self.differences.items()
            },
            "mismatch": self.mismatch,
            "trusted": self.trusted,
            "notes": list(self.notes),
        }


def analyse(
    exposures: pl.DataFrame,
    events: pl.DataFrame,
    shares: Mapping[str, float],
    *,
    outcome: str = "interactions",
    window: float = 86_400.0,
    now: float,
    base: str | None = None,
    cap: float | None = None,
    level: float = 0.95,
    planned: int = 10_000,
) -> Experiment:
    """Compare the models of an experiment, by users.

    A user's outcome is what happens from the first list on, for as long as ``window``; it counts once the
    window is over, so that users come as independent outcomes, whenever one looks.

    Args:
        exposures: a row for each user and model that answered: ``user``, ``run``, ``version``, ``time`` of
            the first list, in seconds.
        events: ``user``, ``kind`` ("interaction" or "skip"), ``value`` (null for none), ``time``.
        shares: percent of the users by model, those above 0.
        outcome: one of `OUTCOMES`.
        window: seconds.
        now: time up to which events are known, seconds.
        base: model to compare with; None for the first one of ``shares``.
        cap: most that a user's outcome counts; None for all. Rare users with huge outcomes hide everything.
        level: with which all confidence sequences hold, at all looks together.
        planned: see `mean_difference`.

    Raises:
        ConfigError: an argument is out of range.
        DataError: nobody was answered in this experiment; a time or value that is not finite.
    """
    if outcome not in OUTCOMES:
        raise ConfigError(
            f"outcome must be one of {', '.join(OUTCOMES)}, got {outcome!r}.{nearest(outcome, OUTCOMES)}"
        )
    if not 0.0 < window < math.inf:
        raise ConfigError(f"window must be a time above 0, got {window:g} s; a day is 1d")
    if cap is not None and not 0.0 < cap < math.inf:
        raise ConfigError(f"cap must be a number above 0, got {cap:g}")
    runs = [run for run, share in shares.items() if share > 0.0]
    if len(runs) < 2:
        raise DataError(f"an experiment needs two models with a share of the users, got {', '.join(runs)}")
    base = runs[0] if base is None else base
    if base not in runs:
        raise ConfigError(f"base must be one of {', '.join(runs)}, got {base!r}.{nearest(base, runs)}")
    _check_finite(exposures["time"], events["time"], events["value"])
    own = exposures.filter(pl.col("run").is_in(runs))
    if not own.height:
        raise DataError(f"nobody was answered by {' or '.join(runs)} in this experiment yet")
    users = own.group_by("user").agg(
        pl.col("run").n_unique().alias("models"), pl.col("run").first(), pl.col("time").min()
    )
    notes = _strangers(exposures, events, runs)
    if mixed := int((users["models"] > 1).sum()):
        notes.append(f"{count_of(mixed, 'user')} left out, who got lists of more than one model")
    users = users.filter(pl.col("models") == 1)
    done = users.filter(pl.col("time") + window <= now)
    if early := users.height - done.height:
        notes.append(f"{count_of(early, 'user')} not counted yet: their window is not over")
    outcomes = _outcomes(done, events, outcome, window, notes)
    if cap is not None:
        above = int((outcomes["outcome"] > cap).sum())
        notes.append(f"{count_of(above, 'user')} above the cap of {cap:g}, counted as {cap:g}")
        outcomes = outcomes.with_columns(pl.col("outcome").clip(upper_bound=cap))
    found = {
        run: outcomes.filter(pl.col("run") == run)["outcome"].cast(pl.Float64).to_numpy() for run in runs
    }
    ordered = [base, *(run for run in runs if run != base)]
    alpha = (1.0 - level) / (len(runs) - 1)
    groups = tuple(
        Group(
            run,
            tuple(sorted(own.filter(pl.col("run") == run)["version"].unique().to_list())),
            float(shares[run]),
            int((users["run"] == run).sum()),
            len(found[run]),
            float(found[run].mean()) if len(found[run]) else math.nan,
        )
        for run in ordered
    )
    total = sum(group.share for group in groups)
    mismatch = split_p_value([one.exposed for one in groups], [one.share / total for one in groups])
    if mismatch < MISMATCH:
        came = ", ".join(f"{group.run} {group.exposed:,}" for group in groups)
        notes.append(
            f"sample ratio mismatch (p = {mismatch:.2g}): users came as {came}, which the shares of the "
            "split don't explain. Something loses users of one model (errors, time-outs, bots, another "
            "cache): find it before reading the differences"
        )
    notes += [
        f"{group.run} was reloaded: {count_of(len(group.versions), 'version')} answered"
        for group in groups
        if len(group.versions) > 1
    ]
    differences = {
        run: mean_difference(found[run], found[base], level=1.0 - alpha, planned=planned)
        for run in ordered[1:]
    }
    return Experiment(outcome, window, level, groups, differences, mismatch, tuple(notes))


def _check_finite(*columns: pl.Series) -> None:
    for column in columns:
        if not column.drop_nulls().cast(pl.Float64).is_finite().all():
            raise DataError(f"each {column.name} of an experiment must be finite; correct or drop the others")


def _strangers(exposures: pl.DataFrame, events: pl.DataFrame, runs: list[str]) -> list[str]:
    """Say how many users and events have no part in the experiment."""
    notes, every = [], exposures["user"].unique()
    mine = exposures.filter(pl.col("run").is_in(runs))["user"].unique()
    if others := len(every) - len(mine):
        names = ", ".join(sorted(set(exposures["run"].to_list()) - set(runs))[:5])
        notes.append(f"{count_of(others, 'user')} left out, who got lists of other models only ({names})")
    if lost := int((~events["user"].is_in(every.implode())).sum()):
        notes.append(f"{count_of(lost, 'event')} of {len(events):,} left out, of users who got no list")
    return notes


def _outcomes(
    users: pl.DataFrame, events: pl.DataFrame, outcome: str, window: float, notes: list[str]
) -> pl.DataFrame:
    """Return ``run`` and ``outcome`` of each user."""
    kind = "skip" if outcome == "skips" else "interaction"
    within = events.filter(pl.col("kind") == kind).join(
        users.select("user", pl.col("time").alias("first")), on="user", how="inner"
    )
    late = pl.col("time") - pl.col("first")
    within = within.filter((late >= 0.0) & (late < window))
    if outcome == "value":
        if bare := within["value"].null_count():
            notes.append(f"{count_of(bare, 'event')} without a value, counted as 0")
        each = pl.col("value").fill_null(0.0).sum()
    else:
        each = pl.len()
    sums = within.group_by("user").agg(each.cast(pl.Float64).alias("outcome"))
    found = users.join(sums, on="user", how="left").with_columns(pl.col("outcome").fill_null(0.0))
    if outcome == "active":
        found = found.with_columns((pl.col("outcome") > 0.0).cast(pl.Float64).alias("outcome"))
    return found.select("run", "outcome")

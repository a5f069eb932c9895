"""Duplicate interactions: within a file, and on both sides of the split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from twotower.audit.case import SAMPLE, Case
from twotower.audit.check import Check
from twotower.audit.finding import Finding
from twotower.core.wording import count_of
from twotower.data.duplicates import RepeatedLabels, drop_rows_of, event_key, repeated_labels

_MANY = 0.2
"""Share of duplicates from which the file was probably put together wrongly."""
_TELLING = 0.005
"""Share of the test rows with an equal row in the training set that is worth a warning."""


class Duplicates(Check):
    """Duplicate interactions: a copy of a training row in the test set gives the answer away."""

    name = "duplicates"
    looks_for = "duplicate interactions, within a file and across the split"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare files and sets by user, item and timestamp, and then by user, item and label."""
        for name in case.files:
            yield from self._within(case, name)
        if "train" in case.files:
            yield from self._across(case)
        if case.fault is None:
            yield from self._twins(case)

    def _within(self, case: Case, name: str) -> Iterator[Finding]:
        rows, copies = len(case.files[name]), len(case.files[name]) - len(case.unique[name])
        if not copies:
            return
        key = ", ".join(event_key(case.schema))
        where = case.path(name)
        evidence = f"{copies:,} of {count_of(rows, 'row')} have the {key} of an earlier row"
        found = repeated_labels(case.files[name], case.repeats)
        if found is not None:
            evidence += (
                f"; {count_of(found.rows, 'row')} of {count_of(found.events, 'event')} differ in their "
                f"{case.schema.label}"
            )
            yield from self._contradicting(case, name, found)
        fix = "nothing to do: one of each is kept, before the split"
        if copies > _MANY * rows:
            fix = "check how the file was made; one of each is kept, before the split"
            if case.schema.timestamp is None:
                fix += ". If users can interact with an item twice, name the timestamp in [schema]"
            yield self.warning(where, "many rows are duplicates", evidence, fix)
        else:
            yield self.note(where, "some rows are duplicates", evidence, fix)

    def _contradicting(self, case: Case, name: str, found: RepeatedLabels) -> Iterator[Finding]:
        """Report how the config's rule merges contradicting rows."""
        label, where, rule = case.schema.label, case.path(name), case.config.data.repeats
        told = f"{count_of(found.rows, 'row')} of {count_of(found.events, 'event')} differ in their {label}"
        if rule == "refuse":
            what = "rows contradict each other, and data.repeats = 'refuse' makes this an error"
            yield self.error(
                where, what, told, "correct them, or set data.repeats to another rule, such as max"
            )
            return
        least = _least_positive(case, name)
        lost = int(((found.largest >= least) & (found.kept < least)).sum())
        if lost:
            yield self.error(
                where,
                f"positives are lost: data.repeats = '{rule}' turns them into negatives",
                f"{told}; in {count_of(lost, 'event')} a {label} of at least {least:g} becomes smaller",
                "set data.repeats = 'max', which keeps the largest label of each",
            )

    def _across(self, case: Case) -> Iterator[Finding]:
        train, test = case.unique["train"], case.unique["test"]
        shared = len(test) - len(drop_rows_of(test, train, "test", "train"))
        if not shared:
            return
        evidence = f"{shared:,} of the {count_of(len(test), 'test row')} are also in the training set"
        if shared >= 0.5 * len(test):
            what, fix = "the test file is part of the training file", "use a test file with held-out rows"
            yield self.error(case.path("test"), what, evidence, fix)
        else:
            what = "the same interactions are on both sides of the split"
            fix = "drop duplicates before splitting; `twotower train` drops these from the training set"
            yield self.warning(case.path("test"), what, evidence, fix)

    def _twins(self, case: Case) -> Iterator[Finding]:
        """Look for test rows whose user, item and label are also in the training set, at another time."""
        schema = case.schema
        if schema.label is None or schema.timestamp is None:
            return  # without a time, rows of the same user and item are duplicates already
        test, train = case.parts["test"].interactions, case.parts["train"].interactions
        step = -(-test.height // SAMPLE)
        pair = [schema.user, schema.item]
        some = test.select(*pair, schema.label).gather_every(step)
        met = train.select(*pair, pl.col(schema.label).alias("_label"))
        met = met.join(some.select(pair), on=pair, how="semi")
        both = some.with_row_index("_row").join(met, on=pair)
        if not both.height:
            return
        same = both.filter(pl.col(schema.label) == pl.col("_label"))
        twins = same.get_column("_row").n_unique()
        labels = case.sample("train").label
        counts = np.unique(labels, return_counts=True)[1]
        chance = float(np.square(counts / len(labels)).sum()) * both.height
        if twins >= 20 and twins >= 5 * chance and twins >= _TELLING * some.height:
            sampled = f" (of every {step}th row)" if step > 1 else ""
            yield self.warning(
                case.path("test"),
                "duplicates that differ only in their timestamp are on both sides of the split",
                f"{twins:,} of {count_of(some.height, 'test row')}{sampled} have the user, item and exact "
                f"{schema.label} of a training row; by chance it would be about {chance:,.0f}",
                "drop them before splitting: keep one row per user, item and label, or round the times",
            )


def _least_positive(case: Case, name: str) -> float:
    """Return the smallest label of a positive: by the config's rule, otherwise the median of the labels."""
    labels = case.files[name].interactions.get_column(case.schema.label or "").to_numpy()
    rule = case.config.positive
    if rule.threshold is not None:
        return rule.threshold
    share = rule.quantile if rule.quantile is not None else rule.duration_rank
    if share is not None:
        return float(np.quantile(labels, share))
    return float(np.unique(labels)[1]) if len(np.unique(labels)) == 2 else float(np.median(labels))

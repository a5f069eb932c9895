"""Features that leak the label: computed from it, or predicting it too well alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from twotower.audit.case import Case, Tally
from twotower.audit.check import Check
from twotower.audit.feature_table import FeatureTable
from twotower.audit.finding import Finding
from twotower.audit.statistics import Codes, Floats, between_share, common_codes, quantile_codes, spearman

_LEAST = 30
"""Minimum number of users or items to judge a whole column."""
_EQUAL = 0.9
"""Share of equal values from which one column was computed from another."""
_MEAN, _COUNT = 0.95, 0.98
"""Rank correlations with the mean label, and with the number of interactions, that only a leak explains."""
_EXPLAINED = 0.6
"""Share of the label's variance that no single feature explains without a leak."""
_OF_ITEM = 0.95
"""Share of rows with their item's usual duration from which the column is a property of the item."""
_MEND = "compute it only from training rows and from days before the event, or remove it from [schema.{}]"


class Target(Check):
    """A feature computed from the labels, or from the interactions, that should be predicted."""

    name = "target"
    looks_for = "features computed from the label, and near-perfect single-column predictors"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare each feature with counts and mean labels by id, and with the labels row by row."""
        for side in case.sides:
            known = set()
            tally = case.tally(side)
            for name, x in side.ordered().items():
                finding = self._computed(case, side, name, x, tally)
                if finding is not None and name != case.schema.duration:  # which a label in seconds follows
                    known.add(name)
                    yield finding
            if case.schema.label is not None:
                for finding, name in self._predicting(case, side):
                    if name not in known and name != case.schema.duration:
                        yield finding
        yield from self._duration(case)

    def _computed(self, case: Case, side: FeatureTable, name: str, x: Floats, tally: Tally) -> Finding | None:
        where = f"{case.path(side.name)}, column '{name}'"
        for said, values, severe in _aggregates(tally, case.schema.label):
            some = np.isfinite(x) & np.isfinite(values) & (tally.counts() > 0)
            if some.sum() < _LEAST or len(np.unique(values[some])) < 10:
                continue
            equal = float(np.isclose(x[some], values[some], rtol=1e-4, atol=1e-6).mean())
            if equal >= _EQUAL:
                what = f"the feature is {said}"
                evidence = f"equal for {equal:.1%} of the {int(some.sum()):,} {side.name}"
                report = self.error if severe else self.warning
                return report(where, what, evidence, _MEND.format(side.name))
        for said, values, least, bound in (
            ("the mean label", tally.means(), 5, _MEAN),
            ("the number of interactions", tally.counts(), 1, _COUNT),
        ):
            some = np.isfinite(x) & np.isfinite(values) & (tally.counts() >= least)
            if some.sum() < _LEAST or len(np.unique(values[some])) < 10:
                continue
            rank = spearman(x[some], values[some])
            if abs(rank) >= bound:
                return self.error(
                    where,
                    f"the feature follows {said} of each {side.role} almost exactly, also in the test set",
                    f"rank correlation {rank:+.3f} over {int(some.sum()):,} {side.name}",
                    _MEND.format(side.name),
                )
        return None

    def _predicting(self, case: Case, side: FeatureTable) -> Iterator[tuple[Finding, str]]:
        rows = case.sample("train")
        at = rows.of(side)
        y = rows.label
        if len(y) < 1000:
            return
        y = np.clip(y, *np.quantile(y, (0.005, 0.995)))
        for name in side.features:
            groups = side.groups(name, bins=64)
            if groups is None:
                continue
            share = between_share(common_codes(np.append(groups, groups.max() + 1)[at], 2), y)
            if share >= _EXPLAINED:
                finding = self.error(
                    f"{case.path(side.name)}, column '{name}'",
                    "one feature predicts the label nearly alone",
                    f"its values explain {share:.1%} of the label's variance over {len(y):,} training "
                    f"rows{rows.sampled} (label clipped at its 0.5% and 99.5% quantiles)",
                    "find out when and from what it is computed; remove it if it is not known before the "
                    "event",
                )
                yield finding, name

    def _duration(self, case: Case) -> Iterator[Finding]:
        schema, rows = case.schema, case.sample("train")
        if schema.duration is None or schema.label is None or len(rows.label) < 1000:
            return
        some = np.isfinite(rows.duration) & (rows.item >= 0)
        if some.sum() < 1000:
            return
        item, length = rows.item[some], np.log1p(np.maximum(rows.duration[some], 0.0))
        within = 1.0 - between_share(common_codes(item, 2), length)
        label = abs(spearman(rows.duration, rows.label))
        explained = between_share(quantile_codes(rows.duration[some], 64), _cut(rows.label[some]))
        one = _of_item(item, length)
        if one is not None and one >= _OF_ITEM:  # then a label in seconds may follow it
            return
        if within > 0.5 or label >= _MEAN or explained >= _EXPLAINED:
            yield self.error(
                f"[schema] duration, column '{schema.duration}'",
                "the duration is not a property of the item: is it the time watched?",
                f"{within:.0%} of its variance is between rows of one item; rank correlation with the "
                f"label {label:.2f} over {int(some.sum()):,} training rows{rows.sampled}",
                "name the column with the length of the item",
            )


def _aggregates(tally: Tally, label: str | None) -> Iterator[tuple[str, Floats, bool]]:
    """Yield what a column may have been computed as: a name, (n,) values, whether it includes test rows."""
    names: Mapping[str, tuple[str, ...]] = {
        "of all interactions, including the test set": (),
        "of the test set": ("test",),
        "of the training set": ("train",),
    }
    for said, parts in names.items():
        severe = said != "of the training set"
        yield f"the number {said}", tally.counts(*parts), severe
        if label is not None:
            yield f"the mean label {said}", tally.means(*parts), severe
            total = np.sum([tally.total[part] for part in parts or tally.total], axis=0)
            yield f"the sum of the labels {said}", total, severe


def _of_item(item: Codes, length: Floats) -> float | None:
    """Return the share of rows that have their item's median; None if too few items have several rows."""
    rows = pl.DataFrame({"item": item, "length": length})
    rows = rows.with_columns(usual=pl.col("length").median().over("item"), n=pl.len().over("item"))
    rows = rows.filter(pl.col("n") > 1)
    if rows["item"].n_unique() < _LEAST:
        return None
    return float((rows["length"] - rows["usual"]).abs().le(0.02).mean())  # type: ignore[arg-type]


def _cut(y: Floats) -> Floats:
    return np.clip(y, *np.quantile(y, (0.005, 0.995)))

"""Ailments of the data: another than the model was trained on, many cold rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from twotower.data.audit.finding import Finding
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe

_SOME, _MANY, _MOST = 0.05, 0.2, 0.5
_SHORT = 12
"""Digits of a fingerprint that are shown."""


class OtherData(Probe):
    """Data that has changed since the run was trained: its test part may hold what was trained on."""

    name: ClassVar[str] = "other-data"
    looks_for: ClassVar[str] = "data that has changed since the training, test rows that were trained on"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the fingerprints, and look the test pairs up among those trained on."""
        state = case.data
        seen = f"{state.seen:.1%} of the test part's pairs are among those that the model was trained on"
        if state.changed:
            yield self.error(
                "data",
                "the data has changed since the model was trained, so the test figures are not its own",
                f"fingerprint {str(state.then)[:_SHORT]} then, {state.now[:_SHORT]} now; {seen}",
                "restore the tables and make the report again, or train again on these",
            )
        elif state.seen > 0:
            yield self.error(
                "test part",
                "test rows were trained on",
                seen,
                "leave copies out of the test file: `twotower check` names them",
            )


class ColdRows(Probe):
    """Test rows of users or items that the model has not met."""

    name: ClassVar[str] = "cold-rows"
    looks_for: ClassVar[str] = "test rows of users and items without train interactions"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look the test rows' ids up among the warm ones."""
        recommender, test = case.recommender, case.parts.test
        for which, role in (("users", "user"), ("items", "item")):
            side = getattr(recommender, which)
            column = getattr(test.schema, role)
            warm = side.ids.filter(pl.Series(side.warm)).alias(column).to_frame()
            rows = test.interactions.select(pl.col(column).cast(side.ids.dtype, strict=False))
            cold = rows.join(warm, on=column, how="anti").height / max(rows.height, 1)
            features = bool(getattr(test.schema, which))
            if cold < _SOME:
                continue
            evidence = f"{cold:.1%} of {rows.height:,} test rows are of cold {which}"
            meant = case.config.split.method == f"cold_{which}"
            if not features and cold >= _MANY:
                yield self.warning(
                    f"test part, {which}",
                    f"many {which} are cold, and there are no features to know them by",
                    evidence,
                    f"give features in [schema.{which}]; else every cold {role} gets the same vector",
                )
            elif cold >= _MOST and not meant:
                yield self.warning(
                    f"test part, {which}",
                    f"most test rows are of cold {which}",
                    evidence,
                    f"the figures tell of cold {which} above all: read the slices, or split per user",
                )
            else:
                yield self.note(
                    f"test part, {which}",
                    f"some {which} are cold",
                    evidence,
                    "read the figures of the cold and the warm slice",
                )

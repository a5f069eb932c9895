"""Problems of the data: changed since training, many cold rows."""

from __future__ import annotations

from collections.abc import Iterator

from twotower.audit.finding import Finding
from twotower.report.case import Case
from twotower.report.doctor.probe import Probe

_SOME, _MANY, _MOST = 0.05, 0.2, 0.5
_SHORT = 12
"""Digits of a fingerprint that are shown."""


class OtherData(Probe):
    """Data that has changed since the run was trained: its test set may contain training rows."""

    name = "other-data"
    looks_for = "data that has changed since training, test rows that were trained on"

    def run(self, case: Case) -> Iterator[Finding]:
        """Compare the fingerprints, and look for the test pairs in the training set."""
        state = case.data
        seen = f"{state.seen:.1%} of the pairs of the test set are in the set that the model was trained on"
        if state.changed:
            yield self.error(
                "data",
                "the data has changed since the model was trained, so the test figures are not valid",
                f"fingerprint {str(state.then)[:_SHORT]} then, {state.now[:_SHORT]} now; {seen}",
                "restore the tables and write the report again, or train again on the new ones",
            )
        elif state.seen > 0:
            yield self.error(
                "test set",
                "test rows were trained on",
                seen,
                "remove the copies from the test file; `twotower check` lists them",
            )


class ColdRows(Probe):
    """Test rows of users or items that are not in the training set."""

    name = "cold-rows"
    looks_for = "test rows of users and items without interactions in the training set"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look for the ids of the test rows among the warm ones."""
        recommender, test = case.recommender, case.parts.test
        for which, role in (("users", "user"), ("items", "item")):
            side = getattr(recommender, which)
            column = getattr(test.schema, role)
            rows = side.rows(test.interactions.get_column(column))
            cold = float(((rows < 0) | ~side.warm[rows]).mean()) if len(rows) else 0.0
            features = bool(getattr(test.schema, which))
            if cold < _SOME:
                continue
            evidence = f"{cold:.1%} of {len(rows):,} test rows are of cold {which}"
            meant = case.config.split.kind().cold == which
            if not features and cold >= _MANY:
                yield self.warning(
                    f"test set, {which}",
                    f"many {which} are cold, and have no features",
                    evidence,
                    f"add features in [schema.{which}]; without them, all cold {which} have the same vector",
                )
            elif cold >= _MOST and not meant:
                yield self.warning(
                    f"test set, {which}",
                    f"most test rows are of cold {which}",
                    evidence,
                    f"the figures are mostly of cold {which}: look at the slices, or split per user",
                )
            else:
                yield self.note(
                    f"test set, {which}",
                    f"some {which} are cold",
                    evidence,
                    "look at the figures of the cold and the warm slice",
                )

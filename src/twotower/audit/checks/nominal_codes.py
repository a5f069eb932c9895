"""Category codes declared as numbers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twotower.audit.case import Case
from twotower.audit.check import Check
from twotower.audit.feature_table import FeatureTable
from twotower.audit.finding import Finding
from twotower.audit.nominal import lattice, looks_like_codes, named_as_code

_TWO = 2
"""A column with two values has the same information as a number and as a category."""


class NominalCodes(Check):
    """Columns declared ``number`` or ``log_number`` whose values are codes: 7 is not more than 3."""

    name = "nominal-codes"
    looks_for = "category codes declared as numbers"

    def run(self, case: Case) -> Iterator[Finding]:
        """Check the names of numeric columns, and how often their values occur."""
        for side in case.sides:
            named = {}
            for name, x in side.quantities().items():
                values = len(np.unique(x[np.isfinite(x)]))
                if values <= _TWO:
                    continue
                evidence = looks_like_codes(x)
                if evidence is not None:
                    yield self._finding(case, side, [name], evidence)
                elif named_as_code(name) and lattice(x) is not None:
                    named[name] = values
            if named:
                listed = ", ".join(f"{values:,}" for values in named.values())
                evidence = f"names are those of codes, and values are equally spaced ({listed} values)"
                yield self._finding(case, side, list(named), evidence)

    def _finding(self, case: Case, side: FeatureTable, names: list[str], evidence: str) -> Finding:
        listed = ", ".join(f"'{name}'" for name in names)
        return self.warning(
            f"{case.path(side.name)}, column{'s' if len(names) > 1 else ''} {listed}",
            "codes are declared as numbers, but have no order",
            evidence,
            f"declare {'them' if len(names) > 1 else 'it'} as 'category' in [schema.{side.name}]",
        )

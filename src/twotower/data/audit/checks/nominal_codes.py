"""Codes of categories declared as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from twotower.data.audit.case import Case
from twotower.data.audit.check import Check
from twotower.data.audit.finding import Finding
from twotower.data.audit.nominal import lattice, looks_like_codes, named_as_code

_TWO = 2
"""A column of two values says the same as a number and as a category."""


class NominalCodes(Check):
    """Columns declared ``number`` or ``log_number`` whose values are codes: 7 is not more than 3."""

    name: ClassVar[str] = "nominal-codes"
    looks_for: ClassVar[str] = "codes of categories declared as numbers"

    def run(self, case: Case) -> Iterator[Finding]:
        """Look at the names of quantities, and at how often their values occur."""
        for side in case.sides:
            for name, x in side.quantities().items():
                values = np.unique(x[np.isfinite(x)])
                if len(values) <= _TWO:
                    continue
                evidence = looks_like_codes(x)
                if evidence is None and named_as_code(name) and lattice(x) is not None:
                    evidence = (
                        f"its name is that of a code, and its {len(values):,} values are equally spaced"
                    )
                if evidence is not None:
                    yield self.warning(
                        f"{case.path(side.name)}, column '{name}'",
                        f"codes are declared as '{side.features[name]}', as if one were more than another",
                        evidence,
                        f"declare it as 'category' in [schema.{side.name}]",
                    )

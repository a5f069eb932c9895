"""`FittedTowers`: vectors of users and items from their features, as for those that a model doesn't know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from twotower.core.blocks import Dense
from twotower.core.forking import check_process
from twotower.core.reprs import named, shortened
from twotower.core.warn import warn
from twotower.core.wording import count_of
from twotower.data.checks import check_table
from twotower.errors import BundleError, DataError, nearest
from twotower.features import EncodedSide, Encoder
from twotower.recommender.queries import Features, alike
from twotower.targets.target import Target
from twotower.towers import SideArrays, TwoTowerModel, finished

Unknown = dict[str, list[Any]]
"""By feature: the values of new users or items that count as unknown."""


@dataclass(frozen=True)
class FittedTowers:
    """The towers with what stands before and after them; they encode users and items that are new.

    Attributes:
        encoder: fitted on the training set.
        model: the towers.
        target: how scores become labels in their own units.
    """

    encoder: Encoder
    model: TwoTowerModel
    target: Target

    def encode(self, table: pl.DataFrame, which: str, unknown: Unknown | None = None) -> NDArray[np.float32]:
        """Return the vectors of rows of features, float32 (n, dim).

        Args:
            table: feature columns of the schema; a column left out is missing in every row.
            which: "users" or "items".
            unknown: gets the values that the model doesn't know, for `warn_gaps`.

        Raises:
            DataError: a column that is not a feature, no row, or a value not of its kind.
        """
        return self.vectors(self.arrays(table, which, unknown), which)

    def arrays(self, table: pl.DataFrame, which: str, unknown: Unknown | None = None) -> SideArrays:
        """Return what a tower reads of rows of features; see `encode`."""
        check_process()
        side, schema = getattr(self.encoder, which), self.encoder.schema
        kinds = schema.users if which == "users" else schema.items
        known = [side.column, *kinds, *schema.display]
        for name in table.columns:
            if name not in known:
                raise DataError(
                    f"columns of new {which} must be features that the model knows "
                    f"({', '.join(kinds) or 'none'}); got {name!r}.{nearest(name, known)}"
                )
        if not table.height:
            raise DataError(f"new {which} need at least one row of features, got none")
        lacking = [pl.lit(None, dtype=pl.String).alias(name) for name in kinds if name not in table.columns]
        numbered = table.with_columns(*lacking, pl.int_range(pl.len()).alias(side.column))
        kinds = {name: kind.of_new_rows() for name, kind in kinds.items()}
        checked = check_table(numbered, side.column, kinds, (), f"new {which}")
        # without an id: the vector comes from the features alone
        anonymous = checked.with_columns(pl.lit(None, dtype=side.warm_ids.dtype).alias(side.column))
        return self._packed(anonymous, which, unknown)

    def arrays_of_dicts(
        self, rows: Sequence[Mapping[str, Any]], which: str, unknown: Unknown | None = None
    ) -> SideArrays:
        """Return what a tower reads of features that came as dicts, at least one; see `encode`.

        Each is read as it would be alone, though those of the same types are encoded together.

        Raises:
            DataError: a name that is no feature, or a value that is not of its kind.
        """
        parts = alike(rows)
        found = SideArrays.joined([self.arrays_of(part, which, unknown) for part in parts])
        if len(parts) == 1:
            return found
        order = np.argsort(np.concatenate([part.places for part in parts]))
        return found.take(torch.from_numpy(order).to(found.warm.device))

    def arrays_of(self, part: Features, which: str, unknown: Unknown | None = None) -> SideArrays:
        """Return what a tower reads of a table of features; see `encode`.

        Raises:
            DataError: as `encode`.
        """
        table, schema = part.table, self.encoder.schema
        if part.checked:
            return self._packed(table, which)
        if not table.width:  # without any column a frame has no rows, and rows are wanted
            table = pl.DataFrame({getattr(self.encoder, which).column: [0] * len(part.places)})
        kinds = schema.users if which == "users" else schema.items
        text = (name for name, dtype in table.schema.items() if dtype == pl.String)
        if part.apart and any(name not in kinds or not kinds[name].alone for name in text):
            return SideArrays.joined([self.arrays(row, which, unknown) for row in table.iter_slices(1)])
        return self.arrays(table, which, unknown)

    @cached_property
    def nobody(self) -> SideArrays:
        """One user without an id, whose features are all missing."""
        return self.arrays_of(Features(np.zeros(1, np.int64), pl.DataFrame()), "users")

    def warn_gaps(self, which: str, described: Sequence[Collection[str]], unknown: Unknown) -> None:
        """Warn of what descriptions leave out of the features that the model uses, and of values not known.

        What each feature says is learnt beside the others. If a title tells the genre, the genre alone says
        little, and a vector from it is near the mean of all.

        Args:
            which: "users" or "items".
            described: the columns that each of them has.
            unknown: the values that the model doesn't know, from `encode`.
        """
        schema = self.encoder.schema
        kinds = schema.users if which == "users" else schema.items
        counts = Counter(name for names in map(set, described) for name in kinds if name not in names)
        if counts:
            n = sum(any(name not in names for name in kinds) for names in map(set, described))
            lacking = [
                f"{name} ({count:,})" if len(described) > 1 else name for name, count in counts.items()
            ]
            who = f"{count_of(n, f'new {which[:-1]}')} {'lacks' if n == 1 else 'lack'}"
            warn(
                f"{who} {count_of(len(counts), 'feature')} of the {len(kinds)} that the model uses: "
                f"{named(lacking)}; what is left out counts as missing, and a vector from the others alone "
                "can be far off, so give all that are known"
            )
        if unknown:
            n = sum(map(len, unknown.values()))
            shown = [f"{name} ({len(of):,}, such as {shortened(of[0])})" for name, of in unknown.items()]
            warn(
                f"{count_of(n, 'value')} of new {which} {'is' if n == 1 else 'are'} not known to the model, "
                f"as training lacks them or has them too rarely: {named(shown)}; they all count as the same "
                "unknown value, so check how they are written"
            )

    def vectors(self, arrays: SideArrays, which: str) -> NDArray[np.float32]:
        """Return the vectors of rows of a side, with their histories if they have any, float32 (n, dim).

        Raises:
            BundleError: a vector is not finite.
        """
        vectors = finished(self.model.encode(arrays, which), which, self.target)
        if not np.isfinite(vectors).all():
            raise BundleError(
                f"the vectors of new {which} must be finite numbers, and the model gives others; its weights "
                "are damaged, or its training diverged; train again"
            )
        return vectors

    def _packed(self, table: pl.DataFrame, which: str, unknown: Unknown | None = None) -> SideArrays:
        side = self.encoder.users if which == "users" else self.encoder.items
        encoded = side.transform(table)
        unknown_values(encoded, table, unknown)
        return SideArrays.pack(encoded, next(self.model.parameters()).device)


def unknown_values(encoded: EncodedSide, table: pl.DataFrame, unknown: Unknown | None) -> None:
    """Add to ``unknown`` the values of a table whose blocks have the code of unknown ones."""
    if unknown is None:
        return
    for name, block in encoded.blocks.items():
        if not isinstance(block, Dense) and (rows := block.unknown).any():
            unknown.setdefault(name, []).extend(table.get_column(name).filter(pl.Series(rows)).to_list())

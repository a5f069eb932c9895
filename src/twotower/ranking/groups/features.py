"""features: the columns of the item, of the user and of the context, as the towers' encoder has them."""

from __future__ import annotations

import numpy as np

from twotower.ranking.columns import Feature
from twotower.ranking.groups.group import F32, FeatureGroup
from twotower.ranking.known import Batch, Known


class Features(FeatureGroup):
    """Numbers and codes of categories."""

    @staticmethod
    def features(known: Known) -> list[Feature]:
        """Return the columns of all three."""
        named = (
            ("item", known.item_columns),
            ("user", known.user_columns),
            ("context", known.context_columns),
        )
        return [Feature(f"{what}.{one.name}", one.category) for what, columns in named for one in columns]

    @staticmethod
    def fill(batch: Batch, out: F32) -> None:
        """Write them; all of an item that the model doesn't know are missing."""
        known = batch.known
        widths = np.cumsum([len(known.item_columns), len(known.user_columns)])
        items, users, context = out[:, : widths[0]], out[:, widths[0] : widths[1]], out[:, widths[1] :]
        items[:] = known.items[batch.item]
        items[batch.item < 0] = np.nan
        users[:] = batch.asked.features[batch.owner]
        context[:] = batch.asked.context[batch.owner]

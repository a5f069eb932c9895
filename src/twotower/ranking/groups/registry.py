"""`GROUPS`: the groups of features, in the order of their columns."""

from __future__ import annotations

import numpy as np

from twotower.ranking.columns import Feature
from twotower.ranking.groups.counts import Counts
from twotower.ranking.groups.features import Features
from twotower.ranking.groups.group import F32, FeatureGroup
from twotower.ranking.groups.likeness import Likeness
from twotower.ranking.groups.sources import Sources
from twotower.ranking.groups.towers import Towers
from twotower.ranking.known import Batch, Known

GROUPS: tuple[type[FeatureGroup], ...] = (Towers, Counts, Likeness, Features, Sources)


def features_of(known: Known) -> list[Feature]:
    """Return all features of a model's candidates."""
    return [one for group in GROUPS for one in group.features(known)]


def matrix_of(batch: Batch) -> F32:
    """Return the features of all candidates, float32 (n_pairs, n_features)."""
    widths = [len(group.features(batch.known)) for group in GROUPS]
    ends = np.cumsum(widths)
    out = np.empty((len(batch.item), int(ends[-1])), np.float32)
    for group, width, end in zip(GROUPS, widths, ends, strict=True):
        group.fill(batch, out[:, end - width : end])
    return out

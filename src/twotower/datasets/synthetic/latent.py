"""The latent model of play times: effects and vectors of users and videos, from features and ids.

A play time is ``Q(Phi(z))``: Q is the play-time curve of the file, and z is standard normal,

    z[u, v] = user_effect[u] + item_effect[v] + user_vector[u] . item_vector[v] + noise

so the rank of a play time within a duration bucket has the variance shares of z. Half of every share comes
from the features in the files, and so generalises to new ids; the other half is specific to the id.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twotower.datasets.synthetic import figures
from twotower.datasets.synthetic.deal import Floats, level_effects, standardise, tag_effects
from twotower.datasets.synthetic.items import Items
from twotower.datasets.synthetic.users import Users

DIM = 8
_USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
_USER_CODES = (
    "user_active_degree",
    "is_video_author",
    *(f"onehot_feat{k}" for k in (0, 1, 2, 6, 7, 9, 10, 12)),
)


@dataclass(frozen=True)
class Latent:
    """The components of z, in its units (its variance is 1)."""

    user_effect: Floats
    item_effect: Floats
    user_vector: Floats
    """(users, DIM)"""
    item_vector: Floats
    """(videos, DIM)"""

    @property
    def noise(self) -> float:
        """Standard deviation of the noise."""
        return float(np.sqrt(1.0 - figures.USER_SHARE - figures.ITEM_SHARE - figures.INTERACTION_SHARE))


def make_latent(rng: np.random.Generator, users: Users, items: Items) -> Latent:
    """Draw effects and vectors with the variance shares of user, item and interaction in z."""
    user_part = _half_and_half(rng, _user_features(rng, users))  # (users, 1 + DIM)
    item_part = _half_and_half(rng, _item_features(rng, items))  # (videos, 1 + DIM)
    user_vector, item_vector = user_part[:, 1:], item_part[:, 1:]
    # The vectors are centred, so their dot product has no main effect; its variance is trace(Cu Cv).
    variance = float(np.sum(np.cov(user_vector.T) * np.cov(item_vector.T)))
    return Latent(
        user_effect=user_part[:, 0] * np.sqrt(figures.USER_SHARE),
        item_effect=item_part[:, 0] * np.sqrt(figures.ITEM_SHARE),
        user_vector=user_vector * np.sqrt(figures.INTERACTION_SHARE / variance),
        item_vector=item_vector,
    )


def _half_and_half(rng: np.random.Generator, from_features: Floats) -> Floats:
    return standardise(standardise(from_features) + standardise(rng.standard_normal(from_features.shape)))


def _user_features(rng: np.random.Generator, users: Users) -> Floats:
    total = np.zeros((users.table.height, 1 + DIM))
    for name in _USER_NUMBERS:
        number = standardise(np.log1p(users.table[name].to_numpy().astype(np.float64)))
        total += number[:, None] * rng.standard_normal(1 + DIM)
    for name in _USER_CODES:
        codes = (
            users.table[name].fill_null(-1) if name.startswith("onehot") else users.table[name].rank("dense")
        )
        total += level_effects(rng, codes.to_numpy().astype(np.int64), 1 + DIM)
    return total


def _item_features(rng: np.random.Generator, items: Items) -> Floats:
    dim = 1 + DIM
    return (
        1.5 * tag_effects(rng, items.tags, dim)
        + level_effects(rng, items.levels[0], dim)
        + 0.7 * level_effects(rng, items.levels[1], dim)
        + 0.5 * level_effects(rng, items.upload_type, dim)
        + 0.5 * level_effects(rng, items.author, dim)
    )

"""`Solving`: linear towers trained on `AllPairs` in closed form, by turns, without a gradient.

With the users' vectors held still the items' are a least squares, and the other way round (Hu, Koren,
Volinsky 2008). A ridge draws each vector to what its features say, by the square root of its pairs, and what
features say is a regression of the vectors on them: a prior that is learnt (as in collaborative topic
regression, Wang and Blei, KDD 2011). A row of few pairs falls back on it, one of none has nothing else.

What draws a row is what the features and the *other* rows' vectors say (`FeatureRidge`). If its own vector
had a part in it, features would explain each row by itself: the more freely they can, the better they seem to
be, and the less is left of the data. So features may help, and where they say nothing they are left out.

Biases stay at zero: a cell that was not observed is worth 0, and how popular an item is a vector can say too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twotower.model import SideArrays, TwoTowerModel
from twotower.training.feature_ridge import Design, FeatureRidge
from twotower.training.pair_squares import PairSquares
from twotower.training.solver import F32, Solver


class Solving(Solver):
    """Solves for everything that a model of linear towers has.

    Args:
        squares: the least squares of the train pairs.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
    """

    def __init__(self, squares: PairSquares, users: SideArrays, items: SideArrays) -> None:
        super().__init__(users, items)
        self.squares = squares
        designs = {which: Design.of(side) for which, side in self.sides.items()}
        ridges = self.squares.ridge
        # what a row is drawn to: rows weigh as the draw does
        self.priors = {which: FeatureRidge(of, ridges[which]) for which, of in designs.items()}
        # what a row never seen is taken for: one of the rows, all alike
        self.newcomers = {
            which: FeatureRidge(of, np.ones_like(ridges[which])) for which, of in designs.items()
        }

    def solve(self, model: TwoTowerModel) -> float:
        """Solve for the items' and then the users' vectors, and for what features say; return the loss.

        The loss is that of `AllPairs` over all train pairs at the end, the mean of the members'.
        """
        places = _members(model)
        every = np.concatenate(places)
        now = self.vectors(model)
        for which, against in (("items", "users"), ("users", "items")):
            towards = np.zeros_like(now[which])
            towards[:, every] = self.priors[which].fit(now[which][:, every]).honest
            for part in places:
                other = now[against][:, part]
                nothing = np.zeros((len(other), 1), np.float32)
                now[which][:, part] = self.squares.solve(
                    which, np.concatenate([other, nothing], axis=1), now[which][:, part], towards[:, part]
                )
        self.write(model, now, self.newcomers, every)
        return float(np.mean([self.squares.loss(*(_taken(now, part))) for part in places]))


def _members(model: TwoTowerModel) -> list[NDArray[np.int64]]:
    """Return the places of each member's vector among a tower's outputs, its bias left out."""
    width = model.users.width
    return [part[:-1] for part in np.array_split(np.arange(width), model.config.n_members)]


def _taken(now: dict[str, F32], part: NDArray[np.int64]) -> tuple[F32, F32]:
    return np.ascontiguousarray(now["users"][:, part]), np.ascontiguousarray(now["items"][:, part])

"""`Alternating`: what ids add to vectors of towers with hidden layers, solved for instead of descended to.

`AllPairs` is a least squares in the users' vectors and one in the items', and descending it by gradients is
slow: it is flat where the vectors are small, and badly conditioned. So after the steps of an epoch, in which
the towers learn what features say, each item's and then each user's id vector is solved for (Hu, Koren,
Volinsky 2008). The ridge draws a vector to what its features say, by the square root of its pairs:

    strength * (sum_u share_u |u - f(x_u)|^2 + sum_i share_i |v_i - f(x_i)|^2)

a prior whose mean the towers learn (as in collaborative topic regression, Wang and Blei, KDD 2011), so that a
row of few pairs falls back on its features, and one of none has nothing else. For towers without hidden
layers what features say is solved for as well: `Solving`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.model import SideArrays, Tower, TwoTowerModel
from twotower.training.pair_squares import PairSquares


class Alternating:
    """Solves for the id vectors of both sides.

    Args:
        squares: the least squares of the train pairs.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
    """

    def __init__(self, squares: PairSquares, users: SideArrays, items: SideArrays) -> None:
        self.squares = squares
        self.sides = {"users": users, "items": items}

    def solve(self, model: TwoTowerModel) -> None:
        """Solve for the items' and then for the users' id vectors, in place."""
        towers = {"users": model.users, "items": model.items}
        said = {which: from_features(tower, self.sides[which]) for which, tower in towers.items()}
        now = {which: said[which] + tower.ids.weight.cpu().numpy() for which, tower in towers.items()}
        members, device = model.config.n_members, model.users.ids.weight.device
        for which, against in (("items", "users"), ("users", "items")):
            for part in np.array_split(np.arange(now[which].shape[1]), members):
                other = now[against][:, part]  # of one member: the vector and, last, the bias
                parts = [other[:, :-1], np.ones((len(other), 1), np.float32), other[:, -1:]]
                mean = float(model.mean)
                if against == "users":
                    parts[2] = parts[2] + mean
                now[which][:, part] = self.squares.solve(
                    which, np.concatenate(parts, axis=1), now[which][:, part], said[which][:, part]
                )
            added = torch.from_numpy(now[which] - said[which])
            towers[which].ids.weight.data.copy_(added.to(device))


def from_features(tower: Tower, side: SideArrays) -> NDArray[np.float32]:
    """Return what the features alone say, (rows, width) of the tower."""
    training = tower.training
    tower.eval()
    with torch.no_grad():
        said: NDArray[np.float32] = tower.from_features(side).cpu().numpy()
    tower.train(training)
    return said

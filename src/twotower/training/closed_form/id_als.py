"""`IdALS`: closed-form updates of the id vectors of towers with hidden layers (ALS).

`AllPairs` is a least-squares problem in the users' vectors and in the items' vectors. Gradient descent on it
is slow: it is flat where the vectors are small, and badly conditioned. So after the steps of an epoch, in
which the towers learn from the features, each item's and then each user's id vector is computed in closed
form (Hu, Koren, Volinsky 2008). The ridge penalty regularises a vector towards the prediction f from its
features, with a strength proportional to the square root of its pairs:

    strength * (sum_u share_u |u - f(x_u)|^2 + sum_i share_i |v_i - f(x_i)|^2)

This is a prior whose mean the towers learn (as in collaborative topic regression, Wang and Blei, KDD 2011): a
row with few pairs relies on its features, and a row without pairs on nothing else. For towers without hidden
layers the effect of features is computed in closed form too: `LinearALS`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from twotower.kernels.layout import VectorLayout
from twotower.towers import SideArrays, Tower, TwoTowerModel
from twotower.training.closed_form.pair_squares import PairSquares


class IdALS:
    """Computes the id vectors of users and items in closed form.

    Args:
        squares: the least-squares problems of the training pairs.
        users: arrays of the warm users, in the order of their rows in the id table.
        items: the same for items.
    """

    def __init__(self, squares: PairSquares, users: SideArrays, items: SideArrays) -> None:
        self.squares = squares
        self.sides = {"users": users, "items": items}

    def solve(self, model: TwoTowerModel) -> None:
        """Update the items' and then the users' id vectors, in place."""
        towers = {"users": model.users, "items": model.items}
        said = {which: from_features(tower, self.sides[which]) for which, tower in towers.items()}
        now = {
            which: said[which] + tower.ids.weight.detach().cpu().numpy() for which, tower in towers.items()
        }
        device, one = model.users.ids.weight.device, VectorLayout(model.layout.size)
        for which, against in (("items", "users"), ("users", "items")):
            for part in model.layout.outputs:
                latent, bias = one.of_outputs(now[against][:, part])
                if against == "users":
                    bias = bias + float(model.mean)
                # what the unknown vector and bias are multiplied by, and the known offset
                other = one.items(latent, bias)
                now[which][:, part] = self.squares.solve(
                    which, other, now[which][:, part], said[which][:, part]
                )
            added = torch.from_numpy(now[which] - said[which])
            towers[which].ids.weight.data.copy_(added.to(device))


def from_features(tower: Tower, side: SideArrays) -> NDArray[np.float32]:
    """Return the tower's outputs from features only, (rows, width)."""
    training = tower.training
    tower.eval()
    with torch.no_grad():
        said: NDArray[np.float32] = tower.from_features(side).cpu().numpy()
    tower.train(training)
    return said

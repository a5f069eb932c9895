"""social_network.csv: friends of the few users who have some."""

from __future__ import annotations

import numpy as np
import polars as pl

from twotower.datasets.synthetic.plan import Plan


def social_network(rng: np.random.Generator, plan: Plan) -> pl.DataFrame:
    """Return one row per user, with 1 to 5 other users in ``friend_list`` as a JSON-like list."""
    users = np.sort(rng.choice(plan.users, size=plan.social_rows, replace=False))
    sizes = rng.choice([1, 2, 3, 4, 5], size=len(users), p=[0.78, 0.14, 0.05, 0.02, 0.01])
    lists = []
    for user, size in zip(users.tolist(), sizes.tolist(), strict=True):
        friends = rng.choice(plan.users - 1, size=size, replace=False)
        lists.append(str([friend + (friend >= user) for friend in friends.tolist()]))  # never oneself
    return pl.DataFrame({"user_id": users, "friend_list": lists})

"""Off-policy estimates against the truth: error and coverage over simulated logging policies.

    python benchmarks/off_policy.py [--policies 200] [--users 400] [--rows 20] [--json FILE]

KuaiRec is fully observed: what a user would have watched of any video of the sample's cells is known. A model
is trained on half of the cells. The other half are the videos that may be shown; a reward is 1 where the user
watched at least 1.5 times the video's length. So the value of a policy is known exactly: the mean over users
of the sum of probability times reward.

Each logging policy is a softmax of a random mix of popularity, another model's scores, its own noise and
ours, of a random temperature, with a random share of uniform exploration; it logs --rows rows for each of
--users users, drawn with replacement. Two policies of ours are estimated from each log: one item of the list
of 5, and a softmax of temperature 0.3. Printed, by the effective sample size: the root mean square error, the
bias and the coverage of the 95% intervals of each estimate.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

import twotower as tt
from twotower.evaluation import ListPolicy, Logged, Policy, SoftmaxPolicy, evaluate_off_policy
from twotower.evaluation.reward_model import RewardModel, folds_of

F64 = NDArray[np.float64]
LIKED = 1.5


def world(seed: int) -> tuple[F64, F64, F64, F64]:
    """Return rewards (n_users, n_items), nan where unknown, our scores, another model's and popularity."""
    data = tt.datasets.load("kuairec-sample")
    train, rest = tt.split(data, "random", test=0.5, seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = tt.TwoTower(kind="linear", dim=64, seed=seed).fit(train, exclude_seen=False)
        other = tt.TwoTower(kind="linear", dim=8, positive=LIKED, seed=seed + 1).fit(train)
    users, items = ours.users, ours.items
    rows = rest.interactions.select("user_id", "video_id", "watch_ratio")
    user, item = users.rows(rows["user_id"]), items.rows(rows["video_id"])
    kept = (user >= 0) & (item >= 0)
    reward = np.full((len(users), len(items)), np.nan)
    reward[user[kept], item[kept]] = rows["watch_ratio"].to_numpy()[kept] >= LIKED
    enough = np.isfinite(reward).sum(axis=1) >= 10
    scores = [model.users.vectors.astype(float) @ model.items.vectors.T for model in (ours, other)]
    liked = train.interactions.filter(pl.col("watch_ratio") >= LIKED)["video_id"]
    found = items.rows(liked)
    popular = np.log1p(np.bincount(found[found >= 0], minlength=len(items)))
    return (
        reward[enough],
        scores[0][enough],
        scores[1][enough],
        np.broadcast_to(popular, reward.shape)[enough],
    )


def standard(scores: F64, there: NDArray[np.bool_]) -> F64:
    held = np.where(there, scores, np.nan)
    centred = held - np.nanmean(held, axis=1, keepdims=True)
    return np.asarray(centred / np.nanstd(held))


def logging_policy(parts: list[F64], there: NDArray[np.bool_], rng: np.random.Generator) -> F64:
    """Return the probabilities of a random policy (n_users, n_items)."""
    mix = rng.dirichlet(np.ones(len(parts) + 1))
    noise = rng.normal(size=there.shape)
    scores = sum(share * part for share, part in zip(mix, [*parts, noise], strict=True))
    masked = np.where(there, scores, -np.inf)
    policy = SoftmaxPolicy(float(np.exp(rng.uniform(np.log(0.1), np.log(3.0))))).probabilities(masked)
    explore = float(np.exp(rng.uniform(np.log(0.002), np.log(0.5))))
    return np.asarray((1 - explore) * policy + explore * there / there.sum(axis=1, keepdims=True))


def logged_by(
    policy: F64, ours: F64, scores: F64, reward: F64, users: int, rows: int, rng: np.random.Generator
) -> Logged:
    """Draw users and what they are shown; predict rewards from those of other users."""
    drawn = rng.integers(len(policy), size=users)
    code = np.repeat(np.arange(users), rows)
    who = drawn[code]
    ends = np.cumsum(policy, axis=1)
    item = (rng.random(len(who))[:, None] * ends[who, -1:] >= ends[who]).sum(axis=1)
    r, s = reward[who, item], scores[who, item]
    fold = folds_of(users, 0)
    predicted, expected = np.empty(len(who)), np.empty(users)
    for at in range(int(fold.max()) + 1):
        own, of = fold[code] == at, fold == at
        model = RewardModel.fit(s[~own], item[~own], r[~own], scores.shape[1])
        predicted[own] = model.predict(s[own], item[own])
        expected[of] = model.expected(ours[drawn[of]], scores[drawn[of]])
    return Logged(code, r, policy[who, item], ours[who, item], predicted, expected[code])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--policies", type=int, default=200)
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--rows", type=int, default=20, help="rows of each user")
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write every estimate there")
    given = parser.parse_args()
    reward, scores, other, popular = world(given.seed)
    there = np.isfinite(reward)
    ours = np.where(there, scores, -np.inf)
    parts = [standard(of, there) for of in (popular, other, scores)]
    policies: dict[str, Policy] = {"list of 5": ListPolicy(5), "softmax 0.3": SoftmaxPolicy(0.3)}
    chosen = {name: policy.probabilities(ours) for name, policy in policies.items()}
    reward = np.where(there, reward, 0.0)
    truth = {name: float((of * reward).sum(axis=1).mean()) for name, of in chosen.items()}
    print(f"{len(reward):,} users, {int(there.sum()):,} known rewards, mean {reward[there].mean():.4f}")
    print("truth: " + ", ".join(f"{name} {value:.4f}" for name, value in truth.items()))
    found: list[dict[str, Any]] = []
    for number in range(given.policies):
        rng = np.random.default_rng([given.seed, number])
        policy = logging_policy(parts, there, rng)
        for name, probability in chosen.items():
            log = logged_by(policy, probability, scores, reward, given.users, given.rows, rng)
            result = evaluate_off_policy(log, resamples=given.resamples, seed=number)
            found += [
                {
                    "policy": name,
                    "estimate": estimate,
                    "effective": result.weights.effective,
                    "error": value - truth[name],
                    "width": value.high - value.low,
                    "covered": value.low <= truth[name] <= value.high,
                    "noted": bool(result.notes),
                }
                for estimate, value in result.values.items()
            ]
    table = pl.DataFrame(found)
    if given.json:
        given.json.write_text(json.dumps(found), encoding="utf-8")
    effective = pl.col("effective")
    size = pl.when(effective < 100).then(pl.lit("below 100"))
    sizes = size.when(effective < 1000).then(pl.lit("below 1,000")).otherwise(pl.lit("from 1,000"))
    with pl.Config(tbl_rows=100, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
        for keys in (["policy"], ["policy", "effective size"]):
            print(
                table.with_columns(sizes.alias("effective size"))
                .group_by(*keys, "estimate")
                .agg(
                    logs=pl.len(),
                    rmse=(pl.col("error") ** 2).mean().sqrt().round(4),
                    bias=pl.col("error").mean().round(4),
                    width=pl.col("width").mean().round(4),
                    coverage=pl.col("covered").mean().round(3),
                )
                .sort(*keys, "estimate")
            )


if __name__ == "__main__":
    main()

"""How often an experiment without a difference finds one, if somebody looks after every 100 users.

    python benchmarks/experiment.py [--experiments 2000] [--users 20000] [--share 0.5] [--lift 0.0]

Outcomes are counts of interactions with many zeros, as those of users are. Printed: the share of experiments
in which a 95% confidence sequence, and a t-interval looked at as often, excluded 0 at any look; the same for
the check of the split; and, with --lift, the share that found the difference and the median users until then.
"""

from __future__ import annotations

import argparse

import numpy as np

from twotower.metrics.sequential import LEAST, mixture_bounds, split_p_value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--experiments", type=int, default=2000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--share", type=float, default=0.5, help="of the users that the second model gets")
    parser.add_argument("--lift", type=float, default=0.0, help="of the second model's mean")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sequence = t_test = split = 0
    found: list[int] = []
    for number in range(given.experiments):
        rng = np.random.default_rng([given.seed, number])
        second = rng.random(given.users) < given.share
        rate = rng.gamma(0.5, 4.0, given.users) * np.where(second, 1.0 + given.lift, 1.0)
        outcome = rng.poisson(rate).astype(float)
        looks = np.arange(given.every, given.users + 1, given.every)
        counts, means, errors = [], [], []
        for group in (second, ~second):
            n = np.cumsum(group)[looks - 1]
            total, squares = (np.cumsum(np.where(group, outcome**p, 0.0))[looks - 1] for p in (1, 2))
            counts.append(n)
            means.append(total / np.maximum(n, 1))
            errors.append((squares - total**2 / np.maximum(n, 1)) / np.maximum(n - 1, 1) / np.maximum(n, 1))
        enough = np.minimum(*counts) >= LEAST
        z = (means[0] - means[1])[enough] / np.sqrt(errors[0] + errors[1])[enough]
        at = looks[enough]
        hits = [n for n, of in zip(at, z, strict=True) if mixture_bounds(of, n, 0.05, 10_000)[1] < 0.05]
        always, naive = bool(hits), bool((np.abs(z) > 1.96).any())
        found += hits[:1]
        shares = [given.share, 1 - given.share]
        mismatch = any(split_p_value(pair, shares) < 0.001 for pair in zip(*counts, strict=True))
        sequence, t_test, split = sequence + always, t_test + naive, split + mismatch
    n = given.experiments
    print(f"{n:,} experiments, {given.users:,} users, looked at every {given.every}, lift {given.lift:g}")
    print(f"confidence sequence excludes 0: {sequence / n:.1%}; a 95% t-interval: {t_test / n:.1%}")
    print(f"split reported as wrong (p < 0.001): {split / n:.2%}")
    if found:
        print(f"median users until the sequence excluded 0: {int(np.median(found)):,}")


if __name__ == "__main__":
    main()

"""Recover the durations of videos from watch ratios, for `build_sample.py`.

A watch ratio is played / duration, both in whole milliseconds, so it is a fraction p / q in lowest terms,
which a 64-bit float determines exactly; q divides the duration. If all p up to the duration are equally
likely, q has probability phi(q) / duration (Euler's totient). So of two durations that explain a video's
ratios the smaller is more likely, by the factor of their quotient per ratio. Some videos have a second,
slightly different duration in some rows, so a ratio may also be unexplained, with a penalty. The prior over
durations is estimated from videos with many ratios. No assumption is made about how long people watch, so the
durations do not leak the labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import numpy as np

LONGEST = 330_000
"""Milliseconds; the longest video of KuaiRec is 315 s."""
SURE = 0.95
"""Minimum posterior probability of an accepted duration."""
LEAST_EXPLAINED = 2
"""Minimum number of ratios that it must explain."""
_ULPS = 8  # maximum difference of a ratio and its fraction
_UNEXPLAINED = math.log(1e-6)
_MULTIPLES = 40  # multiples of a denominator that are tried
_MANY = 20  # minimum ratios of a video used for the prior


def denominator(ratio: float) -> int:
    """Return the denominator in lowest terms of a ratio of whole milliseconds, or 0.

    >>> denominator(8130 / 10867), denominator(5000 / 10000), denominator(math.pi / 10)
    (10867, 2, 0)
    """
    fraction = Fraction(ratio).limit_denominator(LONGEST)
    # some were rounded once more; two such fractions differ by at least 1e-11
    near = abs(float(fraction) - ratio) <= _ULPS * math.ulp(ratio)
    return fraction.denominator if ratio > 0 and near else 0


def recover(ratios: Mapping[int, Iterable[float]]) -> dict[int, int | None]:
    """Return each video's duration in ms from its watch ratios, None if uncertain."""
    seen = {video: Counter(q for q in map(denominator, of) if q > 1) for video, of in ratios.items()}
    # the scale-free prior first
    begun = [_likeliest(c, lambda q: -math.log(q))[0] for c in seen.values() if c.total() >= _MANY]
    edges = np.arange(math.log(500), math.log(LONGEST) + 0.1, 0.1)
    share = np.histogram(np.log([q for q in begun if q]), bins=edges)[0] + 0.3
    share = np.log(share / share.sum())

    def prior(q: int) -> float:
        place = int(np.searchsorted(edges, math.log(q), side="right")) - 1
        return -math.inf if not 0 <= place < len(share) else float(share[place]) - math.log(q)

    found: dict[int, int | None] = {}
    for video, counts in seen.items():
        duration, probability = _likeliest(counts, prior)
        explained = sum(n for q, n in counts.items() if duration and duration % q == 0)
        found[video] = duration if probability >= SURE and explained >= LEAST_EXPLAINED else None
    return found


def _likeliest(counts: Counter[int], prior: Callable[[int], float]) -> tuple[int | None, float]:
    """Return the most likely duration given the counts of denominators, and its probability."""
    candidates = {q * k for q in counts for k in range(1, min(_MULTIPLES, LONGEST // q) + 1)}
    common = [q for q, _ in counts.most_common(12)]
    candidates |= {m for a in common for b in common if (m := math.lcm(a, b)) <= LONGEST}
    chance = {q: math.log(_totient(q)) for q in counts}
    worth = {
        duration: prior(duration)
        + sum(
            n * (chance[q] - math.log(duration) if duration % q == 0 else _UNEXPLAINED)
            for q, n in counts.items()
        )
        for duration in sorted(candidates)
    }
    if not worth or max(worth.values()) == -math.inf:
        return None, 0.0
    best = max(worth, key=lambda duration: worth[duration])
    return best, 1.0 / sum(math.exp(value - worth[best]) for value in worth.values())


def _totient(n: int) -> int:
    result, left, factor = n, n, 2
    while factor * factor <= left:
        if left % factor == 0:
            result -= result // factor
            while left % factor == 0:
                left //= factor
        factor += 1
    return result - result // left if left > 1 else result

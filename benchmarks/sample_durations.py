"""Recover the durations of videos from watch ratios, for `build_sample.py`.

A watch ratio is played / duration, both whole milliseconds, so it is a fraction p / q in lowest terms that a
64-bit float gives away exactly; q divides the duration. If all p up to the duration are alike, q is seen with
probability phi(q) / duration (Euler's totient): so of two durations that explain a video's ratios the smaller
is the likelier one, by their quotient for every ratio. Some videos have a second, slightly different duration
in some rows: a ratio may also be one that the duration doesn't explain, at a price. How common durations are
is learnt from the videos with many ratios. Nothing is assumed of how long people watch, so the durations say
nothing of the labels beyond what a catalogue's would.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction

import numpy as np

LONGEST = 330_000
"""Milliseconds; the longest video of KuaiRec has 315 s."""
SURE = 0.95
"""Posterior probability of a duration that is believed."""
LEAST_EXPLAINED = 2
"""Ratios that it must explain."""
_ULPS = 8  # between a ratio and its fraction
_UNEXPLAINED = math.log(1e-6)
_MULTIPLES = 40  # of a denominator, that are tried
_MANY = 20  # ratios of a video that the prior is learnt from


def denominator(ratio: float) -> int:
    """Return the denominator in lowest terms of a ratio of whole milliseconds, 0 if it is none.

    >>> denominator(8130 / 10867), denominator(5000 / 10000), denominator(math.pi / 10)
    (10867, 2, 0)
    """
    fraction = Fraction(ratio).limit_denominator(LONGEST)
    # some were rounded once more on their way; two such fractions are 1e-11 apart or more
    near = abs(float(fraction) - ratio) <= _ULPS * math.ulp(ratio)
    return fraction.denominator if ratio > 0 and near else 0


def recover(ratios: Mapping[int, Iterable[float]]) -> dict[int, int | None]:
    """Return the duration in ms of each video, None where it is not sure, from its watch ratios."""
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
    """Return the likeliest duration given how often each denominator was seen, and its probability."""
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

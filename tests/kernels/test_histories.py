"""Running sums over histories, against the formulas written out with torch."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from twotower.kernels.histories import (
    DecayedMean,
    GatedSum,
    decayed_end,
    decayed_mean,
    gated_end,
    gated_sum,
)
from twotower.kernels.scans import scanned_gates, scanned_mean

INDPTR = np.array([0, 4, 4, 5, 12], dtype=np.int64)


def rows(seed, dim=3):
    return torch.randn(12, dim, generator=torch.Generator().manual_seed(seed))


def decayed(x, r):
    """Return the means by the formula, in float64."""
    x, r = x.double(), r.double()
    found = []
    for first, last in pairwise(INDPTR):
        for t in range(first, last):
            weights = torch.stack([r ** float(t - s) for s in range(first, t + 1)])
            found.append((weights * x[first : t + 1]).sum(0) / weights.sum(0).sqrt())
    return torch.stack(found)


def gated(f, h):
    """Return the states by the formula, in float64."""
    f, h = f.double(), h.double()
    found = []
    for first, last in pairwise(INDPTR):
        state = torch.zeros(h.shape[1], dtype=torch.float64)
        for t in range(first, last):
            state = f[t] * state + (1 - f[t]) * h[t]
            found.append(state)
    return torch.stack(found)


def gradients(function, *inputs):
    given = [one.clone().requires_grad_() for one in inputs]
    out = function(*given)
    return out.detach(), torch.autograd.grad((out.double() * rows(9).double()).sum(), given)


@pytest.mark.parametrize(
    ("kernel", "formula", "inputs"),
    [
        (DecayedMean.apply, decayed, (rows(0), torch.tensor([0.1, 0.5, 0.97]))),
        (GatedSum.apply, gated, (torch.sigmoid(rows(1)), rows(2))),
        (scanned_mean, decayed, (rows(0), torch.tensor([0.1, 0.5, 0.97]))),
        (scanned_gates, gated, (torch.sigmoid(rows(1)), rows(2))),
    ],
)
def test_values_and_gradients_are_those_of_the_formula(kernel, formula, inputs):
    got, by = gradients(lambda *given: kernel(*given, INDPTR), *inputs)
    wanted, wanted_by = gradients(formula, *inputs)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-6)
    for one, other in zip(by, wanted_by, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kernel", "second"), [(DecayedMean, torch.full((3,), 0.5)), (GatedSum, rows(2))])
def test_a_row_does_not_depend_on_later_ones_nor_on_other_histories(kernel, second):
    first = torch.sigmoid(rows(1))
    changed = first.clone()
    changed[9:] += 1.0
    before, after = kernel.apply(first, second, INDPTR), kernel.apply(changed, second, INDPTR)
    assert torch.equal(before[:9], after[:9])
    assert not torch.equal(before[9], after[9])


@pytest.mark.parametrize("scan", [scanned_mean, scanned_gates])
def test_a_scan_of_no_rows(scan):
    assert scan(torch.zeros(0, 3), torch.zeros(0, 3), np.zeros(1, np.int64)).shape == (0, 3)


def test_no_rows():
    none = np.zeros(1, np.int64)
    assert DecayedMean.apply(torch.zeros(0, 3), torch.full((3,), 0.5), none).shape == (0, 3)
    assert GatedSum.apply(torch.zeros(0, 3), torch.zeros(0, 3), none).shape == (0, 3)


@pytest.mark.parametrize("n", [7, 200])  # by one thread, and by several
def test_the_ends_of_histories_are_their_last_positions(n: int) -> None:
    """Of rows in any order, some of them several times; an empty history has 0."""
    draw = np.random.default_rng(n)
    lengths = draw.integers(0, 9, n)
    indptr = np.append(0, np.cumsum(lengths))
    table = torch.from_numpy(draw.normal(size=(11, 6)))
    at = torch.from_numpy(draw.integers(0, 11, indptr[-1]))
    gates = torch.sigmoid(torch.from_numpy(draw.normal(size=(11, 6))))
    decay = torch.from_numpy(draw.uniform(0.2, 1.0, 6))
    some, ends = lengths > 0, indptr[1:][lengths > 0] - 1
    pointers = torch.from_numpy(indptr)
    decays = torch.stack([decay, decay.flip(0)])
    means = decayed_end(table, decays, at, pointers)
    expected = [decayed_mean(table[at], one, indptr)[ends] for one in decays]
    np.testing.assert_allclose(means[some], torch.cat(expected, dim=1))
    assert not means[~some].any()
    states = gated_end(torch.cat([gates, table], dim=1), at, pointers)
    np.testing.assert_allclose(states[some], gated_sum(gates[at], table[at], indptr)[ends])
    assert not states[~some].any()

"""The contract of all objectives of a score; each class at the end states its formula independently."""

from __future__ import annotations

import numpy as np
import numpy.testing as npt
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from twotower.errors import ConfigError, DataError
from twotower.kernels.pairs import Pairs
from twotower.objectives import Huber, Logistic, Objective, Squared, Workspace


def make_case(seed=0, n_users=9, n_items=13, n=300, width=8, weighted=False):
    """Random vectors in float64 and pairs in random order, an item twice for a user among them."""
    rng = np.random.default_rng(seed)
    U = torch.from_numpy(rng.normal(size=(n_users, width)))
    V = torch.from_numpy(rng.normal(size=(n_items, width)) / np.sqrt(width))
    columns = (
        rng.integers(n_users, size=n),
        rng.integers(n_items, size=n),
        rng.uniform(size=n).astype(np.float32),
        rng.uniform(0.1, 2, size=n).astype(np.float32) if weighted else None,
    )
    return U, V, columns


class ObjectiveContract:
    objective: Objective

    def pointwise(self, score, label):
        """The loss of each pair, written independently of the library."""
        raise NotImplementedError

    def expected(self, U, V, columns):
        """Loss and gradients by autograd."""
        user, item, label, weight = columns
        U, V = U.double().clone().requires_grad_(), V.double().clone().requires_grad_()
        score = (U @ V.T)[torch.from_numpy(user), torch.from_numpy(item)]
        w = torch.ones_like(score) if weight is None else torch.from_numpy(weight).double()
        loss = (w * self.pointwise(score, torch.from_numpy(label).double())).sum() / w.sum()
        loss.backward()
        return loss.item(), U.grad.numpy(), V.grad.numpy()

    def run(self, U, V, columns, dtype=torch.float32, workspace=None):
        user, item, label, weight = columns
        pairs = Pairs.from_arrays(user, item, label, weight, n_users=U.shape[0])
        loss, dU, dV = self.objective(U.to(dtype), V.to(dtype), pairs, workspace=workspace)
        assert dU.dtype == dV.dtype == dtype
        return loss, dU.numpy(), dV.numpy()

    def assert_as_expected(self, U, V, columns, dtype, rtol):
        got, want = self.run(U, V, columns, dtype), self.expected(U, V, columns)
        assert got[0] == pytest.approx(want[0], rel=rtol)
        for g, w in zip(got[1:], want[1:], strict=True):
            npt.assert_allclose(g, w, rtol=rtol, atol=rtol * np.abs(w).max())

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("width", [1, 7, 64, 66])
    def test_gradients_are_those_of_autograd(self, width, weighted):
        U, V, columns = make_case(width=width, weighted=weighted)
        self.assert_as_expected(U, V, columns, torch.float64, 1e-10)
        self.assert_as_expected(U, V, columns, torch.float32, 2e-5)

    def test_many_pairs_in_chunks_and_threads(self, monkeypatch):
        monkeypatch.setattr("twotower.objectives.pointwise._CHUNK_NUMBERS", 640)
        U, V, columns = make_case(n_users=200, n_items=50, n=20_000, weighted=True)
        self.assert_as_expected(U, V, columns, torch.float64, 1e-10)
        self.assert_as_expected(U, V, columns, torch.float32, 2e-5)

    def test_single_pair(self):
        U, V, columns = make_case(n_users=1, n_items=1, n=1)
        self.assert_as_expected(U, V, columns, torch.float32, 2e-5)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_rows_without_pairs_have_zero_gradient(self, dtype):
        U, V, (user, item, label, _) = make_case()
        user, item = user // 3 * 3, item // 2 * 2
        columns = (user, item, label, None)
        _, dU, dV = self.run(U, V, columns, dtype)
        assert not dU[[1, 2, 4, 5, 7, 8]].any()
        assert not dV[1::2].any()
        self.assert_as_expected(U, V, columns, dtype, 2e-5)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_no_pairs(self, dtype):
        U, V, _ = make_case()
        none = np.empty(0, dtype=np.int64)
        loss, dU, dV = self.run(U, V, (none, none, none, None), dtype)
        assert loss == 0
        assert not dU.any()
        assert not dV.any()

    def test_order_of_pairs_does_not_matter(self):
        U, V, columns = make_case(weighted=True)
        shuffled = np.random.default_rng(1).permutation(columns[0].size)
        for a, b in zip(self.run(U, V, columns), self.run(U, V, [c[shuffled] for c in columns]), strict=True):
            npt.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

    def test_same_bits_twice_also_in_used_memory(self):
        U, V, columns = make_case(n_users=300, n_items=40, n=30_000)
        workspace = Workspace()
        first = self.run(U, V, columns, workspace=workspace)
        self.run(U[:9], V.repeat(3, 1), make_case()[2], workspace=workspace)
        for again in (self.run(U, V, columns, workspace=workspace), self.run(U, V, columns)):
            assert again[0] == first[0]
            npt.assert_array_equal(again[1], first[1])
            npt.assert_array_equal(again[2], first[2])

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_a_diverged_model_shows_in_the_loss(self, dtype, bad):
        for side in (0, 1):
            U, V, columns = make_case()
            (U, V)[side][4, 3] = bad
            assert not np.isfinite(self.run(U, V, columns, dtype)[0])

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_vectors_are_left_alone_and_outside_autograd(self, dtype):
        U, V, (user, item, label, _) = make_case()
        U, V = U.to(dtype).requires_grad_(), V.T.contiguous().T.to(dtype).requires_grad_()  # V not contiguous
        before = U.detach().clone(), V.detach().clone()
        _, dU, dV = self.objective(U, V, Pairs.from_arrays(user, item, label, n_users=9))
        assert not dU.requires_grad
        assert not dV.requires_grad
        assert torch.equal(U, before[0])
        assert torch.equal(V, before[1])

    def test_item_outside_V_is_refused(self):
        U, V, columns = make_case()
        with pytest.raises(DataError, match=r"\[0, 5\)"):
            self.run(U, V[:5], columns)

    def test_vectors_that_do_not_fit_are_refused(self):
        U, V, columns = make_case()
        pairs = Pairs.from_arrays(*columns[:3], n_users=9)
        with pytest.raises(ValueError, match="width"):
            self.objective(U[:, :5], V, pairs)
        with pytest.raises(ValueError, match="type"):
            self.objective(U.float(), V, pairs)
        with pytest.raises(ValueError, match="9 users"):
            self.objective(U[:4], V, pairs)

    # Deliberately inherited by every objective.
    @settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
    @given(seed=st.integers(0, 10**6), factor=st.floats(1e-3, 1e3))
    def test_only_the_ratio_of_weights_matters(self, seed, factor):
        U, V, (user, item, label, weight) = make_case(seed, n=40, weighted=True)
        scaled = (weight * np.float32(factor)).astype(np.float32)
        for a, b in zip(
            self.run(U, V, (user, item, label, weight)),
            self.run(U, V, (user, item, label, scaled)),
            strict=True,
        ):
            npt.assert_allclose(a, b, rtol=1e-4, atol=1e-5)

    def test_a_weight_of_two_is_the_pair_twice(self):
        U, V, (user, item, label, _) = make_case(n=20)
        weight = np.where(np.arange(20) < 5, 2, 1).astype(np.float32)
        twice = [np.concatenate([c[:5], c]) for c in (user, item, label)]
        for a, b in zip(
            self.run(U, V, (user, item, label, weight)), self.run(U, V, (*twice, None)), strict=True
        ):
            npt.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

    def test_least_loss_is_where_the_prediction_is_the_label(self):
        # predictions are scores, or their logistic function where the config says that scores are logits
        score = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
        label = score.detach().sigmoid() if self.objective.Config.logits else score.detach()
        (slope,) = torch.autograd.grad(self.pointwise(score, label).sum(), score)
        npt.assert_allclose(slope.numpy(), 0, atol=1e-12)


class TestSquared(ObjectiveContract):
    objective = Squared()

    def pointwise(self, score, label):
        return F.mse_loss(score, label, reduction="none")

    def test_by_hand(self):
        U, V = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0], [0.0, 1.0]])
        loss, dU, dV = self.objective(U, V, Pairs.from_arrays([0, 0], [0, 1], [4, 0], n_users=1))
        assert loss == (1 + 4) / 2  # scores 5 and 2
        assert dU.tolist() == [[3.0, 3.0]]  # (1 * [3, 1] + 2 * [0, 1])
        assert dV.tolist() == [[1.0, 2.0], [2.0, 4.0]]


class TestHuber(ObjectiveContract):
    objective = Huber(delta=0.3)

    def pointwise(self, score, label):
        return 2 * F.huber_loss(score, label, delta=0.3, reduction="none")

    def test_is_squared_while_delta_is_not_passed(self):
        U, V, columns = make_case()
        wide = TestSquared().run(U, V, columns)
        self.objective = Huber(delta=1e6)
        npt.assert_allclose(self.run(U, V, columns)[2], wide[2], rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("delta", [0, -1, np.nan, np.inf])
    def test_delta_must_be_positive(self, delta):
        with pytest.raises(ConfigError, match="delta"):
            Huber(delta)


class TestLogistic(ObjectiveContract):
    objective = Logistic()

    def pointwise(self, score, label):
        return F.binary_cross_entropy_with_logits(score, label, reduction="none")

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_any_score_is_safe(self, dtype):
        scores = np.array([-1e4, -100, -88, -87, -20, -1, -1e-3, 0, 1e-3, 1, 20, 87, 88, 100, 1e4])
        V = torch.from_numpy(scores[:, None])
        for label in (0.0, 0.25, 1.0):
            columns = (np.zeros(15, int), np.arange(15), np.full(15, label, np.float32), None)
            loss, _, dV = self.run(torch.ones(1, 1).double(), V, columns, dtype)
            want, _, want_dV = self.expected(torch.ones(1, 1), V, columns)
            assert loss == pytest.approx(want, rel=1e-6)
            npt.assert_allclose(dV, want_dV, rtol=1e-6, atol=1e-8)

    def test_check_wants_labels_of_0_to_1(self):
        self.objective.check(Pairs.from_arrays([0, 0], [0, 1], [0, 1], n_users=1))
        with pytest.raises(DataError, match=r"got 1\.5"):
            self.objective.check(Pairs.from_arrays([0, 0], [0, 1], [0, 1.5], n_users=1))

"""Sequence towers: what a position reads, how much, and every pooling's contract."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from twotower.errors import ConfigError
from twotower.estimator import TwoTower
from twotower.features import Bag, Codes, Dense, EncodedSide
from twotower.towers import History, SideArrays, TwoTowerModel, poolings
from twotower.towers.poolings import attention
from twotower.towers.poolings.registry import POOLINGS
from twotower.towers.sequence import SequenceConfig, SequenceUsers

N_USERS, N_ITEMS, N_WARM = 4, 7, 5
CPU = torch.device("cpu")
INDPTR = torch.tensor([0, 4, 4, 5, 12])
"""Histories: one is empty, one has an item, one is longer than what most tests read of it."""
every_pooling = pytest.mark.parametrize("pooling", POOLINGS.names())
every_tower = pytest.mark.parametrize(
    "settings", [*({"pooling": (name,)} for name in POOLINGS.names()), {"pooling": tuple(POOLINGS.names())}]
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


def config(**given: Any) -> SequenceConfig:
    return SequenceConfig.model_validate({"dim": 8, "dropout": 0.0, "blocks": 2, "heads": 2} | given)


def side(n: int, warm: int, seed: int) -> SideArrays:
    rng = np.random.default_rng(seed)
    rows = np.arange(1, n + 1, dtype=np.int32)
    blocks: dict[str, Any] = {
        "x": Dense(rng.normal(size=(n, 2)).astype(np.float32)),
        "c": Codes(rng.integers(0, 4, n).astype(np.int32), 4),
        "b": Bag(np.arange(n + 1) * 2, rng.integers(0, 5, 2 * n).astype(np.int32), 5),
    }
    return SideArrays.pack(EncodedSide(np.where(rows <= warm, rows, 0).astype(np.int32), blocks), CPU)


ITEMS = side(N_ITEMS, N_WARM, 1)
"""Two of them cold."""


def users(items: list[int] | None = None, grades: torch.Tensor | None = None) -> SideArrays:
    rng = np.random.default_rng(2)
    n = int(INDPTR[-1])
    there = torch.tensor(items) if items else torch.from_numpy(rng.integers(0, N_ITEMS, n))
    grades = torch.ones(n) if grades is None else grades
    past = History(INDPTR, there, grades, torch.arange(float(n)).double(), ITEMS)
    return replace(side(N_USERS, N_USERS, 0), history=past)


def tower(**settings: Any) -> SequenceUsers:
    """A user tower whose weights are all away from where they start."""
    model = TwoTowerModel(users().shape, ITEMS.shape, N_USERS, N_WARM, config(**settings), seed=0).eval()
    made = model.users
    assert isinstance(made, SequenceUsers)
    shake(made)
    return made


def shake(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.3)


def changed(past: History, at: int, **columns: Any) -> History:
    """Return a history of which one entry is different."""
    given = {name: getattr(past, name).clone() for name in columns}
    for name, value in columns.items():
        given[name][at] = value
    return replace(past, **given)


def test_a_pooling_is_one_file_and_one_line() -> None:
    folder = Path(poolings.__file__).parent
    files = {file.stem for file in folder.glob("*.py")} - {"__init__", "pooling", "registry"}
    assert files == set(POOLINGS.names())
    assert all(POOLINGS.get(name).__module__.endswith(f".{name}") for name in files)


@every_pooling
@pytest.mark.parametrize("first", [True, False])
def test_a_pooling_reads_its_own_history_up_to_a_row(pooling: str, first: bool) -> None:
    made = POOLINGS.get(pooling)(6, config(), torch.Generator().manual_seed(0), first=first).double()
    shake(made)
    rows = torch.randn(12, 6, generator=torch.Generator().manual_seed(1)).double()
    whole = made(rows, INDPTR)
    assert whole.shape == rows.shape
    for first_row, last in pairwise(INDPTR.tolist()):
        for row in range(first_row, last):
            other = rows.clone()
            other[row] = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0, -1.0])
            touched = (made(other, INDPTR) - whole).abs().amax(dim=1) > 1e-9
            assert touched.nonzero().flatten().tolist() == list(range(row, last))


@every_pooling
def test_gradients_of_a_pooling_are_finite_differences(pooling: str) -> None:
    made = POOLINGS.get(pooling)(4, config(blocks=1), torch.Generator().manual_seed(0), first=True).double()
    shake(made)
    names, weights = zip(*made.named_parameters(), strict=True)
    rows = torch.randn(12, 4, generator=torch.Generator().manual_seed(1)).double().requires_grad_()

    def output(rows: torch.Tensor, *given: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = functional_call(made, dict(zip(names, given, strict=True)), (rows, INDPTR))
        return found

    assert torch.autograd.gradcheck(output, (rows, *weights), atol=1e-6)


@pytest.mark.parametrize("cells", [1, 20, 1 << 20])
def test_attention_is_that_of_a_plain_loop_whatever_is_padded_together(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "CELLS", cells)
    made = POOLINGS.get("attention")(6, config(heads=4), torch.Generator().manual_seed(0), first=False)
    shake(made.double())
    rows = torch.randn(12, 6, generator=torch.Generator().manual_seed(1)).double()
    found = []
    for first, last in pairwise(INDPTR.tolist()):
        x = rows[first:last]
        for block in made.blocks:
            q, k, v = block.reads(block.before(x)).view(len(x), 3, 4, 2).unbind(1)
            read = torch.zeros(len(x), 4, 2).double()
            for t in range(len(x)):
                for head in range(4):
                    near = block.slope[head].exp() * torch.arange(t, -1, -1)
                    logits = k[: t + 1, head] @ q[t, head] / 2**0.5 - near
                    read[t, head] = logits.softmax(0) @ v[: t + 1, head]
            x = x + block.out(read.flatten(1))
            x = x + block.narrow(nn.functional.gelu(block.wide(block.between(x))))
        found.append(made.weight * made.norm(x))
    torch.testing.assert_close(made(rows, INDPTR), torch.cat(found), rtol=1e-6, atol=1e-8)


@every_tower
def test_positions_have_the_vectors_of_histories_that_end_there(settings: dict[str, Any]) -> None:
    made, asking = tower(**settings), users(grades=torch.linspace(0.0, 1.0, 12))
    past = asking.history
    assert past is not None
    owner = torch.repeat_interleave(INDPTR.diff())
    row = torch.cat([torch.arange(N_USERS), owner])  # each with nothing, then after each entry
    at = torch.cat([torch.full((N_USERS,), -1), torch.arange(12)])
    found = made.positions(asking, row, at)
    for place, (who, last) in enumerate(zip(row.tolist(), at.tolist(), strict=True)):
        own = slice(int(INDPTR[who]), last + 1) if last >= 0 else slice(0, 0)
        n = own.stop - own.start
        cut = replace(
            past,
            indptr=torch.tensor([0, n]),
            items=past.items[own],
            grades=past.grades[own],
            times=past.times[own],
        )
        alone = made(replace(asking.take(torch.tensor([who])), history=cut))
        torch.testing.assert_close(found[place : place + 1], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[:N_USERS], made.from_features(asking))


@every_tower
def test_what_comes_later_changes_nothing(settings: dict[str, Any]) -> None:
    made, asking = tower(**settings), users()
    assert asking.history is not None
    row, at = torch.repeat_interleave(INDPTR.diff()), torch.arange(12)
    before = made.positions(asking, row, at)
    other = changed(asking.history, 8, items=(int(asking.history.items[8]) + 1) % N_ITEMS)
    moved = (made.positions(replace(asking, history=other), row, at) - before).abs().amax(dim=1) > 1e-7
    assert moved.nonzero().flatten().tolist() == [8, 9, 10, 11]


@every_tower
def test_only_the_last_of_a_long_history_are_read(settings: dict[str, Any]) -> None:
    made, asking = tower(max_history=3, **settings), users()
    assert asking.history is not None
    vectors = made(asking)
    long = tower(**settings)(replace(asking, history=asking.history.last(3)))
    torch.testing.assert_close(vectors, long)
    for at, seen in ((8, False), (9, True)):
        other = changed(asking.history, at, items=(int(asking.history.items[at]) + 1) % N_ITEMS)
        assert torch.equal(made(replace(asking, history=other)), vectors) != seen


@every_tower
def test_a_dislike_is_not_a_like_and_what_it_does_is_learnt(settings: dict[str, Any]) -> None:
    made, asking = tower(**settings), users()
    assert asking.history is not None
    liked = made(asking)
    disliked = made(replace(asking, history=changed(asking.history, 11, grades=0.0)))
    rather = made(replace(asking, history=changed(asking.history, 11, grades=0.5)))
    assert torch.equal(disliked[:3], liked[:3])
    for one, other in ((liked, disliked), (liked, rather), (rather, disliked)):
        assert not torch.allclose(one[3], other[3], atol=1e-4)
    for vectors, learnt in ((liked, False), (disliked, True)):
        made.zero_grad()
        vectors.sum().backward(retain_graph=True)
        assert bool(made.disliked.grad is not None and made.disliked.grad.any()) == learnt


@every_tower
def test_a_cold_item_of_a_history_counts_by_its_features(settings: dict[str, Any]) -> None:
    made = tower(**settings)
    warm = users([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1])
    cold = users([0, 1, 2, N_WARM, 4, 0, 1, 2, 3, 4, 0, N_WARM + 1])
    assert not torch.allclose(made(cold)[3], made(warm)[3], atol=1e-4)
    assert cold.history is not None
    alike = replace(cold.history.catalogue, dense=ITEMS.dense.clone())
    alike.dense[N_WARM + 1] += 1.0
    moved = made(replace(cold, history=replace(cold.history, catalogue=alike)))
    assert torch.equal(moved[:3], made(cold)[:3])
    assert not torch.allclose(moved[3], made(cold)[3], atol=1e-4)
    own = replace(cold, history=replace(cold.history, items=torch.full((12,), N_WARM)))
    before = made(own)
    with torch.no_grad():
        made.inputs.ids.weight += 1.0
    assert torch.equal(made(own), before)


def test_both_item_towers_share_features_and_have_ids_of_their_own() -> None:
    model = TwoTowerModel(users().shape, ITEMS.shape, N_USERS, N_WARM, config(), seed=0)
    inputs = model.users.inputs
    for name in ("constant", "numbers", "features"):
        assert getattr(inputs, name) is getattr(model.items, name)
    assert inputs.ids is not model.items.ids
    assert not hasattr(model.users, "ids")


@pytest.mark.parametrize(("length", "share"), [(1, 0.5), (10, 0.5), (80, 0.25), (270, 0.167), (100_000, 0.1)])
def test_less_is_dropped_of_many_long_histories(length: int, share: float) -> None:
    lengths = np.append(0, np.full(1_000_000, length))
    assert SequenceUsers.settled(SequenceConfig(), lengths).dropout == share
    assert SequenceUsers.settled(SequenceConfig(dropout=0.3), lengths).dropout == 0.3
    assert SequenceUsers.settled(SequenceConfig(), lengths[:1]).dropout == 0.5
    few = lengths[: 1 + 600_000 // length]  # four times as many items as few are
    assert SequenceUsers.settled(SequenceConfig(), few).dropout == pytest.approx(max(share, 0.25), abs=0.002)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ensemble_size": 2}, r"ensemble_size must be 1 \(or 'auto'\) for sequence towers, got 2"),
        ({"pooling": ["decays"]}, "must be one of decay, recurrent, mean, attention; got 'decays'"),
        ({"pooling": []}, "model.pooling"),
        ({"rates": [1.5]}, "model.rates"),
        ({"regularisation": 0.1}, "is not read by trainer 'sequences'.*model.dropout; leave it at 'auto'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TwoTower(kind="sequence", **settings)


def test_the_usual_objective_of_a_kind_is_taken_where_none_is_named() -> None:
    made = TwoTower(kind="sequence")
    assert (made.objective.name, made.training.most_epochs) == ("softmax", 6)
    assert TwoTower(kind="mlp").objective.name == TwoTower().objective.name == "all_pairs"

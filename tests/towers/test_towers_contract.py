"""The contract of every kind of towers, and of one's own: vectors, gradients, bundles, torch's tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import polars as pl
import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

import twotower as tt
from twotower.config import ModelConfig
from twotower.core.blocks import EncodedShape
from twotower.features import Bag, Codes, Dense, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import Squared
from twotower.towers import History, SideArrays, Tower, TwoTowerModel, tower
from twotower.towers import model as two_tower
from twotower.towers.mlp import linear
from twotower.towers.poolings.registry import POOLINGS
from twotower.towers.registry import TOWERS
from twotower.training import RowAdam

N_USERS, N_ITEMS, N = 8, 6, 40
SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"ensemble_size": 1},
    "mlp": {"hidden": (6, 4), "activation": "tanh", "shared_layers": True, "dropout": 0.0},
    "gated": {"dropout": 0.0},
    "item_item": {"ensemble_size": 1},
    "sequence": {"ensemble_size": 1, "dropout": 0.0, "max_history": 3},
}
"""Settings of a kind with which gradients are smooth and nothing is random."""
NOISY: dict[str, dict[str, Any]] = {
    "mlp": {"dropout": 0.5},
    "gated": {"dropout": 0.5},
    "sequence": {"dropout": 0.5},
}
"""Settings with which outputs are random in training."""
KINDS = [name for name in TOWERS.names() if not TOWERS.get(name).composed]
"""Those that consist of others have tests of their own, `tests/estimator/test_auto.py`."""
NAMES = [*KINDS, "gated"]
READERS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS if TOWERS.get(kind).reads_history),
    *(("sequence", {"pooling": (name,), "blocks": 2}) for name in POOLINGS.names()),
]
"""Kinds that read histories, with settings."""
COLUMNS = ("x", "c", "b")


class GatedConfig(ModelConfig):
    """``gated``: features through gates."""

    dropout: float = 0.1
    """Share of gates that are closed in training."""


class GatedTower(Tower):
    """A small kind of one's own."""

    Config = GatedConfig

    def __init__(
        self, shape: EncodedShape, n_ids: int, config: GatedConfig, generator: torch.Generator
    ) -> None:
        super().__init__(shape, n_ids, config, 3, 0.1, generator)
        width = shape.n_dense + 3 * len(shape.ranges)
        self.gates, self.out = linear(width, width, generator), linear(width, self.width, generator)
        self.dropout = nn.Dropout(config.dropout)

    def combined(self, rows: int, numbers: torch.Tensor | None, coded: list[torch.Tensor]) -> torch.Tensor:
        x = torch.cat([*([] if numbers is None else [numbers]), *coded], dim=1)
        vector: torch.Tensor = self.out(x * self.dropout(torch.sigmoid(self.gates(x))))
        return vector


class OwnTower(GatedTower):
    """A kind that is registered nowhere."""


@pytest.fixture(autouse=True, scope="module")
def registered() -> Iterator[None]:
    """The own kind is registered in this module's tests alone."""
    with TOWERS.temporarily(gated=GatedTower):
        yield


def side(n: int, seed: int, columns: tuple[str, ...] = COLUMNS) -> SideArrays:
    rng = np.random.default_rng(seed)
    indptr = np.append(0, np.cumsum(rng.integers(1, 4, n)))
    blocks: dict[str, Any] = {
        "x": Dense(rng.normal(size=(n, 3)).astype(np.float32)),
        "c": Codes(rng.integers(0, 5, n).astype(np.int32), 5),
        "b": Bag(indptr, rng.integers(0, 7, indptr[-1]).astype(np.int32), 7),
    }
    blocks = {name: blocks[name] for name in columns}
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))


def with_histories(users: SideArrays, items: SideArrays) -> SideArrays:
    """Return users of whom one did nothing and some did much."""
    rng = np.random.default_rng(2)
    lengths = np.array([3, 0, 1, 5, 2, 4, 1, 2])[: users.rows]
    indptr = np.append(0, np.cumsum(lengths))
    n = int(indptr[-1])
    columns = (
        torch.from_numpy(one) for one in (indptr, rng.integers(0, items.rows, n), rng.random(n, np.float32))
    )
    return replace(users, history=History(*columns, torch.arange(float(n)).double(), items))


ITEMS = side(N_ITEMS, 1)
USERS = with_histories(side(N_USERS, 0), ITEMS)
"""With histories, which some kinds of towers read."""


def build(
    kind: str = "mlp",
    *,
    large: bool = True,
    users: SideArrays = USERS,
    items: SideArrays = ITEMS,
    seed: int = 0,
    **settings: Any,
) -> TwoTowerModel:
    """A model in which every weight has an effect; with ``large`` all embeddings have sparse gradients."""
    config = TOWERS.get(kind).Config(**{"dim": 8, "ensemble_size": 2, **SETTINGS.get(kind, {}), **settings})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "LARGE_TABLE", 0 if large else 200_000)
        model = TwoTowerModel(users.shape, items.shape, N_USERS, N_ITEMS, config, seed, mean=0.3)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return model.train()


def step(model: nn.Module, part: slice = slice(None)) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the weights the gradients of some of the pairs, as training does; return dU and dV."""
    rng = np.random.default_rng(3)
    user, item = rng.integers(0, N_USERS, N)[part], rng.integers(0, N_ITEMS, N)[part]
    label = rng.normal(size=N).astype(np.float32)[part]
    users, user = np.unique(user, return_inverse=True)
    items, item = np.unique(item, return_inverse=True)
    U, V = model(USERS.take(torch.from_numpy(users)), ITEMS.take(torch.from_numpy(items)))
    pairs = Pairs.from_arrays(user, item, label, n_users=len(users))
    found = Squared()(U.detach(), V.detach(), pairs)
    model.zero_grad()
    torch.autograd.backward([U, V], [found.dU, found.dV])
    return found.dU, found.dV


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    assert all(gradient is not None for gradient in found.values())
    return {name: gradient.to_dense() for name, gradient in found.items() if gradient is not None}


# vectors


@pytest.mark.parametrize("columns", [COLUMNS, (), ("x",), ("c",), ("b",)])
@pytest.mark.parametrize("kind", NAMES)
def test_vectors_have_the_layout_that_scores_need(kind: str, columns: tuple[str, ...]) -> None:
    users, items = side(N_USERS, 0, columns), side(N_ITEMS, 1, columns)
    model = build(kind, users=users, items=items).eval()
    users, layout = with_histories(users, items), model.layout
    (u, b_u), (v, b_i) = (
        layout.of_outputs(tower(of)) for tower, of in ((model.users, users), (model.items, items))
    )
    assert u.shape == (N_USERS, layout.members, 8 // layout.members - 2)
    U, V = model.encode(users, "users"), model.encode(items, "items")
    assert U.shape == (N_USERS, 8)
    assert V.shape == (N_ITEMS, 8)
    assert U.dtype == V.dtype == torch.float32
    scores = torch.einsum("umk,imk->uim", u, v) + b_u[:, None, :, 0] + b_i[None, :, :, 0] + 0.3
    npt.assert_allclose(U @ V.T, scores.mean(dim=2).detach(), atol=1e-5)


@pytest.mark.parametrize("kind", NAMES)
def test_the_seed_decides_the_weights(kind: str) -> None:
    config = TOWERS.get(kind).Config(dim=8, **SETTINGS.get(kind, {}))
    first, again, other = (
        TwoTowerModel(USERS.shape, ITEMS.shape, N_USERS, N_ITEMS, config, seed).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert {tensor.dtype for tensor in first.values()} == {torch.float32}
    with torch.device("meta"):  # as a bundle is checked
        shapes = TwoTowerModel(USERS.shape, ITEMS.shape, N_USERS, N_ITEMS, config, 1).state_dict()
    assert {name: t.shape for name, t in shapes.items()} == {name: t.shape for name, t in first.items()}


@pytest.mark.parametrize("kind", NAMES)
def test_weights_come_back_and_copies_are_apart(kind: str) -> None:
    model = build(kind).eval()
    other = build(kind, seed=9).eval()
    before = other.encode(USERS, "users")
    assert not torch.equal(before, model.encode(USERS, "users"))
    other.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    assert torch.equal(other.encode(USERS, "users"), model.encode(USERS, "users"))
    assert torch.equal(other.encode(ITEMS, "items"), model.encode(ITEMS, "items"))


@pytest.mark.parametrize("kind", NAMES)
def test_a_cold_row_has_the_part_from_features_alone(kind: str) -> None:
    model = build(kind).eval()
    for tower_of, of in ((model.users, USERS), (model.items, ITEMS)):
        if tower_of.reads_history:
            continue  # has no row of its own
        warm = tower_of(of).detach()
        cold = tower_of(replace(of, warm=torch.zeros_like(of.warm))).detach()
        npt.assert_array_equal(cold, tower_of.from_features(of).detach())
        npt.assert_allclose(warm - cold, tower_of.ids.weight.detach(), atol=1e-6)
        assert len(cold.unique(dim=0)) == of.rows, "features have no effect"
    bare = side(3, 0, ())
    alike = build(kind, items=bare).eval().items(replace(bare, warm=torch.zeros(3, dtype=torch.int64)))
    npt.assert_allclose(alike.detach(), alike[:1].expand(3, -1).detach(), atol=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_a_row_does_not_depend_on_the_others(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(kind)
    whole = model.encode(USERS, "users")
    rows = torch.tensor([5, 0, 5])
    npt.assert_allclose(model.encode(USERS.take(rows), "users"), whole[rows], atol=1e-6)
    assert model.encode(USERS.take(rows[:0]), "users").shape == (0, 8)
    monkeypatch.setattr(two_tower, "CHUNK", 3)
    npt.assert_allclose(model.encode(USERS, "users"), whole, atol=1e-6)


@pytest.mark.parametrize("kind", NAMES)
def test_chance_has_its_place_in_training_alone(kind: str) -> None:
    quiet = build(kind).encode(USERS, "users")
    model = build(kind, **NOISY.get(kind, {}))
    model.users.id_dropout = 0.5  # towers without rows of their own have no use for it
    assert torch.equal(model.encode(USERS, "users"), quiet)
    assert model.training
    assert not quiet.requires_grad
    torch.manual_seed(0)
    drawn = [model.users(USERS).detach() for _ in range(2)]
    assert torch.equal(*drawn) == (model.users.reads_history and kind not in NOISY)
    torch.manual_seed(0)
    assert torch.equal(model.users(USERS).detach(), drawn[0])
    model.users.id_dropout = 0.0
    assert torch.equal(*(model.users(USERS).detach() for _ in range(2))) == (kind not in NOISY)


@pytest.mark.parametrize("kind", NAMES)
def test_a_model_of_this_kind_is_trained_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {"user_id": rng.integers(0, 12, 300), "item_id": rng.integers(0, 9, 300), "y": rng.random(300)}
    users = pl.DataFrame({"user_id": range(12), "a": [f"{u % 3}" for u in range(12)], "n": rng.random(12)})
    schema = {"label": "y", "timestamp": "t", "users": {"a": "category", "n": "number"}}
    rows["t"] = rng.permutation(300)
    data = tt.Dataset.of(pl.DataFrame(rows), users, schema=schema).as_train()
    ranks = TOWERS.get(kind).reads_history
    loss = "auto" if ranks else "huber"
    estimator = tt.TwoTower(kind=kind, objective=loss, dim=8, epochs=2, threads=1, refit=False)
    model = estimator.fit(data, exclude_seen=not ranks)
    model.save(tmp_path / "bundle")
    again = tt.load(tmp_path / "bundle")
    assert type(again.model.users) is TOWERS.get(kind)
    assert again.model.config == model.model.config
    assert ranks or np.array_equal(again.predict(data), model.predict(data))
    assert np.array_equal(again.catalogue.users.vectors, model.catalogue.users.vectors)
    asked = [tt.Query(user=3), tt.Query(features={"a": "1", "n": 0.5}), tt.Query(history=[1, 4])]
    assert again.recommend(asked, k=5).equals(model.recommend(asked, k=5))


def test_a_bundle_of_ones_own_kind_says_what_it_lacks(tmp_path: Path) -> None:
    pairs = np.random.default_rng(0).permutation(80)[:60]
    data = tt.Dataset.of(pl.DataFrame({"user_id": pairs // 10, "item_id": pairs % 10}), schema={}).as_train()
    with TOWERS.temporarily():
        model = tt.TwoTower(kind=OwnTower, dropout=0.2, dim=4, epochs=1, threads=1, refit=False).fit(data)
        assert isinstance(model.model.config, GatedConfig)
        assert (model.model.config.kind, model.model.config.dropout) == (f"{__name__}:OwnTower", 0.2)
        model.save(tmp_path / "bundle")
        tt.load(tmp_path / "bundle")
        with pytest.raises(tt.errors.ConfigError, match="gates"):
            tt.TwoTower(kind=OwnTower, gates=3)
    with pytest.raises(
        tt.errors.BundleError, match="OwnTower' is a class that this program doesn't have; import"
    ):
        tt.load(tmp_path / "bundle")
    with pytest.raises(tt.errors.ConfigError, match="'kind' must be a name or a subclass of Tower, got dict"):
        tt.TwoTower(kind=dict)  # type: ignore[arg-type]


# histories


def padded(history: History, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return items and grades of histories as `Tower.padded` takes them, with two columns to spare."""
    lengths = history.indptr.diff().tolist()
    items, grades = (
        torch.zeros(rows, max(lengths) + 2, dtype=of.dtype) for of in (history.items, history.grades)
    )
    for row, n in enumerate(lengths):
        own = slice(int(history.indptr[row]), int(history.indptr[row + 1]))
        items[row, :n], grades[row, :n] = history.items[own] + 1, history.grades[own]
    grades[items == 0] = 7.0  # whatever it is, it counts for nothing
    return items, grades


@pytest.mark.parametrize(("kind", "settings"), READERS)
def test_a_model_made_without_memory_reads_as_the_one_whose_weights_it_gets(
    kind: str, settings: dict[str, Any]
) -> None:
    model = build(kind, **settings).eval()
    with torch.device("meta"):  # as a bundle is loaded
        loaded = build(kind, **settings).eval()
    loaded.load_state_dict(model.state_dict(), assign=True)
    npt.assert_array_equal(loaded.encode(USERS, "users"), model.encode(USERS, "users"))


@pytest.mark.parametrize("liked", [True, False])
@pytest.mark.parametrize(("kind", "settings"), READERS)
def test_all_ways_to_read_a_history_agree(kind: str, settings: dict[str, Any], liked: bool) -> None:
    """As in training, without gradients, with rows made once, padded; none is an empty one."""
    model, past = build(kind, **settings).eval(), USERS.history
    assert past is not None
    if liked:
        past = replace(past, grades=torch.ones_like(past.grades))
    users, tower = replace(USERS, history=past), model.users
    trained = tower(users).detach()
    with torch.no_grad():
        npt.assert_allclose(tower(users), trained, atol=1e-5)
        prepared = tower.prepared(ITEMS)
        assert prepared is not None
        npt.assert_allclose(
            tower(replace(users, history=replace(past, prepared=prepared))), trained, atol=1e-5
        )
        alone = tower.padded(tower.from_features(users), *padded(past, users.rows), prepared)
        npt.assert_allclose(alone, trained, atol=1e-5)
        nothing = past.take(torch.full((users.rows,), -1))
        expected = tower.from_features(users)
        for history in (None, nothing, replace(nothing, prepared=prepared)):
            npt.assert_allclose(tower(replace(users, history=history)), expected, atol=1e-6)
        npt.assert_allclose(trained[1], expected[1], atol=1e-6)  # did nothing


# gradients and torch's tools


@pytest.mark.parametrize("kind", NAMES)
def test_every_weight_is_a_parameter_with_a_gradient(kind: str) -> None:
    model = build(kind)
    step(model)
    assert all(gradient.any() for gradient in gradients(model).values()), "a weight learns nothing"
    tables = set(model.row_tables())
    sides = ("users.inputs", "items") if model.users.reads_history else ("users", "items")
    named = {f"{which}.ids.weight" for which in sides}
    named |= {f"{which}.features.weight" for which in {"users", *sides}}
    if kind == "sequence":  # items have the weights of features that items of histories have
        named.remove("items.features.weight")
    assert tables == named
    assert set(model.state_dict()) - {"mean"} >= set(gradients(model)) > tables
    sparse = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.is_sparse}
    assert sparse == tables


@pytest.mark.parametrize("kind", NAMES)
def test_large_and_small_tables_give_the_same_vectors_and_gradients(kind: str) -> None:
    large, small = build(kind), build(kind, large=False)
    state = {name.replace("features.weight", "features"): t for name, t in large.state_dict().items()}
    small.load_state_dict(state)
    for ours, theirs in zip(small(USERS, ITEMS), large(USERS, ITEMS), strict=True):
        npt.assert_allclose(ours.detach(), theirs.detach(), atol=1e-6)
    step(large)
    step(small)
    found = gradients(small)
    for name, gradient in gradients(large).items():
        expected = found[name.replace("features.weight", "features")]
        npt.assert_allclose(gradient, expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", NAMES)
def test_gradients_are_finite_differences(kind: str, large: bool, normalise: bool) -> None:
    model = build(kind, large=large, normalise=normalise).double()
    generator = torch.Generator().manual_seed(5)
    users, items = (replace(of, dense=of.dense.double()) for of in (USERS, ITEMS))
    assert users.history is not None
    past = replace(users.history, grades=users.history.grades.double(), catalogue=items)
    sides = [replace(users, history=past), items]
    slopes = [torch.randn(n, 8, generator=generator).double() for n in (N_USERS, N_ITEMS)]

    def value() -> torch.Tensor:
        return torch.stack(
            [(slope * of).sum() for slope, of in zip(slopes, model(*sides), strict=True)]
        ).sum()

    value().backward()
    for name, gradient in gradients(model).items():
        parameter = model.get_parameter(name)
        way = torch.randn(parameter.shape, generator=generator).double()
        with torch.no_grad():
            parameter += 1e-5 * way
            above = value()
            parameter -= 2e-5 * way
            below = value()
            parameter += 1e-5 * way
        assert gradient.abs().max() > 0, name
        npt.assert_allclose((gradient * way).sum(), (above - below) / 2e-5, rtol=1e-6, err_msg=name)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
def test_hooks_see_and_change_gradients() -> None:
    plain, hooked = build(), build()
    seen: list[Any] = []
    hooked.register_full_backward_hook(lambda _module, _inputs, outputs: seen.append(outputs))
    ids = hooked.users.ids.weight
    ids.register_hook(lambda gradient: 2 * gradient)
    given = step(hooked)
    (found,) = seen
    assert all(torch.equal(a, b) for a, b in zip(found, given, strict=True))
    step(plain)
    expected = gradients(plain)
    for name, gradient in gradients(hooked).items():
        npt.assert_array_equal(gradient, expected[name] * (2 if name == "users.ids.weight" else 1))


@pytest.mark.parametrize("kind", ["mlp", "sequence"])  # what the others do, these do too
def test_a_compiled_model_gives_the_same_vectors_and_gradients(kind: str) -> None:
    plain, model = build(kind), build(kind)
    compiled = torch.compile(model, backend="aot_eager")
    step(plain)
    step(compiled)
    expected = gradients(plain)
    for name, gradient in gradients(model).items():
        npt.assert_allclose(gradient, expected[name], atol=1e-6, err_msg=name)
    plain.eval(), model.eval()
    for ours, theirs in zip(compiled(USERS, ITEMS), plain(USERS, ITEMS), strict=True):
        npt.assert_allclose(ours.detach(), theirs.detach(), atol=1e-6)


@contextmanager
def group(rank: int, world: int, file: Path) -> Iterator[None]:
    store = distributed.FileStore(str(file), world)
    soon = timedelta(minutes=3)  # the other one may have ended with an error
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=soon)
    yield
    distributed.destroy_process_group()


def train(model: nn.Module, part: slice = slice(None)) -> dict[str, torch.Tensor]:
    """Take 3 steps, and return the first gradients and the last weights."""
    sparse = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    optimisers = (
        torch.optim.AdamW([p for p in model.parameters() if id(p) not in sparse], lr=0.01),
        RowAdam([p for p in model.parameters() if id(p) in sparse], lr=0.01),
    )
    found: dict[str, torch.Tensor] = {}
    for _ in range(3):
        step(model, part)
        found = found or {f"gradient of {name}": g.clone() for name, g in gradients(model).items()}
        for optimiser in optimisers:
            optimiser.step()
    state = {name.removeprefix("module."): value.detach() for name, value in model.state_dict().items()}
    return found | state


@pytest.mark.parametrize("kind", NAMES)
def test_one_process_of_a_group_has_the_bits_of_training_alone(kind: str, tmp_path: Path) -> None:
    expected = train(build(kind))
    with group(0, 1, tmp_path / "store"):
        found = train(DistributedDataParallel(build(kind)))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def half(rank: int, folder: str) -> dict[str, dict[str, torch.Tensor]]:
    """Train on every second pair, in one of two processes."""
    results = {}
    with group(rank, 2, Path(folder) / "store"), TOWERS.temporarily(gated=GatedTower):
        for kind in NAMES:
            results[kind] = train(DistributedDataParallel(build(kind)), slice(rank, None, 2))
    return results


def second_half(place: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.save(half(place + 1, folder), Path(folder) / "second.pt")


def test_two_processes_train_as_one_does_on_all_pairs(tmp_path: Path) -> None:
    other = torch.multiprocessing.spawn(second_half, (str(tmp_path),), nprocs=1, join=False)
    assert other is not None
    halves = [half(0, str(tmp_path))]
    while not other.join():
        pass
    halves.append(torch.load(tmp_path / "second.pt"))
    for kind in NAMES:
        expected = train(build(kind))
        for found in halves:
            assert found[kind].keys() == expected.keys()
            for name, value in found[kind].items():
                npt.assert_allclose(value, expected[name], rtol=1e-4, atol=2e-6, err_msg=name)
        for name, value in halves[0][kind].items():
            assert torch.equal(value, halves[1][kind][name]), name


@pytest.mark.parametrize(("kind", "settings"), [*((name, {}) for name in NAMES), *READERS])
def test_towers_are_what_their_weights_say(kind: str, settings: dict[str, Any]) -> None:
    """As a bundle is read: towers without numbers of their own take those that were saved."""
    saved = build(kind, large=False, **settings).eval()
    with torch.device("meta"):
        bare = TwoTowerModel(USERS.shape, ITEMS.shape, N_USERS, N_ITEMS, saved.config, seed=0).eval()
    bare.load_state_dict(saved.state_dict(), assign=True)
    assert torch.equal(bare.user_vectors(USERS), saved.user_vectors(USERS))
    assert torch.equal(bare.item_vectors(ITEMS), saved.item_vectors(ITEMS))

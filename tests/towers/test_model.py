"""The towers: what their vectors mean, and that they are what a plain reading of the formula gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import torch
from torch import nn

from twotower.features import Bag, Codes, Dense, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import Huber, Logistic, Objective, Squared
from twotower.objectives.penalty import vector_penalty
from twotower.towers import SideArrays, TwoTowerModel, tower
from twotower.towers.layers import ByteDropout, row_table
from twotower.towers.linear import LinearConfig, LinearTower
from twotower.towers.mlp import MemberLinear, MLPConfig
from twotower.towers.registry import TOWERS
from twotower.training import RowAdam

CPU = torch.device("cpu")
COLUMNS = ("dense", "codes", "bag")


def encoded(
    n: int, *, warm: list[int] | None = None, columns: tuple[str, ...] = COLUMNS, seed: int = 0
) -> Any:
    """A side with two columns of each shape asked for; every row warm if not told otherwise."""
    rng = np.random.default_rng(seed)
    blocks: dict[str, Any] = {}
    for copy in range(2):
        if "dense" in columns:
            blocks[f"dense{copy}"] = Dense(rng.normal(size=(n, 2 + copy)).astype(np.float32))
        if "codes" in columns:
            blocks[f"codes{copy}"] = Codes(rng.integers(0, 5, n).astype(np.int32), 5)
        if "bag" in columns:
            lengths = rng.integers(1, 4, n)
            indptr = np.concatenate([[0], np.cumsum(lengths)])
            blocks[f"bag{copy}"] = Bag(indptr, rng.integers(0, 7, indptr[-1]).astype(np.int32), 7)
    ids = np.arange(1, n + 1) if warm is None else np.array(warm)
    return EncodedSide(ids.astype(np.int32), blocks)


def packed(n: int, **options: Any) -> SideArrays:
    return SideArrays.pack(encoded(n, **options), CPU)


def build(
    users: SideArrays, items: SideArrays, *, mean: float = 0.0, seed: int = 0, **config: Any
) -> TwoTowerModel:
    id_dropout = config.pop("id_dropout", 0.0)
    kind = TOWERS.get(config.pop("kind", "mlp"))
    small = {} if kind is LinearTower else {"hidden": (5,), "embedding_dim": 3}
    settings = kind.Config(**{"dim": 6, **small, **config})
    model = TwoTowerModel(users.shape, items.shape, users.rows, items.rows, settings, seed, mean)
    model.users.id_dropout = model.items.id_dropout = id_dropout
    with torch.no_grad():  # nothing may hide behind a bias or an output that starts from none
        generator = torch.Generator().manual_seed(seed + 1)
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or "out" in name or "ids" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


Members = list[tuple[np.ndarray, float]]


def by_hand(model: TwoTowerModel, which: str, side: EncodedSide, row: int) -> Members:
    """Each member's vector and bias of one row, written out in NumPy for one hidden layer with relu."""
    state = {name: value.detach().double().numpy() for name, value in model.state_dict().items()}
    table = state.get(f"{which}.features", state.get(f"{which}.features.weight"))
    assert table is not None
    numbers: list[np.ndarray] = []
    single: list[np.ndarray] = []
    bags: list[np.ndarray] = []
    offset = 0
    for block in side.blocks.values():
        if isinstance(block, Dense):
            numbers.append(block.values[row].astype(np.float64))
        elif isinstance(block, Codes):
            single.append(table[offset + block.codes[row]])
            offset += block.size
        else:
            codes = block.codes[block.indptr[row] : block.indptr[row + 1]]
            bags.append(np.mean([table[offset + c] for c in codes], axis=0))
            offset += block.size
    hidden = state[f"{which}.from_numbers.bias"].copy()
    hidden += state[f"{which}.from_numbers.weight"] @ np.concatenate([np.zeros(0), *numbers])
    hidden += state[f"{which}.from_codes.weight"] @ np.concatenate([np.zeros(0), *single, *bags])
    shown = np.maximum(hidden, 0.0)
    blocks = state[f"{which}.out.weight"]  # one a member: (its share of hidden, its share of the outputs)
    parts = [part @ block for part, block in zip(np.split(shown, len(blocks)), blocks, strict=True)]
    out = np.concatenate(parts) + state[f"{which}.out.bias"]
    if side.warm[row]:
        out = out + state[f"{which}.ids.weight"][side.warm[row] - 1]
    return [(part[:-1], float(part[-1])) for part in np.split(out, len(blocks))]


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("columns", [COLUMNS, (), ("dense",), ("codes",), ("bag",), ("dense", "bag")])
def test_a_score_is_the_mean_of_its_members_dot_products_and_biases(
    columns: tuple[str, ...], members: int
) -> None:
    sides = {"users": encoded(4, columns=columns), "items": encoded(3, columns=columns, seed=1)}
    arrays = {which: SideArrays.pack(side, CPU) for which, side in sides.items()}
    config = {"ensemble_size": members, "dim": 6 * members, "hidden": (5 * members,)}
    model = build(arrays["users"], arrays["items"], mean=0.75, **config)
    U, V = (model.encode(arrays[which], which) for which in ("users", "items"))
    assert U.shape == (4, 6 * members)
    assert V.shape == (3, 6 * members)
    assert model.dim == 6 * members
    for u in range(4):
        for i in range(3):
            user, item = (
                by_hand(model, "users", sides["users"], u),
                by_hand(model, "items", sides["items"], i),
            )
            scores = [p @ q + b_u + b_i + 0.75 for (p, b_u), (q, b_i) in zip(user, item, strict=True)]
            assert float(U[u] @ V[i]) == pytest.approx(np.mean(scores), abs=1e-4)


@pytest.mark.parametrize("members", [2, 3])
def test_members_share_no_output(members: int) -> None:
    users, items = packed(4), packed(3)
    config = {"ensemble_size": members, "dim": 6 * members, "hidden": (5 * members,)}
    model = build(users, items, **config).train()
    parts = model.members(model.user_vectors(users))
    assert [part.shape for part in parts] == [(4, 6)] * members
    assert all((part[:, -1] == 1).all() for part in parts)
    parts[0].sum().backward()
    weight = dict(model.users.named_parameters())["out.weight"].grad
    assert weight is not None
    assert weight[0].any()
    assert not weight[1:].any()


def test_the_places_of_the_biases() -> None:
    users, items = packed(4), packed(3)
    model = build(users, items, mean=2.0)
    U, V = model.encode(users, "users"), model.encode(items, "items")
    assert (U[:, -1] == 1).all()
    assert (V[:, -2] == 1).all()
    npt.assert_allclose(U[:, -2], model.users(users)[:, -1].detach() + 2.0, rtol=1e-6)
    npt.assert_allclose(V[:, -1], model.items(items)[:, -1].detach(), rtol=1e-6)


@pytest.mark.parametrize("hidden", [(5,), (5, 4), (8, 4, 4)])
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh"])
def test_any_depth(hidden: tuple[int, ...], activation: str) -> None:
    users, items = packed(4), packed(3)
    model = build(users, items, hidden=hidden, activation=activation)
    linears = [m for m in model.users.modules() if isinstance(m, nn.Linear | MemberLinear)]
    assert len(linears) == 2 + len(hidden), "two halves of the first layer, one a further layer, the output"
    U = model.encode(users, "users")
    assert U.shape == (4, 6)
    assert torch.isfinite(U).all()


def test_a_model_without_hidden_layers_is_linear_in_the_numbers() -> None:
    blocks = [Dense(np.full((1, 2), x, np.float32)) for x in (0.0, 1.0, 2.0)]
    sides = [SideArrays.pack(EncodedSide(np.zeros(1, np.int32), {"x": block}), CPU) for block in blocks]
    model = build(sides[0], packed(2), kind="linear")
    zero, one, two = (model.encode(side, "users") for side in sides)
    npt.assert_array_equal(zero, two)  # features begin by saying nothing
    with torch.no_grad():
        model.users.numbers += torch.randn(model.users.numbers.shape)
    zero, one, two = (model.encode(side, "users") for side in sides)
    npt.assert_allclose(two - one, one - zero, atol=1e-5)
    assert (one - zero).abs().max() > 1e-3


def test_a_linear_tower_is_a_sum_over_its_features() -> None:
    """Against NumPy: numbers, single codes, and lists, divided by the root of the number of known values."""
    side = packed(4)
    tower = build(side, packed(3), kind="linear").users
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for parameter in (tower.constant, tower.numbers, tower.features):
            parameter.add_(torch.from_numpy(rng.normal(size=parameter.shape).astype(np.float32)))
    table = tower.features.detach().numpy()
    expected = tower.constant.detach().numpy() + side.dense.numpy() @ tower.numbers.detach().numpy()
    for row in range(4):
        expected[row] += table[side.codes[row].numpy()].sum(axis=0)
        for (indptr, codes), first in zip(side.bags, side.shape.bags, strict=True):
            own = codes[indptr[row] : indptr[row + 1]].numpy()
            expected[row] += table[own].sum(axis=0) / max((own != first).sum(), 1) ** 0.5
    npt.assert_allclose(tower.from_features(side).detach().numpy(), expected, atol=1e-5)


def test_the_score_of_members_is_the_mean_of_theirs() -> None:
    users, items = packed(4), packed(3)
    model = build(users, items, dim=16, hidden=(6, 4), ensemble_size=2).eval()
    with torch.no_grad():
        raw = [model.members(vectors) for vectors in (model.user_vectors(users), model.item_vectors(items))]
        each = [u @ v.T for u, v in zip(*raw, strict=True)]
    assert len(each) == 2
    assert (each[0] - each[1]).abs().max() > 1e-4, "members start from weights of their own"
    together = model.encode(users, "users") @ model.encode(items, "items").T
    npt.assert_allclose(together, (each[0] + each[1]) / 2, atol=1e-6)


def test_a_member_reads_its_own_part_of_the_last_hidden_layer() -> None:
    layer = MemberLinear(6, 4, 2, torch.Generator().manual_seed(0))
    values = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    expected = torch.cat([values[:, :3] @ layer.weight[0], values[:, 3:] @ layer.weight[1]], dim=1)
    npt.assert_allclose(layer(values).detach(), expected.detach(), atol=1e-6)
    assert MemberLinear(6, 4, 1, torch.Generator()).weight.shape == (1, 6, 4)


@pytest.mark.parametrize(
    ("dim", "hidden", "members"),
    [(64, (128,), 4), (24, (128,), 2), (64, (126,), 2), (6, (128,), 1), (64, (), 4)],
)
def test_automatic_members(dim: int, hidden: tuple[int, ...], members: int) -> None:
    config = MLPConfig(dim=dim, hidden=hidden) if hidden else LinearConfig(dim=dim)
    assert config.n_members == members


def test_members_must_divide() -> None:
    with pytest.raises(ValueError, match="dim must be a multiple of ensemble_size"):
        LinearConfig(dim=63, ensemble_size=2)
    with pytest.raises(ValueError, match="last of hidden must be a multiple"):
        MLPConfig(dim=64, hidden=(5,), ensemble_size=2)
    with pytest.raises(ValueError, match="at least 4 for each"):
        LinearConfig(dim=8, ensemble_size=4)


def test_shared_layers_are_the_same_tensors() -> None:
    users, items = packed(4), packed(3)
    own = build(users, items, hidden=(5, 4, 4))
    shared = build(users, items, hidden=(5, 4, 4), shared_layers=True)

    def count(model: TwoTowerModel) -> int:
        return sum(p.numel() for p in model.parameters())

    assert shared.users.tail is shared.items.tail
    assert count(own) - count(shared) == (5 * 4 + 4) + (4 * 4 + 4)
    before = shared.encode(items, "items"), own.encode(items, "items")
    with torch.no_grad():
        for model in (shared, own):
            next(model.users.tail.parameters()).add_(1.0)
    assert not torch.equal(shared.encode(items, "items"), before[0])
    assert torch.equal(own.encode(items, "items"), before[1])


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_normalised_scores_are_cosines_over_the_temperature(temperature: float) -> None:
    users, items = packed(4), packed(3)
    raw = build(users, items)
    model = build(users, items, normalise=True, temperature=temperature)
    model.load_state_dict(raw.state_dict())
    plain_U, plain_V = raw.encode(users, "users").numpy(), raw.encode(items, "items").numpy()
    U, V = model.encode(users, "users").numpy(), model.encode(items, "items").numpy()
    npt.assert_allclose(np.linalg.norm(U[:, :-2], axis=1) * temperature**0.5, 1.0, rtol=1e-5)
    npt.assert_allclose(np.linalg.norm(V[:, :-2], axis=1) * temperature**0.5, 1.0, rtol=1e-5)
    a, b = plain_U[:, :-2], plain_V[:, :-2]
    cosine = a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    expected = cosine / temperature + plain_U[:, -2:-1] + plain_V[:, -1]
    npt.assert_allclose(U @ V.T, expected, rtol=1e-4, atol=1e-4)


# arrays


@pytest.mark.parametrize("columns", [COLUMNS, (), ("dense",), ("codes",), ("bag",)])
def test_packing_gives_each_column_codes_of_its_own(columns: tuple[str, ...]) -> None:
    side = encoded(6, columns=columns)
    arrays = SideArrays.pack(side, CPU)
    assert arrays.rows == 6
    assert arrays.dense.shape == (6, 5 if "dense" in columns else 0)
    assert arrays.codes.shape == (6, 2 if "codes" in columns else 0)
    assert len(arrays.bags) == (2 if "bag" in columns else 0)
    assert arrays.shape.n_codes == 10 * ("codes" in columns) + 14 * ("bag" in columns)
    assert len(arrays.shape.ranges) == 2 * ("codes" in columns) + 2 * ("bag" in columns)
    used = [set(arrays.codes[:, c].tolist()) for c in range(arrays.codes.shape[1])]
    used += [set(codes.tolist()) for _, codes in arrays.bags]
    assert sum(map(len, used)) == len(set().union(*used)), "two columns share a row of the table"


@pytest.mark.parametrize("rows", [[], [0], [5, 0, 3], [2, 2, 2, 1], list(range(6))])
def test_taking_rows_is_indexing(rows: list[int]) -> None:
    arrays = packed(6, warm=[4, 0, 1, 2, 0, 3])
    taken = arrays.take(torch.tensor(rows, dtype=torch.int64))
    assert taken.rows == len(rows)
    npt.assert_array_equal(taken.warm, arrays.warm[rows])
    npt.assert_array_equal(taken.dense, arrays.dense[rows])
    npt.assert_array_equal(taken.codes, arrays.codes[rows])
    for (indptr, codes), (all_indptr, all_codes) in zip(taken.bags, arrays.bags, strict=True):
        assert len(indptr) == len(rows) + 1
        found = [codes[a:b].tolist() for a, b in pairwise(indptr.tolist())]
        assert found == [all_codes[all_indptr[r] : all_indptr[r + 1]].tolist() for r in rows]


def test_forward_gives_both_sides_and_calls_hooks() -> None:
    users, items = packed(4), packed(3)
    model = build(users, items).eval()
    shapes: list[Any] = []
    model.register_forward_hook(lambda _module, _given, found: shapes.append([v.shape for v in found]))
    U, V = model(users, items)
    assert shapes == [[(4, 6), (3, 6)]]
    npt.assert_array_equal(U.detach(), model.user_vectors(users).detach())
    npt.assert_array_equal(V.detach(), model.item_vectors(items).detach())


def test_id_dropout_hides_about_its_share_of_ids() -> None:
    users, items = packed(2000, columns=()), packed(3)
    model = build(users, items, id_dropout=0.3).train()
    torch.manual_seed(0)
    model.user_vectors(users).sum().backward()
    assert model.users.ids.weight.grad is not None
    index = model.users.ids.weight.grad.coalesce().indices()
    assert index.shape[1] / 2000 == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(rate: float) -> None:
    layer = ByteDropout(rate).train()
    torch.manual_seed(0)
    values = torch.full((200, 300), 2.0, requires_grad=True)
    out = layer(values)
    dropped = out == 0
    assert float(dropped.float().mean()) == pytest.approx(rate, abs=0.01)
    assert float(out.detach().mean()) == pytest.approx(2.0, rel=0.03)
    assert len(out.unique()) == 2
    assert 0 < int(dropped[0].sum()) < 300, "a row is dropped whole"
    out.sum().backward()
    assert values.grad is not None
    npt.assert_allclose(values.grad * 2, out.detach())
    torch.manual_seed(0)
    assert torch.equal(layer(values), out)
    assert not torch.equal(layer(values), out)
    assert layer.eval()(values) is values
    assert ByteDropout(0.0).train()(values) is values


# gradients

OBJECTIVES: list[tuple[Objective, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]] = [
    (Squared(), lambda s, y: (s - y) ** 2),
    (Huber(0.7), lambda s, y: 2 * nn.functional.huber_loss(s, y, reduction="none", delta=0.7)),
    (Logistic(), lambda s, y: nn.functional.binary_cross_entropy_with_logits(s, y, reduction="none")),
]


def doubled(side: SideArrays) -> SideArrays:
    return replace(side, dense=side.dense.double())


def gradients(model: TwoTowerModel) -> dict[str, torch.Tensor]:
    """The gradient of every weight; only tables read by rows have sparse ones."""
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert {name for name, gradient in found.items() if gradient.is_sparse} == set(model.row_tables())
    return {name: gradient.to_dense() for name, gradient in found.items()}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("which", range(3))
def test_gradients_of_the_whole_model_are_autograds(
    which: int, normalise: bool, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(tower, "LARGE_TABLE", 0)
    objective, formula = OBJECTIVES[which]
    rng = np.random.default_rng(5)
    users, items = doubled(packed(5, warm=[1, 2, 0, 4, 5])), doubled(packed(4, seed=1))
    config = {"hidden": (5, 4), "shared_layers": True, "normalise": normalise, "activation": "tanh"}
    model = build(users, items, mean=0.3, dropout=0.0, id_dropout=0.0, **config).double().train()
    assert len(model.row_tables()) == (4 if large else 2)
    user, item = rng.integers(0, 5, 20), rng.integers(0, 4, 20)
    label, weight = rng.uniform(0, 1, 20).astype(np.float32), rng.uniform(0, 2, 20).astype(np.float32)
    strength = 0.2

    pairs = Pairs.from_arrays(user, item, label, weight, n_users=5)
    U, V = model.user_vectors(users), model.item_vectors(items)
    result = objective(U, V, pairs)
    shares = (torch.from_numpy(np.bincount(rows, minlength=n) / 20) for rows, n in ((user, 5), (item, 4)))
    penalty = vector_penalty(U.detach(), V.detach(), result.dU, result.dV, *shares, strength)
    torch.autograd.backward([U, V], [result.dU, result.dV])
    found = gradients(model)

    model.zero_grad(set_to_none=True)
    U, V = model.user_vectors(users), model.item_vectors(items)
    u, v = U[torch.from_numpy(user)], V[torch.from_numpy(item)]
    y, w = torch.from_numpy(label).double(), torch.from_numpy(weight).double()
    loss = (w * formula((u * v).sum(1), y)).sum() / w.sum()
    held_back = strength * (u[:, :-2].square().sum(1) + v[:, :-2].square().sum(1)).mean()
    (loss + held_back).backward()
    expected = gradients(model)

    assert result.loss == pytest.approx(float(loss.detach()), rel=1e-9)
    assert penalty == pytest.approx(float(held_back.detach()), rel=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        npt.assert_allclose(found[name], gradient, rtol=1e-6, atol=1e-9, err_msg=name)
    idle = [name for name, gradient in expected.items() if not gradient.any()]
    assert not idle, "these weights learn nothing"


def test_only_coded_columns_may_be_missing_from_a_table_read_by_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tower, "LARGE_TABLE", 0)
    users, items = packed(5, columns=("bag",)), packed(4, columns=("dense",))
    model = build(users, items).train()
    assert set(model.row_tables()) == {"users.ids.weight", "users.features.weight", "items.ids.weight"}
    (model.user_vectors(users) @ model.item_vectors(items).T).sum().backward()
    assert set(gradients(model)) > set(model.row_tables())


def test_a_gradient_is_as_large_as_the_rows_read() -> None:
    table = row_table(100_000, 3, 0.1, torch.Generator().manual_seed(0))
    before = table.weight.detach().clone()
    table(torch.tensor([7, 99_999, 0])).square().sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.is_sparse
    assert table.weight.grad.coalesce().values().shape == (3, 3)
    RowAdam([table.weight]).step()
    moved = (table.weight.detach() != before).any(dim=1).nonzero().ravel().tolist()
    assert moved == [0, 7, 99_999]


@pytest.mark.parametrize("columns", [(), ("dense",), ("codes",), ("bag",)])
def test_an_optimiser_step_on_any_set_of_columns(columns: tuple[str, ...]) -> None:
    users, items = packed(5, columns=columns), packed(4, columns=columns)
    model = build(users, items).train()
    tables = model.row_tables()
    layers = [p for name, p in model.named_parameters() if name not in tables]
    optimisers = torch.optim.AdamW(layers, lr=0.01, foreach=True), RowAdam(tables.values(), lr=0.01)
    torch.manual_seed(0)
    losses = []
    for _ in range(30):
        model.zero_grad()
        loss = (model.user_vectors(users) @ model.item_vectors(items).T - 1.0).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(layers, 5.0)
        for optimiser in optimisers:
            optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]

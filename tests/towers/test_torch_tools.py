"""A model is an ordinary torch module: gradients, hooks, compilation, training in several processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.testing as npt
import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from twotower.features import Bag, Codes, Dense, EncodedSide
from twotower.kernels.pairs import Pairs
from twotower.objectives import Squared
from twotower.towers import SideArrays, TwoTowerModel, tower
from twotower.towers.registry import TOWERS
from twotower.training import RowAdam

N_USERS, N_ITEMS, N = 8, 6, 40
SETTINGS: dict[str, dict[str, Any]] = {
    "linear": {"ensemble_size": 1},
    "mlp": {"hidden": (6, 4), "activation": "tanh", "shared_layers": True, "dropout": 0.0},
}


def side(n: int, seed: int) -> SideArrays:
    rng = np.random.default_rng(seed)
    indptr = np.append(0, np.cumsum(rng.integers(1, 4, n)))
    blocks: dict[str, Any] = {
        "x": Dense(rng.normal(size=(n, 3)).astype(np.float32)),
        "c": Codes(rng.integers(0, 5, n).astype(np.int32), 5),
        "b": Bag(indptr, rng.integers(0, 7, indptr[-1]).astype(np.int32), 7),
    }
    return SideArrays.pack(EncodedSide(np.arange(1, n + 1, dtype=np.int32), blocks), torch.device("cpu"))


USERS, ITEMS = side(N_USERS, 0), side(N_ITEMS, 1)


def build(kind: str = "mlp", *, large: bool = True, **settings: Any) -> TwoTowerModel:
    """A model in which every weight has an effect; with ``large`` all embeddings have sparse gradients."""
    config = TOWERS.get(kind).Config(**{"dim": 8, "ensemble_size": 2, **SETTINGS[kind], **settings})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "LARGE_TABLE", 0 if large else 200_000)
        model = TwoTowerModel(USERS.shape, ITEMS.shape, N_USERS, N_ITEMS, config, seed=0, mean=0.3)
    generator = torch.Generator().manual_seed(1)
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


def test_every_weight_is_a_parameter_with_a_gradient() -> None:
    model = build()
    step(model)
    tables = set(model.row_tables())
    assert tables == {
        f"{which}.{name}.weight" for which in ("users", "items") for name in ("ids", "features")
    }
    assert set(model.state_dict()) - {"mean"} >= set(gradients(model)) > tables
    sparse = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.is_sparse}
    assert sparse == tables


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", TOWERS.names())
def test_gradients_are_finite_differences(kind: str, large: bool, normalise: bool) -> None:
    model = build(kind, large=large, normalise=normalise).double()
    generator = torch.Generator().manual_seed(5)
    sides = [replace(of, dense=of.dense.double()) for of in (USERS, ITEMS)]
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


@pytest.mark.parametrize("kind", TOWERS.names())
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
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
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


@pytest.mark.parametrize("kind", TOWERS.names())
def test_one_process_of_a_group_has_the_bits_of_training_alone(kind: str, tmp_path: Path) -> None:
    expected = train(build(kind))
    with group(0, 1, tmp_path / "store"):
        found = train(DistributedDataParallel(build(kind)))
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def half(rank: int, folder: str) -> None:
    """Train on every second pair, in one of two processes."""
    torch.set_num_threads(1)
    results = {}
    with group(rank, 2, Path(folder) / "store"):
        for kind in SETTINGS:
            results[kind] = train(DistributedDataParallel(build(kind)), slice(rank, None, 2))
    torch.save(results, Path(folder) / f"{rank}.pt")


def test_two_processes_train_as_one_does_on_all_pairs(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(half, (str(tmp_path),), nprocs=2)
    halves = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for kind in SETTINGS:
        expected = train(build(kind))
        for found in halves:
            assert found[kind].keys() == expected.keys()
            for name, value in found[kind].items():
                npt.assert_allclose(value, expected[name], rtol=1e-4, atol=2e-6, err_msg=name)
        for name, value in halves[0][kind].items():
            assert torch.equal(value, halves[1][kind][name]), name

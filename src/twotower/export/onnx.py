"""Export the towers as ONNX, for other programs and languages; needs the extra ``onnx``.

Each tower is one file, from encoded features (what `SideEncoder` gives) to finished vectors: the dot product
of a user's and an item's is the score. Lists of codes come as two flat inputs, the codes and the row that
each belongs to. A user tower that reads histories has them padded: a row of items a user, oldest first, and
what each counts. Items are known by their rows in the model; new ones need another export.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from twotower.core.atomic import disk_errors, replacing, write_text
from twotower.core.blocks import Bag, Codes
from twotower.errors import BundleError, ConfigError, MissingExtraError
from twotower.features.value_codes import UNKNOWN
from twotower.recommender import Recommender
from twotower.towers import History, SideArrays, finished

OPSET = 18
TOLERANCE = 1e-4
"""Largest allowed difference between ONNX Runtime's and torch's vectors, relative to the largest number."""
_ROWS = 4096  # of each check
_LONGEST = 12  # items of the histories of a check, so that it stays small


@dataclass(frozen=True)
class Exported:
    """One exported tower.

    Attributes:
        path: the file.
        inputs: names of its inputs, with their types and shapes.
        difference: largest difference from torch, relative to the largest number in the vectors.
        rows: number of rows compared.
    """

    path: Path
    inputs: dict[str, str]
    difference: float
    rows: int


def export_onnx(recommender: Recommender, directory: str | Path) -> dict[str, Exported]:
    """Write ``users.onnx``, ``items.onnx`` and ``towers.json``, which describes their inputs and outputs.

    Before its file is written, each tower is run by ONNX Runtime and by torch on random rows, enough to cover
    nearly every id and code.

    Raises:
        ConfigError: the model consists of several kinds of towers.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        BundleError: ONNX Runtime's vectors differ from torch's, or a file can't be written.
    """
    runtime = _runtime()
    if recommender.model.users.composed:
        kinds = " and ".join(part.model["kind"] for part in recommender.model.config.parts)  # type: ignore[attr-defined]
        raise ConfigError(
            f"a model of kind 'auto' that consists of {kinds} towers can't be written as ONNX, as folding "
            "in is no part of a tower; export a model of one kind, such as model.kind = 'sequence'"
        )
    schema, users = recommender.encoder.schema, recommender.model.users
    read = [("[schema.context]", schema.context and users.reads_context)]
    read += [(name, users.reads_statistics) for name in schema.statistics]
    if named := [name for name, given in read if given]:
        raise ConfigError(f"a model that reads {named[0]} can't be written as ONNX; train without it")
    folder = Path(directory).expanduser()
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for which in ("users", "items"):
        tower = _Tower(recommender, which).eval()
        content = _graph(tower)
        difference, rows = _compared(runtime, recommender, which, tower, content)
        if not difference <= TOLERANCE:
            raise BundleError(
                f"the {which} tower in ONNX must give torch's vectors within {TOLERANCE:g}; it differs by "
                f"{difference:g}. It was not written; please report this with the versions of torch and onnx."
            )
        path = folder / f"{which}.onnx"
        with replacing(path) as temporary:
            temporary.write_bytes(content)
        found[which] = Exported(path, tower.shapes(), difference, rows)
    facts = {
        "dim": recommender.model.dim,
        "score": "the dot product of a user's and an item's vector",
        "towers": {
            which: {"file": tower.path.name, "inputs": tower.inputs} for which, tower in found.items()
        },
    }
    write_text(folder / "towers.json", json.dumps(facts, indent=2) + "\n")
    return found


class _Tower(nn.Module):
    """One tower with inputs that ONNX can express, and with what `finished` does to its vectors.

    Args:
        recommender: whose tower.
        which: "users" or "items".
    """

    def __init__(self, recommender: Recommender, which: str) -> None:
        super().__init__()
        model = recommender.model.to("cpu").eval()
        self.which, self.model = which, model
        self.tower = model.users if which == "users" else model.items
        self.shape = self.tower.shape
        self.n_dense, forms = self.shape.n_dense, self.shape.forms.values()
        self.bags = sum(form.kind is Bag for form in forms)
        self.n_codes = sum(form.kind is Codes for form in forms)
        # Row 0 is a cold row's, which adds nothing.
        self.has_ids = hasattr(self.tower, "ids")
        ids = self.tower.ids.weight.detach() if self.has_ids else torch.zeros(0, self.tower.width)
        self.register_buffer("ids", torch.cat([torch.zeros(1, ids.shape[1]), ids]))
        self.reads = which == "users" and self.tower.reads_history
        self.catalogue = recommender.items.arrays
        if self.reads:
            assert self.catalogue is not None
            with torch.no_grad():
                rows = self.tower.prepared(self.catalogue)
            self.n_prepared = 0 if rows is None else len(rows)
            for number, row in enumerate(rows or ()):
                self.register_buffer(f"prepared_{number}", row)
        self.register_buffer("table", self.tower.table.detach())
        self.register_buffer("sd", torch.tensor(recommender.target.sd, dtype=torch.float32))
        last = torch.zeros(model.dim)
        model.layout.shift(last, recommender.target.mean)
        self.register_buffer("mean", last)

    ids: torch.Tensor
    table: torch.Tensor
    sd: torch.Tensor
    mean: torch.Tensor

    def names(self) -> list[str]:
        """Return the names of the inputs, in order."""
        names = ["id"] if self.has_ids else []
        names += (["numbers"] if self.n_dense else []) + (["codes"] if self.n_codes else [])
        names += [f"list_{n}_{part}" for n in range(self.bags) for part in ("codes", "rows")]
        return names + (["history_items", "history_grades"] if self.reads else [])

    def shapes(self) -> dict[str, str]:
        """Return a description of each input."""
        said = {
            "id": "int64 (rows,): 0 for a cold row, else 1 + the id's place among the warm ids",
            "numbers": f"float32 (rows, {self.n_dense}): every dense block, side by side",
            "codes": f"int64 (rows, {self.n_codes}): rows of the feature table of {len(self.table)}",
            "history_items": "int64 (rows, length): 1 + the row of each item in the model, oldest first"
            + f"{self._longest()}; 0 after the end",
            "history_grades": "float32 (rows, length): what each counts, 1 for one that was liked",
        }
        return {
            name: said.get(
                name,
                "int64 (entries,): "
                + (
                    "rows of the feature table" if name.endswith("codes") else "the row each entry belongs to"
                ),
            )
            for name in self.names()
        }

    def _longest(self) -> str:
        longest = self.tower.max_history
        return "" if longest == sys.maxsize else f", of which the last {longest} are read"

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return finished vectors (rows, dim)."""
        given = dict(zip(self.names(), inputs, strict=True))
        rows = given["id" if self.has_ids else "history_items"].shape[0]
        tower = self.tower
        parts = [F.embedding(given["codes"], self.table).flatten(1)] if self.n_codes else []
        for number in range(self.bags):
            entries = F.embedding(given[f"list_{number}_codes"], self.table)  # (entries, embedding_dim)
            place = given[f"list_{number}_rows"].unsqueeze(1)
            total = torch.zeros(rows, entries.shape[1]).scatter_add(0, place.expand_as(entries), entries)
            known = given[f"list_{number}_codes"].unsqueeze(1) != self.shape.bags[number] + UNKNOWN
            counts = [
                torch.zeros(rows, 1).scatter_add(0, place, of)
                for of in (torch.ones_like(entries[:, :1]), known.to(entries.dtype))
            ]
            parts.append(total / tower.divisors(counts[0].clamp(min=1.0), counts[1]))
        out = tower.combined(rows, given.get("numbers"), parts)
        if self.has_ids:
            out = out + F.embedding(given["id"], self.ids)
        if self.reads:
            prepared = tuple(getattr(self, f"prepared_{number}") for number in range(self.n_prepared))
            out = tower.padded(out, given["history_items"], given["history_grades"], prepared)
        vectors = self.model.vectors_of(out, self.which)
        if self.which == "items":
            return vectors
        return vectors / self.model.layout.members * self.sd + self.mean

    def example(self, rows: int, seed: int) -> tuple[SideArrays, tuple[torch.Tensor, ...]]:
        """Return random rows in the forms that torch's tower and this one read."""
        draw = torch.Generator().manual_seed(seed)

        def below(n: int, *shape: int) -> torch.Tensor:
            return torch.randint(0, max(n, 1), shape, generator=draw)

        warm = below(len(self.ids), rows)
        dense = torch.randn(rows, self.n_dense, generator=draw)
        codes = below(len(self.table), rows, self.n_codes)
        bags, flat = [], []
        for _ in range(self.bags):
            length = 1 + below(4, rows)
            indptr = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
            entries = below(len(self.table), int(indptr[-1]))
            bags.append((indptr, entries))
            flat += [entries, torch.arange(rows).repeat_interleave(length)]
        inputs = [
            *([warm] if self.has_ids else []),
            *([dense] if self.n_dense else []),
            *([codes] if self.n_codes else []),
            *flat,
        ]
        side = SideArrays(warm, dense, codes, tuple(bags), self.shape)
        if not self.reads:
            return side, tuple(inputs)
        assert self.catalogue is not None
        longest = _LONGEST
        length = below(longest + 1, rows)
        length[-1] = longest  # a batch without any history has no length
        there = torch.arange(longest) < length[:, None]
        items = torch.where(there, 1 + below(self.catalogue.rows, rows, longest), 0)
        grades = torch.rand(rows, longest, generator=draw)
        grades[below(2, rows) == 0] = 1.0
        indptr = torch.cat([torch.zeros(1, dtype=torch.int64), length.cumsum(0)])
        times = torch.arange(int(indptr[-1])).double()
        history = History(indptr, items[there] - 1, grades[there], times, self.catalogue)
        return replace(side, history=history), (*inputs, items, grades)


def _graph(tower: _Tower) -> bytes:
    _, inputs = tower.example(5, 0)
    tower(*inputs)  # an error of the tower is not one of the exporter
    each = {0: torch.export.Dim.DYNAMIC}
    padded = each | {1: torch.export.Dim.DYNAMIC}
    buffer = io.BytesIO()
    with torch.no_grad(), _quiet_exporter():
        program = torch.onnx.export(
            tower,
            inputs,
            input_names=tower.names(),
            output_names=["vector"],
            opset_version=OPSET,
            dynamic_shapes=(
                tuple(padded if name.startswith("history_") else each for name in tower.names()),
            ),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(buffer)  # type: ignore[arg-type]  # which takes a file as well
    return buffer.getvalue()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence the exporter's messages about unused libraries and its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _compared(
    runtime: Any, recommender: Recommender, which: str, tower: _Tower, content: bytes
) -> tuple[float, int]:
    """Return the largest difference from torch, relative to the largest number, and the rows compared."""
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst, rows = 0.0, 0
    for seed in range(max(1, -(-2 * max(len(tower.ids), len(tower.table)) // _ROWS))):
        for n in (1, _ROWS) if seed == 0 else (_ROWS,):
            side, inputs = tower.example(n, seed)
            expected: NDArray[np.float32] = finished(
                recommender.model.encode(side, which), which, recommender.target
            )
            (given,) = session.run(None, {k: v.numpy() for k, v in zip(tower.names(), inputs, strict=True)})
            worst = max(worst, float(np.abs(given - expected).max() / max(1e-12, np.abs(expected).max())))
            rows += n
    return worst, rows


def _runtime() -> Any:
    try:
        import onnx  # noqa: F401, PLC0415
        import onnxruntime  # noqa: PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"export to ONNX needs the package {error.name}, which is not installed; install it with: "
            "pip install 'twotower[onnx]'"
        ) from None
    return onnxruntime

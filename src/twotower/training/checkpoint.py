"""A checkpoint: one safetensors file with the whole training state, written atomically."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from twotower.core.atomic import umask_mode
from twotower.errors import TrainingError

FILE = "last.safetensors"
LAYOUT = 4
"""Of the tensors. A checkpoint of another layout is refused as one of another run."""


@dataclass(frozen=True)
class Checkpoint:
    """Training state after an epoch.

    Attributes:
        tensors: weights, optimiser moments and best weights, by name.
        meta: JSON values: fingerprint of the run, phase, epoch, schedule, history.
    """

    tensors: dict[str, torch.Tensor]
    meta: dict[str, Any]

    def write(self, directory: Path) -> None:
        """Write to a temporary file, flush and rename: a crash leaves either the old or the new file."""
        temporary = directory / (FILE + ".tmp")
        tensors, same = _once(self.tensors)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with umask_mode(temporary):
                save_file(
                    tensors, temporary, metadata={"meta": json.dumps(self.meta), "same": json.dumps(same)}
                )
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, directory / FILE)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise TrainingError(
                f"could not write a checkpoint to {directory}: {error}; the previous one is intact. "
                "Free disk space or choose another location, then continue with --resume"
            ) from None

    @classmethod
    def read(cls, directory: Path) -> Checkpoint | None:
        """Return the checkpoint in a directory, or None if there is none."""
        path = directory / FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                meta, same = file.metadata()["meta"], file.metadata().get("same", "{}")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                tensors |= {name: tensors[of] for name, of in json.loads(same).items()}
                return cls(tensors, json.loads(meta))
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"could not read the checkpoint {path}: {error}. Delete it to start this run from the "
                "beginning"
            ) from None


def _once(tensors: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return tensors of which no two share memory, and the name of the same tensor for all other names.

    Shared layers have several names, and the best weights may be the last ones. Nothing is copied, unless
    tensors overlap without being the same.
    """
    first: dict[tuple[object, ...], str] = {}
    found: dict[str, torch.Tensor] = {}
    same: dict[str, str] = {}
    storages = set()
    for name, tensor in tensors.items():
        place = tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device
        if tensor.numel() and (of := first.setdefault(place, name)) != name:
            same[name] = of
            continue
        storage = tensor.untyped_storage().data_ptr()
        shared = storage in storages
        storages.add(storage)
        found[name] = (tensor.clone() if shared else tensor).contiguous().cpu()
    return found, same

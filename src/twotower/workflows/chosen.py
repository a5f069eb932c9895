"""What the first training of a run chose, so that a later one continues with the same settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from twotower.estimator.auto import CHOICE
from twotower.estimator.continuing import Chosen
from twotower.recommender import Recommender
from twotower.recommender.bundle import read_facts
from twotower.training import Checkpoint
from twotower.workflows.run import Run

CHOSEN: Final = "chosen"
"""Key of a bundle's facts: kind of towers -> settings that were chosen and the best number of epochs."""
_KEPT: Final = ("choice", "best_epoch", "refined")


def chosen_of(checkpoints: Path, model: Recommender) -> dict[str, dict[str, Any]]:
    """Return what a training chose, by kind of towers, from its checkpoints; empty without them."""
    place = checkpoints / CHOICE
    if place.exists():
        each = json.loads(place.read_text(encoding="utf-8"))["earlier"]
        return {kind: _kept(earlier) for kind, earlier in each.items()}
    found = Checkpoint.read(checkpoints)
    if found is None:
        return {}
    best = found.meta["progress"]["best_epoch"]
    return {model.model.config.kind: _kept({"best_epoch": best, **found.meta["earlier"]})}


def chosen_in(run: Run, model: Recommender) -> dict[str, Chosen]:
    """Return what the training of a run chose; of an earlier version's run, from its checkpoints."""
    found: Mapping[str, Any] = read_facts(run.bundle).get(CHOSEN) or chosen_of(run.checkpoints, model)
    return {kind: Chosen.of(state) for kind, state in found.items()}


def _kept(earlier: Mapping[str, Any]) -> dict[str, Any]:
    return {name: earlier[name] for name in _KEPT if name in earlier}

"""Several seeds of one config: how much a metric depends on the seed.

All share one split. A seed changes the weights at the start, the batches and their order, what
dropout drops, the negatives that are drawn and, where ranking validation uses a sample of users, which one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twotower.config import Config, resolved
from twotower.core.atomic import check_folder, disk_errors, write_text
from twotower.errors import ConfigError
from twotower.estimator.fitting import check_place, place_of
from twotower.training import Callback
from twotower.training.engine import Engine
from twotower.workflows.reading import load_parts
from twotower.workflows.run import Run
from twotower.workflows.stages import Log, quiet
from twotower.workflows.tracking import Tracked, Tracking
from twotower.workflows.training import breaks_say, train

_PREFIX, _RESULT = "seed-", "seeds.json"


@dataclass(frozen=True)
class SeedsFolder:
    """The directory of several seeds: a run directory for each, and ``seeds.json``."""

    path: Path

    @property
    def result_file(self) -> Path:
        """Mean and spread of the metrics; written last."""
        return self.path / _RESULT

    def run(self, config: Config) -> Run:
        """Return the run of a seed's config."""
        return Run(self.path / f"{_PREFIX}{config.seed}")

    def check(self, configs: Sequence[Config], *, resume: bool) -> None:
        """Check that training into the directory overwrites nothing.

        Raises:
            ConfigError: it is not empty and ``resume`` is not set, or something else; or there is
                nothing to resume.
        """
        path = self.path
        check_folder(path)
        names = sorted(child.name for child in path.iterdir()) if path.is_dir() else []
        foreign = [
            name
            for name in names
            if name != _RESULT and not name.startswith(_PREFIX) and not name.startswith(".")
        ]
        if foreign:
            raise ConfigError(
                f"--out must be a new or empty directory, or that of several seeds; {path} contains "
                f"{', '.join(foreign[:5])}; choose another"
            )
        begun = any(self.run(config).config_file.exists() for config in configs)
        if begun and not resume:
            raise ConfigError(
                f"{path} contains runs of several seeds; continue with --resume, choose another --out, or "
                "delete it"
            )
        if resume and not begun:
            raise ConfigError(f"there are no runs to resume in {path}; leave out --resume to start")


def train_seeds(
    config: Config,
    out: str | Path,
    seeds: int,
    *,
    resume: bool = False,
    callbacks: Sequence[Callback] = (),
    tracking: Tracking | None = None,
    engine: Engine | None = None,
    log: Log = quiet,
) -> dict[str, Any]:
    """Train a config with several seeds on one split, each into a run directory ``seed-42`` and so on.

    Args:
        config: what to train; its seed is the first, and decides the split of all.
        out: the directory of the runs.
        seeds: how many.
        resume: continue the runs there; finished ones are kept. ``seeds`` may be higher than before.
        callbacks: called at every step and epoch.
        tracking: trackers that the runs are logged to, as children of one run.
        engine: where they are trained; None for this process.
        log: called with one line for each stage.

    Returns:
        The content of ``seeds.json``: ``"seeds"``, ``"runs"`` and, for ``"rating"``, ``"ranking"`` and
        ``"validation"``, metric -> mean, sd, min, max and values.

    Raises:
        ConfigError: fewer than two seeds, or the directory contains something else.
        ConfigError, DataError, TrainingError, BundleError: as for `train`.
        Interrupted: Ctrl-C.
    """
    if seeds < 2:
        raise ConfigError(f"--seeds must be at least 2, got {seeds}; leave it out to train one model")
    check_place(engine, config)
    configs, folder = seed_configs(resolved(config), seeds), SeedsFolder(Path(out).expanduser())
    folder.check(configs, resume=resume)
    states = [
        run.check(one, resume=run.config_file.exists()) for one, run in ((c, folder.run(c)) for c in configs)
    ]
    parts = None
    if any(state != "finished" for state in states):
        parts = load_parts(configs[0], log=log)
    with disk_errors(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
    metrics = []
    tracking = tracking if tracking is not None and parts is not None else Tracking()
    place = place_of(engine, configs[0])
    with place, tracking.run(folder.path, config) as tracked, breaks_say("continue with --resume"):
        for one in configs:
            run = folder.run(one)
            log(f"seed {one.seed}: {run.path}")
            done = train(
                one,
                run.path,
                parts=parts,
                resume=run.config_file.exists(),
                callbacks=callbacks,
                tracking=tracked.children(),
                engine=engine,
                log=log,
            )
            metrics.append(done.metrics)
            if done.metrics.get("popularity"):
                log(f"seed {one.seed}: {done.metrics['popularity']['says']}")
        result = {
            "seeds": [one.seed for one in configs],
            "runs": [folder.run(one).path.name for one in configs],
            **{
                kind: spread([{name: _value(of) for name, of in each[kind].items()} for each in metrics])
                for kind in ("rating", "ranking", "validation")
            },
        }
        write_text(folder.result_file, json.dumps(result, indent=2, allow_nan=False) + "\n")
        _track(tracked, result)
        tracked.keep(folder.result_file)
    return result


def _track(tracked: Tracked, result: Mapping[str, Any]) -> None:
    for part, kinds in (("test", ("rating", "ranking")), ("validation", ("validation",))):
        for name, found in ((n, of) for kind in kinds for n, of in result[kind].items()):
            tracked.log({f"{part}/{name}": found["mean"], f"{part}/{name}_sd": found["sd"]})


def seed_configs(config: Config, seeds: int) -> list[Config]:
    """Return copies of a config with consecutive seeds from its own, all with its own split.

    Raises:
        ConfigError: ``seeds`` is below 1.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds must be at least 1, got {seeds}")
    if seeds == 1:
        return [config]
    split = config.split.model_copy(update={"seed": config.split_seed})
    return [config.model_copy(update={"seed": config.seed + more, "split": split}) for more in range(seeds)]


def spread(values: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """Return metric -> mean, sd (of the sample), min, max and values over several models, for JSON.

    A metric that one of them lacks is left out; undefined values are None.
    """
    found = {}
    for name in values[0]:
        if all(name in of for of in values):
            each = np.array([of[name] for of in values], dtype=np.float64)
            figures = {"mean": each.mean(), "sd": each.std(ddof=1), "min": each.min(), "max": each.max()}
            found[name] = {
                **{key: _plain(float(figure)) for key, figure in figures.items()},
                "values": [_plain(float(value)) for value in each],
            }
    return found


def _value(measured: Any) -> float:
    """Return the value of a metric in ``metrics.json``, with or without an interval."""
    value = measured["value"] if isinstance(measured, dict) else measured
    return math.nan if value is None else float(value)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None

"""`tune`: search for a better config; keep the original if none is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twotower.config import Config, resolved
from twotower.core.atomic import write_text
from twotower.core.locking import alone_in
from twotower.core.wording import count_of
from twotower.data.splitting import Parts
from twotower.errors import DataError
from twotower.targets.positive import PositiveRule
from twotower.training import Callback, Interrupted
from twotower.training.engine import Engine
from twotower.workflows.measuring import validator_of
from twotower.workflows.reading import check_positives, load_parts, sizes_of
from twotower.workflows.stages import Log, quiet
from twotower.workflows.tracking import Tracked, Tracking
from twotower.workflows.tuning._optuna import Study
from twotower.workflows.tuning.budget import Budget
from twotower.workflows.tuning.final import measure_both
from twotower.workflows.tuning.folder import TuneFolder
from twotower.workflows.tuning.optimism import Gain, corrected_gain
from twotower.workflows.tuning.picture import history_svg
from twotower.workflows.tuning.searching import Search
from twotower.workflows.tuning.space import Space, default_space
from twotower.workflows.tuning.trials import Trial, complete, counted
from twotower.workflows.tuning.watching import Watcher
from twotower.workflows.tuning.writing import best_toml, changes


@dataclass(frozen=True)
class Found:
    """The result on the validation set.

    Attributes:
        given: the first trial, the original config.
        best: the best trial.
        gain: of the best over the original config.
        chosen: the best config; None if the original is kept because no gain is left after correcting for
            selection bias.
    """

    given: Trial
    best: Trial
    gain: Gain
    chosen: Config | None


def tune(
    config: Config,
    out: str | Path,
    *,
    trials: int | None = None,
    minutes: float | None = None,
    space: Space | None = None,
    resume: bool = False,
    watcher: Watcher | None = None,
    callbacks: Sequence[Callback] = (),
    tracking: Tracking | None = None,
    engine: Engine | None = None,
    log: Log = quiet,
) -> dict[str, Any]:
    """Search for a better config on the validation set, then evaluate it once on the test set.

    The original config is the first trial. All trials use the same training set and seed, one after another.
    The test set is split off first and not used until the search is over (it is only checked for positives);
    then the best and the original config are trained as by `experiment.train`.

    Args:
        config: the config to start from.
        out: a new or empty directory, or with ``resume`` the directory of a tuning.
        trials: the most trials, counted across resumes; 50 if ``minutes`` is not given either.
        minutes: the most minutes of trials, counted across resumes.
        space: the search space; by default that of the config's task.
        resume: continue the tuning in ``out``; if it is finished, its result is returned unchanged.
        watcher: receives the progress of the search.
        callbacks: called after each epoch of the two final trainings.
        tracking: where the search is tracked, with its trials and final trainings as child runs.
        engine: where trials run side by side, each to its end; None for this process. The minutes are those
            of all trials together.
        log: called with one-line progress messages.

    Returns:
        The content of ``tune.json``: the gain on the validation set and its selection bias, the test result,
        parameter importance, and every trial.

    Raises:
        ConfigError: the directory contains something else, or a setting is wrong.
        DataError, TrainingError: raised while reading, splitting or training.
        BundleError: something could not be written (a full disk).
        Interrupted: Ctrl-C; the best so far is in ``best.toml``.
    """
    config, folder = resolved(config), TuneFolder(Path(out).expanduser())
    budget, space = Budget.of(trials, minutes), space_of(config, space)
    folder.check(config, space, resume=resume)
    if folder.result_file.exists():
        log(f"{folder.path} is already finished and its test set has been used, so it can't be resumed")
        return folder.result()
    parts = load_parts(config, log=log)
    rule = check_positives(config, parts)
    with alone_in(folder.path, "tunes"):
        folder.check(config, space, resume=resume)  # another process may have written to it meanwhile
        if not resume:
            folder.begin(config, space)
        search = _search(config, space, parts, rule, folder)
        _check_rows(search.study, parts)
        with (tracking or Tracking()).run(folder.path, config) as tracked:
            try:
                with engine or nullcontext():
                    reason = search.run(budget, watcher or Watcher(), tracked.children(), engine)
            except (Interrupted, KeyboardInterrupt):
                raise _interrupted(folder, search) from None
            log(f"search finished after {reason}; now evaluating on the test set, once")
            found = _found(search)
            _write(folder, search, found)
            try:
                tested = measure_both(
                    search.given,
                    found.chosen,
                    parts,
                    folder.path,
                    callbacks=callbacks,
                    tracking=tracked.children(),
                    log=log,
                )
            except (Interrupted, KeyboardInterrupt):
                raise Interrupted(
                    f"interrupted after the search; the best config is in {folder.best_file}. Run again with "
                    "--resume to do the final test"
                ) from None
            result = {**_summary(search, found), "ended": reason, "test": tested}
            write_text(folder.result_file, json.dumps(result, indent=2, allow_nan=False) + "\n")
            _track(tracked, result)
            tracked.keep(folder.best_file, folder.picture_file, folder.result_file)
    return folder.result()


def _track(tracked: Tracked, result: dict[str, Any]) -> None:
    name, gain, test = result["metric"], result["gain"], result["test"]
    tracked.log(
        {
            f"validation/{name}": result["best"]["validation"],
            f"validation/{name}_given": result["given"]["validation"],
            "gain/apparent": gain["apparent"],
            "gain/optimism": gain["optimism"],
            "gain/corrected": gain["corrected"],
            f"test/{name}_given": test["given"],
            f"test/{name}": test["best"] or test["given"],
        }
    )


def space_of(config: Config, space: Space | None = None) -> Space:
    """Return the given or the default search space, extended to include the config's own values."""
    # built-in data sets have labels
    labelled = config.schema_ is None or config.schema_.label is not None
    if space is None:
        space = default_space(config, labelled=labelled)
    return space.around(config)


def _search(config: Config, space: Space, parts: Parts, rule: PositiveRule, folder: TuneFolder) -> Search:
    validator = validator_of(config, parts, rule)
    study = Study(folder.study_file, maximise=validator.measure.higher_is_better, seed=config.seed)
    return Search(config, space, parts.train, parts.validation, validator, study, folder.scores)


def _check_rows(study: Study, parts: Parts) -> None:
    """Check that a resumed tuning has the data it was started with."""
    now = sizes_of(parts)
    if (then := study.fact("rows")) is None:
        study.keep_fact("rows", now)
    elif then != now:
        raise DataError(
            f"a tuning must be resumed with the data it was started with: its sets had {then} rows and now "
            f"have {now}. Restore the files, or start again with another --out"
        )


def _found(search: Search) -> Found:
    best, given = search.best(), search.given_trial()
    assert best is not None
    assert given is not None
    resamples, seed = search.given.evaluation.resamples, search.given.seed
    gain = corrected_gain(
        search.totals(), search.validator.counts, search.validator.measure, resamples=resamples, seed=seed
    )
    keep = best is given or search.config_of(best) == search.given or not gain.corrected.value > 0.0
    return Found(given, best, gain, None if keep else search.config_of(best))


def _write(folder: TuneFolder, search: Search, found: Found) -> None:
    """Write the best config so far and the chart of the trials so far."""
    config = found.chosen or search.given
    write_text(folder.best_file, best_toml(config, search.given, _says(search, found)))
    write_text(folder.picture_file, history_svg(search.study.trials(), search.validator.measure))


def _says(search: Search, found: Found) -> list[str]:
    """Return the comment lines at the top of ``best.toml``."""
    name, done = search.validator.measure.name, len(counted(search.study.trials()))
    given, best = found.given.value, found.best.value
    if found.chosen is None:
        said = f"The original config is kept after {count_of(done, 'trial')}: validation {name} {given:.4f}."
        if best != given:
            said += f" The best trial's {best:.4f} can be explained by selection bias."
        return [said]
    low, high = found.gain.corrected.low, found.gain.corrected.high
    return [
        f"The best of {count_of(done, 'trial')}: trial {found.best.number}, validation {name} {best:.4f}; "
        f"the original config has {given:.4f}.",
        f"The gain is {found.gain.apparent:.4f}, of which {found.gain.optimism:.4f} is selection bias; "
        f"corrected gain {found.gain.corrected.value:.4f} [{low:.4f}, {high:.4f}].",
    ]


def _summary(search: Search, found: Found) -> dict[str, Any]:
    trials = search.study.trials()
    states = [trial.state for trial in trials]
    changed = changes(search.given, found.chosen) if found.chosen is not None else {}
    return {
        "metric": search.validator.measure.name,
        "higher_is_better": search.validator.measure.higher_is_better,
        "trials": {state: states.count(state) for state in ("complete", "pruned", "failed")},
        "seconds": round(sum(trial.seconds for trial in trials), 3),
        "given": {"trial": found.given.number, "validation": found.given.value},
        "best": {"trial": found.best.number, "validation": found.best.value},
        "stands": found.chosen is None,
        "changed": changed,
        "gain": found.gain.as_dict(),
        "importance": search.study.importance(),
        "history": [trial.as_dict() for trial in trials],
    }


def _interrupted(folder: TuneFolder, search: Search) -> Interrupted:
    done = len(counted(search.study.trials()))
    if not complete(search.study.trials()):
        return Interrupted("interrupted before the first trial finished; continue with --resume")
    found = _found(search)
    _write(folder, search, found)
    return Interrupted(
        f"interrupted after {count_of(done, 'trial')}; the best config so far is in {folder.best_file}. "
        "Continue with --resume"
    )

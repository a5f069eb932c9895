"""`tune`: from a config to a better one, or to the finding that it stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twotower.atomic import write_text
from twotower.config import Config, resolved
from twotower.data.splitting import Parts
from twotower.errors import DataError
from twotower.experiment.parts import check_positives, load_parts, sizes_of
from twotower.experiment.stages import Log, quiet
from twotower.locking import alone_in
from twotower.tracking import Tracked, Tracking
from twotower.training import Callback, Interrupted
from twotower.tuning._optuna import Study
from twotower.tuning.budget import Budget
from twotower.tuning.final import measure_both
from twotower.tuning.folder import TuneFolder
from twotower.tuning.optimism import Gain, corrected_gain
from twotower.tuning.picture import history_svg
from twotower.tuning.scoring import make_scorer
from twotower.tuning.searching import Search
from twotower.tuning.space import Space, default_space
from twotower.tuning.trials import Trial, complete, counted
from twotower.tuning.watching import Watcher
from twotower.tuning.writing import best_toml, changes


@dataclass(frozen=True)
class Found:
    """What the validation part says.

    Attributes:
        given: the first trial.
        best: the best one.
        gain: of the best over the given config.
        chosen: the best config; None where the given one stands, since nothing is left of the gain once luck
            is taken off.
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
    log: Log = quiet,
) -> dict[str, Any]:
    """Search for a better config on the validation part, and then measure it once on the test part.

    The given config is the first trial. All trials train on the same train part with the same seed, one after
    the other. The test part is cut off first and not looked at, but for whether it has positives, until the
    search is over; then the best and the given config are trained as `experiment.train` does.

    Args:
        config: where to start from.
        out: a new or empty directory, or with ``resume`` the one of a tuning.
        trials: most trials, over all breaks; 50 where ``minutes`` is not given either.
        minutes: most minutes of trials, over all breaks.
        space: what to search; the default of the config's task when left out.
        resume: go on with the tuning in ``out``; the result of a finished one is returned as it is.
        watcher: looks on at the search.
        callbacks: told of the epochs of the two last trainings.
        tracking: where the search is told to, with its trials and the two last trainings as parts of it.
        log: told one line at a time what is going on.

    Returns:
        The content of ``tune.json``: what was gained on validation and what of it is luck, the test, the
        importance of the parameters, and every trial.

    Raises:
        ConfigError: the directory holds something else, or a setting is wrong.
        DataError, TrainingError: as reading, splitting and training say.
        BundleError: something could not be written (a full disk).
        Interrupted: Ctrl-C; the best so far is in ``best.toml``.
    """
    config, folder = resolved(config), TuneFolder(Path(out).expanduser())
    budget, space = Budget.of(trials, minutes), space_of(config, space)
    folder.check(config, space, resume=resume)
    if folder.result_file.exists():
        log(f"{folder.path} is finished already; its test part has been read, so it is not gone on with")
        return folder.result()
    parts = load_parts(config, log=log)
    check_positives(config, parts)
    with alone_in(folder.path, "tunes"):
        folder.check(config, space, resume=resume)  # what another process has done meanwhile
        if not resume:
            folder.begin(config, space)
        search = _search(config, space, parts, folder)
        _check_rows(search.study, parts)
        with (tracking or Tracking()).run(folder.path, config) as tracked:
            try:
                reason = search.run(budget, watcher or Watcher(), tracked.children())
            except (Interrupted, KeyboardInterrupt):
                raise _interrupted(folder, search) from None
            log(f"the search is over: {reason}; now the test part, once")
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
                    f"interrupted after the search; the best config is in {folder.best_file}, and --resume "
                    "goes on with the test"
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
    """Return what would be searched: the default space of the config's task, or another, round the config."""
    # data sets known by name have labels
    labelled = config.schema_ is None or config.schema_.label is not None
    if space is None:
        space = default_space(config, labelled=labelled)
    return space.around(config, labelled=labelled)


def _search(config: Config, space: Space, parts: Parts, folder: TuneFolder) -> Search:
    scorer = make_scorer(config, parts.train, parts.validation)
    study = Study(folder.study_file, maximise=scorer.measure.maximise, seed=config.seed)
    return Search(config, space, parts.train, parts.validation, scorer, study, folder.scores)


def _check_rows(study: Study, parts: Parts) -> None:
    """Make sure that a tuning goes on with the data it was begun with."""
    now = sizes_of(parts)
    if (then := study.fact("rows")) is None:
        study.keep_fact("rows", now)
    elif then != now:
        raise DataError(
            f"a tuning goes on with the data it was begun with: the parts had {then} rows, now they have "
            f"{now}; restore the files, or tune again into another --out"
        )


def _found(search: Search) -> Found:
    best, given = search.best(), search.given_trial()
    assert best is not None
    assert given is not None
    resamples, seed = search.given.evaluation.resamples, search.given.seed
    gain = corrected_gain(
        search.totals(), search.scorer.counts, search.scorer.measure, resamples=resamples, seed=seed
    )
    stands = best is given or search.config_of(best) == search.given or not gain.corrected.value > 0.0
    return Found(given, best, gain, None if stands else search.config_of(best))


def _write(folder: TuneFolder, search: Search, found: Found) -> None:
    """Write the best config and the picture: of all trials, or of those there are."""
    config = found.chosen or search.given
    write_text(folder.best_file, best_toml(config, search.given, _says(search, found)))
    write_text(folder.picture_file, history_svg(search.study.trials(), search.scorer.measure))


def _says(search: Search, found: Found) -> list[str]:
    """Return what the head of ``best.toml`` says."""
    name, done = search.scorer.measure.name, len(counted(search.study.trials()))
    given, best = found.given.value, found.best.value
    if found.chosen is None:
        said = f"The given config stands after {done} trials: validation {name} {given:.4f}."
        if best != given:
            said += f" The best trial's {best:.4f} is luck, as far as can be told."
        return [said]
    low, high = found.gain.corrected.low, found.gain.corrected.high
    return [
        f"The best of {done} trials: trial {found.best.number}, validation {name} {best:.4f} where the given "
        f"config has {given:.4f}.",
        f"Of the gain of {found.gain.apparent:.4f}, {found.gain.optimism:.4f} is luck; left are "
        f"{found.gain.corrected.value:.4f} [{low:.4f}, {high:.4f}].",
    ]


def _summary(search: Search, found: Found) -> dict[str, Any]:
    trials = search.study.trials()
    states = [trial.state for trial in trials]
    changed = changes(search.given, found.chosen) if found.chosen is not None else {}
    return {
        "metric": search.scorer.measure.name,
        "higher_is_better": search.scorer.measure.maximise,
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
        return Interrupted("interrupted before the first trial was over; begin again with --resume")
    found = _found(search)
    _write(folder, search, found)
    return Interrupted(
        f"interrupted after {done} trials; the best so far is in {folder.best_file}, go on with --resume"
    )

"""The last screen of ``train``, ``evaluate``, ``compare`` and ``demo``, made from their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twotower.cli.screen import Screen, Table, Verdict
from twotower.cli.verdict import (
    best_of,
    judged,
    notes_said,
    of_evaluation,
    short_metrics,
    table_alone,
    table_of,
)
from twotower.config import Config
from twotower.config.parts import AUTO, first_that
from twotower.core.wording import count_of
from twotower.metrics import higher_is_better
from twotower.metrics.registry import main_metric, title_of

_ITEMS = 3
"""How many recommended items are shown."""
_LONGEST_ID = 40
_LONGEST_CONFIG = 130
"""Most characters of a config and its settings in a suggested command; CONFIG replaces longer ones."""

Words = tuple[str | Path, ...]


def trained(
    config: Config, metrics: Mapping[str, Any], run: Path, user: Any = None, *, full: bool = False
) -> Screen:
    """Return the screen after training.

    Args:
        config: of the run.
        metrics: the content of its ``metrics.json``.
        run: its directory.
        user: an example user for `twotower recommend`.
        full: whether every metric and note is printed above.
    """
    return Screen(
        title=f"Trained {_kind(config)}",
        facts=_facts(config, metrics["data"], sum(metrics.get("seconds", {}).values()), metrics.get("model")),
        verdicts=_verdicts(config, metrics),
        table=_table(config, metrics),
        saved=str(run),
        commands=(*_use(config, run, user), ("twotower", "compare", run), ("twotower", "report", run)),
        ends="" if full else _rest(metrics, f"`twotower evaluate {run} --full` prints every metric"),
    )


def evaluated(
    config: Config, report: Mapping[str, Any], recorded: Mapping[str, Any], run: Path, *, full: bool = False
) -> Screen:
    """Return the screen after an evaluation.

    Args:
        config: of the run.
        report: what was measured now.
        recorded: the content of its ``metrics.json``.
        run: its directory.
        full: whether every metric and note is printed above.
    """
    data, more = recorded["data"], () if full else (("twotower", "evaluate", run, "--full"),)
    return Screen(
        title=f"Evaluated {_kind(config)}",
        facts=_facts(config, data, made=recorded.get("model")),
        verdicts=_verdicts(config, report),
        table=_table(config, report),
        saved=str(run),
        commands=(
            *more,
            ("twotower", "compare", run),
            ("twotower", "report", run),
        ),
        ends="" if full else _rest({**report, "data": data}, "--full prints every metric and slice"),
    )


def compared(
    config: Config,
    comparison: Mapping[str, Any],
    command: Sequence[str],
    run: Path | None = None,
    *,
    full: bool = False,
) -> Screen:
    """Return the screen after a comparison.

    Args:
        config: of our model.
        comparison: as `Compared.as_dict`.
        command: the config and the settings as they were typed.
        run: the run that was compared; None if the model was trained only for the comparison.
        full: whether every model, metric and note is printed above.
    """
    beside = best_of(comparison)
    others = [name for name in comparison["models"] if name != comparison["against"]]
    seeds = len(comparison.get("seeds", {}).get("seeds", ()))
    verdicts = [Verdict("No baseline could be fitted: see --full for why.")] if beside is None else []
    if beside is not None:
        verdicts.append(judged(beside))
        rest = _ordered(comparison, beside.name)
        if rest:
            verdicts.append(
                Verdict(f"That is the best of {count_of(len(others), 'baseline')}; next: {rest}.")
            )
    verdicts += _ranks_too(comparison.get("popularity") or {})
    won = bool(verdicts) and verdicts[0].way == "better"
    data = comparison["data"]
    skipped, unsaved = list(comparison["skipped"]), "Nothing is saved" if run is None else ""
    more = "--full prints every model and metric"
    if skipped:
        more += f", and why {', '.join(skipped)} {'is' if len(skipped) == 1 else 'are'} left out"
    more = "; ".join(filter(None, (unsaved, more)))
    return Screen(
        title=f"Compared {_kind(config)} with {count_of(len(others), 'baseline')}"
        + (f", {seeds} seeds" if seeds > 1 else ""),
        facts=_facts(config, data, comparison["seconds"], comparison.get("model")),
        verdicts=tuple(verdicts),
        table=table_alone(comparison["models"][comparison["against"]]["metrics"])
        if beside is None
        else table_of(beside),
        saved="" if run is None else str(run),
        commands=_after_comparison(command, run, won=won),
        ends=(unsaved and f"{unsaved}.") if full else _rest({"data": data}, more),
    )


def demonstrated(
    configs: tuple[Config, Config],
    rating: Mapping[str, Any],
    ranking: Mapping[str, Any],
    run: Path,
    user: Any,
    titles: Sequence[str],
    *,
    full: bool = False,
) -> Screen:
    """Return the screen after the demonstration.

    Args:
        configs: of the model that predicts, and of the model that ranks.
        rating: comparison of the first with its baselines.
        ranking: comparison of the second with its baselines.
        run: directory of the second.
        user: whom the titles are recommended to.
        titles: the recommended items, best first.
        full: whether every model, metric and note is printed above.
    """
    _, config = configs
    verdicts = []
    for comparison, what in ((ranking, "Ranks videos"), (rating, "Predicts watch ratios")):
        beside = best_of(comparison)
        if beside is not None:
            found = judged(beside)
            says = found.says[:1].lower() + found.says[1:]
            verdicts.append(Verdict(f"{what}: {says}", found.way))
    best = best_of(ranking)
    data = ranking["data"]
    return Screen(
        title="Trained two models on a sample of KuaiRec: one ranks, one predicts",
        facts=_facts(config, data, ranking["seconds"], ranking.get("model")),
        verdicts=tuple(verdicts),
        table=None if best is None else table_of(best),
        items=(
            f"recommended to user {user}",
            tuple(f"{place}  {title}" for place, title in enumerate(titles[:_ITEMS], 1)),
        ),
        saved=str(run),
        commands=(
            ("twotower", "recommend", run, "--user", str(user)),
            ("twotower", "report", run),
            ("twotower", "init", "YOUR.csv", "--out", "mine.toml"),
        ),
        ends="" if full else "--full prints every model and metric, and all ten videos.",
    )


def seeded(config: Config, found: Mapping[str, Any], out: Path, command: Sequence[str]) -> Screen:
    """Return the screen after training with several seeds.

    Args:
        config: of the first seed.
        found: as `train_seeds` returns it.
        out: the directory of the runs.
        command: the config and the settings as they were typed.
    """
    metrics = {**found["ranking"]} if config.objective.implicit else {**found["rating"]}
    rows = [
        (title_of(metric), *(f"{metrics[metric][key]:.4f}" for key in ("mean", "sd", "min", "max")))
        for metric in short_metrics(metrics)
        if metrics[metric]["mean"] is not None
    ]
    n = len(found["seeds"])
    if sum(len(word) + 1 for word in command) > _LONGEST_CONFIG:
        command = ["CONFIG"]
    return Screen(
        title=f"Trained {_kind(config)} with {count_of(n, 'seed')}",
        facts=_model(config),
        verdicts=(
            Verdict(f"Judge differences between models by the spread of {title_of(main_metric(metrics))}."),
        ),
        table=Table(("metric", "mean", "sd", "lowest", "highest"), tuple(rows)),
        saved=str(out),
        commands=(("twotower", "compare", *command, "--seeds", str(n)),),
        ends=f"Each seed has a run: {', '.join(found['runs'])}.",
    )


def _after_comparison(command: Sequence[str], run: Path | None, *, won: bool) -> tuple[Words, ...]:
    """Return the next commands after a comparison; if our model is not better, one tunes it."""
    config: Sequence[str | Path] = command if run is None else [run / "config.toml"]
    if run is None and sum(len(str(word)) + 1 for word in command) > _LONGEST_CONFIG:
        config = ["CONFIG"]
    next_one: Words = ("twotower", "report", run) if run is not None else ()
    if run is None:
        next_one = ("twotower", "train", *config, "--out", "runs/first")
    tune: Words = ("twotower", "tune", *config, "--out", "runs/tuned")
    return (next_one,) if won else (next_one, tune)


def _kind(config: Config) -> str:
    return "a model that ranks" if config.objective.implicit else "a model that predicts the label"


def _facts(
    config: Config,
    data: Mapping[str, Any],
    seconds: float | None = None,
    made: Mapping[str, Any] | None = None,
) -> tuple[tuple[str, str], ...]:
    where, rows = config.data.interactions, data.get("rows", {})
    name = config.data.source if where is None else Path(where).name
    sizes = [
        count_of(data[what], noun) for what, noun in (("users", "user"), ("items", "item")) if what in data
    ]
    names = {"train": "training", "validation": "validation", "test": "test"}
    split = ", ".join(f"{rows[part]:,} {name}" for part, name in names.items() if part in rows)
    return (
        ("data", f"{name}: {', '.join([count_of(sum(rows.values()), 'row'), *sizes])}"),
        ("split", f"{config.split.method}: {split} rows"),
        *_model(config, seconds, made),
    )


def _model(
    config: Config, seconds: float | None = None, made: Mapping[str, Any] | None = None
) -> tuple[tuple[str, str], ...]:
    """Return what was trained; the kind of towers and ``dim`` are those in ``made``, if known."""
    took = "" if seconds is None else f"; {seconds:.0f} s" if seconds >= 100 else f"; {seconds:.1f} s"
    kind, dim = config.model.kind, config.model.dim
    if made:
        kind, dim = made["kind"], made["dim"]
    # of several kinds each has its own objective
    named = "" if config.model.kind == AUTO else f", objective {config.objective.name}"
    return (("model", f"{kind}{named}, dim {dim}, seed {config.seed}{took}"),)


def _verdicts(config: Config, report: Mapping[str, Any]) -> tuple[Verdict, ...]:
    """Return how a model does beside the only baseline that training measures, and where the others are."""
    found = []
    beside = of_evaluation(report, "ranking" if config.objective.implicit else "rating")
    if beside is not None:
        found.append(judged(beside))
    if not config.objective.implicit:
        found += _ranks_too(report.get("popularity") or {})
    known = "No baseline is measured here" if beside is None else "That is the only baseline measured here"
    found.append(Verdict(f"{known}; `twotower compare` tunes the others."))
    if (stages := report.get("stages")) is not None:
        found.append(Verdict(f"{stages['says']}."))
    return tuple(found)


def _ranks_too(popularity: Mapping[str, Any]) -> list[Verdict]:
    """Say of a model that predicts that it ranks no better than popularity, if so."""
    if not popularity or popularity["verdict"] == "better":
        return []
    how = "worse" if popularity["verdict"] == "worse" else "no better"
    return [
        Verdict(
            f"It ranks {how} than popularity: to recommend, train with objective.name = "
            f"'{first_that(predicts=False)}'.",
            "worse" if how == "worse" else "unclear",
        )
    ]


def _table(config: Config, report: Mapping[str, Any]) -> Table | None:
    kind = "ranking" if config.objective.implicit else "rating"
    beside = of_evaluation(report, kind)
    if beside is not None:
        return table_of(beside)
    return table_alone(report[kind]) if report[kind] else None


def _use(config: Config, run: Path, user: Any) -> tuple[Words, ...]:
    """Return the command that uses the model."""
    if not config.objective.implicit:
        return (("twotower", "score", run, "--pairs", "PAIRS.csv", "--out", "predictions.csv"),)
    text = str(user)
    plain = user is not None and text.isprintable() and len(text) <= _LONGEST_ID
    return (("twotower", "recommend", run, "--user", text if plain else "ID"),)


def _rest(metrics: Mapping[str, Any], more: str) -> str:
    """Say where the rest is, and how many notes there are."""
    notes = len(metrics["data"].get("notes", ())) + len(metrics.get("notes", ()))
    said = notes_said(notes, f"--full prints {'it' if notes == 1 else 'them'}")
    return f"{more}. {said}".strip()


def _ordered(comparison: Mapping[str, Any], best: str) -> str:
    """Return the other baselines with the main metric, the best first."""
    models = comparison["models"]
    metric = main_metric(models[comparison["against"]]["metrics"])
    sign = -1.0 if higher_is_better(metric) else 1.0
    values = {
        name: model["metrics"][metric]["value"]
        for name, model in models.items()
        if name not in (best, comparison["against"])
    }
    known = sorted((name for name in values if values[name] is not None), key=lambda one: sign * values[one])
    return ", ".join(f"{name} {values[name]:.3f}" for name in known)

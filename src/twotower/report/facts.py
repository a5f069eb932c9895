"""Model and data: the settings that matter, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from twotower import __version__
from twotower.config import Config
from twotower.core.wording import count_of
from twotower.data.splits import SPLITS
from twotower.recommender.drift import drift_said
from twotower.report.case import Case
from twotower.report.history import best_epoch, by_kind, epochs_of
from twotower.report.wording import number, percent
from twotower.targets.registry import TRANSFORMS

Facts = list[tuple[str, str]]

_UNKNOWN = "not recorded"


def data_facts(case: Case) -> Facts:
    """Return the data, its split, and what counts as a positive."""
    config, schema = case.config, case.parts.train.schema
    train = case.parts.train
    facts = [
        ("Source", _source(config)),
        ("Split", SPLITS.get(config.split.method).described(config.split)),
        ("Catalogue", f"{number(train.users.height)} users, {number(train.items.height)} items"),
        ("Density of the training set", percent(_density(case), 2)),
        ("Label", schema.label or "none: all interactions count the same"),
        ("Positives", _positives(case)),
    ]
    for which in ("users", "items"):
        kinds = Counter(kind.name for kind in getattr(schema, which).values())
        each = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        facts.append((f"Features of {which}", f"{kinds.total()}: {each}" if kinds else "none"))
    if schema.context:
        facts.append(("Context", ", ".join(f"{name} ({kind.name})" for name, kind in schema.context.items())))
    facts.append(("Fingerprint", f"{case.data.now[:16]}, {_sameness(case.data.then, case.data.now)}"))
    return facts


def feature_facts(case: Case) -> Facts:
    """Return the name and the kind of every feature."""
    schema = case.parts.train.schema
    return [
        (name, f"{kind}, of {which}")
        for which in ("users", "items")
        for name, kind in getattr(schema, which).items()
    ]


def model_facts(case: Case) -> Facts:
    """Return what was trained, how, and how long it took."""
    config, model = case.config, case.recommender.model.config
    seconds: Mapping[str, float] = case.recorded.get("seconds", {})
    kinds = case.recommender.kinds
    hidden = " and ".join(map(str, model.widths))
    facts = [
        ("Towers", case.recommender.kind_said + (f", hidden layers of {hidden}" if hidden else "")),
        *([] if kinds is None else [("Chosen", f"by {kinds}")]),
        *([("Objective", _objective(config))] if kinds is None else []),
        ("Vectors", f"{model.dim} dimensions, {_members(model.n_members)}"),
        *(
            (f"Epochs of {kind}" if kind else "Epochs", _epochs(history, config))
            for kind, history in by_kind(case.history).items()
        ),
        *([("Learning rate", _rate(config))] if model.kind == config.model.kind else []),
        ("Seed", str(config.seed)),
        ("Version", str(case.recorded.get("version", _UNKNOWN))),
        ("Trained", str(case.recorded.get("finished", _UNKNOWN)).replace("T", " ").replace("+00:00", " UTC")),
    ]
    if (further := case.recorded.get("continued")) is not None:
        added = ", ".join(
            count_of(further[what], word)
            for what, word in (("events", "event"), ("new_users", "new user"), ("new_items", "new item"))
        )
        drift = drift_said(further["drift"])
        facts.append(("Continued", f"on {added}; drift from what was trained on before, 0 to 1: {drift}"))
    if seconds:
        each = ", ".join(f"{name} {of:.1f}" for name, of in seconds.items())
        facts.append(("Time taken", f"{sum(seconds.values()):.1f} s ({each})"))
    facts.append(("Report made by", f"twotower {__version__}"))
    return facts


def _epochs(history: Sequence[Mapping[str, Any]], config: Config) -> str:
    epochs, refit, kept = epochs_of(history, "train"), epochs_of(history, "refit"), best_epoch(history)
    most = config.training.most_epochs
    went = f"{len(epochs)}" + (f" of at most {most}" if all("kind" not in one for one in history) else "")
    if kept is not None:
        went += f"; epoch {kept} was the best on the validation set"
    if refit:
        went += f"; then {len(refit)} on the training and validation sets together"
    return went


def _source(config: Config) -> str:
    data = config.data
    if data.source == "tables":
        parts = (config.split.train, config.split.test) if config.split.kind().reads_files else ()
        tables = (data.interactions, data.users, data.items, *parts)
        return ", ".join(table for table in tables if isinstance(table, str))
    return data.source + (f", {data.dir}" if data.dir else "")


def _objective(config: Config) -> str:
    settings = config.objective.model_dump(exclude={"name"})
    own = {name: value for name, value in settings.items() if name != "regularisation" and value is not None}
    if own.get("transform") == TRANSFORMS.default:
        del own["transform"]
    said = {**own, "regularisation": settings["regularisation"]}
    words = (
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in said.items()
    )
    return f"{config.objective.name} ({', '.join(words)})"


def _rate(config: Config) -> str:
    if config.solved:
        return "none: the vectors are solved in closed form"
    training = config.training.model_dump()
    rate, schedule = training.get("learning_rate", "auto"), training.get("schedule")
    said = rate if isinstance(rate, str) else f"{rate:g}"
    return said if schedule is None else f"{said}, schedule {schedule}"


def _members(members: int) -> str:
    return "one model" if members == 1 else f"split among {members} small models whose scores are averaged"


def _positives(case: Case) -> str:
    label = case.parts.train.schema.label
    for rule, value in case.config.positive:
        if value is not None:
            meaning = {
                "threshold": f"{label} of at least {value:g}",
                "quantile": f"{label} of at least its {value:g} quantile in the training set",
                "duration_rank": f"{label} of rank {value:g} or more among items of similar duration",
            }
            return meaning[rule]
    return "every interaction"


def _density(case: Case) -> float:
    train = case.parts.train
    users = train.interactions.get_column(train.schema.user).n_unique()
    items = train.interactions.get_column(train.schema.item).n_unique()
    return len(train) / max(users * items, 1)


def _sameness(then: str | None, now: str) -> str:
    if then is None:
        return "the run recorded none"
    return (
        "the same as when it was trained" if then == now else f"not the one it was trained on ({then[:16]})"
    )

"""The content of a report, in its order: all that the template shows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from twotower.audit.finding import Finding, Severity
from twotower.config import dump_config
from twotower.core.wording import count_of
from twotower.data.verbs import verb_of
from twotower.evaluation import RankingEvaluation
from twotower.metrics import metric_of, verdict_on
from twotower.report import sections, tables
from twotower.report.case import Case
from twotower.report.doctor import PROBES
from twotower.report.facts import data_facts, feature_facts, model_facts
from twotower.report.item_map import map_of
from twotower.report.people import people_of
from twotower.report.wording import LEFT_OUT, bounds, interval, metric_name, number, percent, signed
from twotower.workflows.reading import notes_of


@dataclass(frozen=True)
class Tile:
    """A figure that is seen first."""

    name: str
    value: str
    more: str
    mood: str = ""


def content_of(case: Case, findings: tuple[Finding, ...], title: str) -> dict[str, Any]:
    """Return all that the template of the page reads."""
    return {
        "title": title,
        "kind": "a ranking model" if case.ranks else "a rating model",
        "verdict": _verdict(case),
        "changed": case.data.changed,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "tiles": _tiles(case, findings),
        "findings": findings,
        "silent": [probe.looks_for for probe in PROBES if all(probe.name != of.check for of in findings)],
        "data_facts": data_facts(case),
        "model_facts": model_facts(case),
        "feature_facts": feature_facts(case),
        "parts": tables.parts_table(case),
        "notes": notes_of(case.parts),
        "measured_notes": [*case.evaluation.notes, *_ranking_said(case)],
        "accuracy": sections.accuracy(case),
        "curves": sections.curves(case),
        "calibration": sections.calibration(case),
        "slices": sections.slices(case),
        "variety": sections.variety(case),
        "importance": sections.importance(case),
        "map": map_of(case.recommender, case.parts.train.items),
        "people": () if case.lists is None else people_of(case.recommender, case.lists),
        "label": case.parts.train.schema.label,
        "verb": verb_of(case.parts.train.schema, case.config.data.interactions or ""),
        "meanings": _meanings(case),
        "config": dump_config(case.config),
        "fingerprint": case.data.now,
    }


def _verdict(case: Case) -> str:
    of, beside = case.measured, case.evaluation.popularity
    name, score = metric_name(case.main), interval(case.score)
    warning = "" if beside is None or beside.verdict == "better" else f" {beside.says}"
    if isinstance(of, RankingEvaluation):
        asked = (
            f"For {count_of(of.users, 'user')} and {count_of(of.positives, 'liked item')} of the test "
            "set, ranking "
            f"{count_of(of.items, 'item')}"
        )
        return f"{asked}, the model has {name} {score}. {tables.differences_said(case)}{warning}"
    label = case.parts.test.schema.label
    return (
        f"On {count_of(of.rows, 'interaction')} of the test set, the model predicts {label} with {name} "
        f"{score}. {tables.differences_said(case)}{warning}"
    )


def _ranking_said(case: Case) -> list[str]:
    """Say how the ranking compares with popularity, and which test positives are not ranked for."""
    of = case.evaluation
    said = [] if of.popularity is None else [of.popularity.says]
    if of.ranking is not None and any(of.ranking.left_out.values()):
        counts = ", ".join(f"{n:,} {LEFT_OUT[why]}" for why, n in of.ranking.left_out.items() if n)
        said.append(f"{of.ranking.positives:,} test positives are ranked for; left out: {counts}")
    return said


def _tiles(case: Case, findings: tuple[Finding, ...]) -> list[Tile]:
    tiles = [Tile(metric_name(case.main), number(case.score.value), bounds(case.score))]
    best = case.best_baseline
    if best is not None and case.compared is not None:
        gap = case.compared.comparison.ours_minus[best][case.main]
        verdict = verdict_on(gap.value, gap.low, gap.high, higher_is_better=case.higher_is_better)
        theirs = case.compared.comparison.models[best].metrics[case.main].value
        share = percent(abs(gap.value / theirs), 1) if theirs else signed(gap.value)
        way = "better" if (gap.value > 0) == case.higher_is_better else "worse"
        mood = {"better": "good", "worse": "bad"}.get(verdict, "")
        mark = {"good": "▲ ", "bad": "▼ ", "": "≈ "}[mood]
        within = f"{interval(gap, sign=True)}, ours minus {best}" + ("" if mood else "; may be chance")
        tiles.append(Tile(f"{metric_name(case.main)} vs {best}", f"{mark}{share} {way}", within, mood))
    else:
        tiles.append(Tile("Baselines", "none", "switched off"))
    counts = {severity: sum(of.severity is severity for of in findings) for severity in Severity}
    serious = counts[Severity.ERROR] + counts[Severity.WARNING]
    told = ", ".join(count_of(counts[severity], severity.value) for severity in Severity)
    mood = "bad" if counts[Severity.ERROR] else "warn" if serious else "good"
    tiles.append(Tile("Doctor", "✓ healthy" if not serious else f"! {serious} to fix", told, mood))
    users = case.parts.test.interactions.get_column(case.parts.test.schema.user).n_unique()
    tiles.append(Tile("Test set", count_of(len(case.parts.test), "row"), f"of {count_of(users, 'user')}"))
    return tiles


def _meanings(case: Case) -> list[tuple[str, str]]:
    names = dict.fromkeys(name.partition("@")[0] for name in case.evaluation.metrics)
    known = [(name, of) for name in names if (of := metric_of(name)) and of.meaning]
    said = [(metric_name(name), of.meaning) for name, of in known if name == of.name]
    if len(said) < len(known):
        what = "labels and predictions are cut off at the cap first, so that a few huge ones do not dominate"
        said.append(("capped", what))
    said.append(
        (
            "popular and rare",
            "the most popular items hold a third of the rows of the training set, the rarest another third",
        )
    )
    said.append(
        (
            "95% interval",
            "from resampled users: with other users of the same kind, the figure would lie within it 95 "
            "times in 100",
        )
    )
    return said

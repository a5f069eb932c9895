"""The trials' file, and proposals that depend only on the seed and the finished trials."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from twotower.errors import BundleError, MissingExtraError
from twotower.workflows.tuning import Choices, Space, Span, _optuna
from twotower.workflows.tuning._optuna import LEAST_FOR_IMPORTANCE, Study
from twotower.workflows.tuning.trials import best_of


@pytest.fixture(autouse=True)
def soon_by_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """After three random trials the sampler uses their values, so more has to be the same."""
    monkeypatch.setattr(_optuna, "STARTUP_TRIALS", 3)


SPACE = Space(
    {
        "objective.name": Choices(("squared", "huber")),
        "objective.delta": Span(0.5, 2.0, log=True),
        "model.hidden": Choices(([], [8], [8, 4])),
        "model.embedding_dim": Span(2, 9),
    },
)
FIRST = {"objective.name": "squared", "model.hidden": [8], "model.embedding_dim": 8}


def worth(values) -> float:
    return values["model.embedding_dim"] + len(values["model.hidden"]) + values.get("objective.delta", 0.0)


def tried(study: Study, n: int) -> list[dict]:
    proposals = []
    for _ in range(n):
        number, values = study.ask(SPACE, "squared", FIRST)
        study.complete(number, worth(values))
        proposals.append(values)
    return proposals


def test_the_first_is_the_given_one_and_all_lie_in_the_space(tmp_path: Path) -> None:
    proposals = tried(Study(tmp_path / "study.db", maximise=True, seed=1), 8)
    assert proposals[0] == FIRST
    for values in proposals:
        assert ("objective.delta" in values) == (values["objective.name"] == "huber")
        assert all(SPACE.parameters[key].holds(value) for key, value in values.items())
    assert len({str(values) for values in proposals}) > 4


def test_the_same_seed_proposes_the_same_and_another_seed_something_else(tmp_path: Path) -> None:
    a, b, c = (
        tried(Study(tmp_path / f"{name}.db", maximise=True, seed=seed), 6)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert a == b
    assert a[1:] != c[1:]


def test_a_break_changes_no_proposal(tmp_path: Path) -> None:
    unbroken = tried(Study(tmp_path / "a.db", maximise=True, seed=1), 7)
    path = tmp_path / "b.db"
    before = tried(Study(path, maximise=True, seed=1), 5)
    Study(path, maximise=True, seed=1).ask(SPACE, "squared", FIRST)  # and is gone
    again = Study(path, maximise=True, seed=1)
    assert again.give_up_broken() == 1
    after = tried(again, 2)
    assert before + after == unbroken
    states = [trial.state for trial in again.trials()]
    assert states == ["complete"] * 5 + ["failed"] + ["complete"] * 2
    assert again.trials()[5].note == "interrupted"


def test_a_break_of_the_first_trial_leaves_it_the_first(tmp_path: Path) -> None:
    Study(tmp_path / "a.db", maximise=True, seed=1).ask(SPACE, "squared", FIRST)
    again = Study(tmp_path / "a.db", maximise=True, seed=1)
    again.give_up_broken()
    assert tried(again, 2)[0] == FIRST


def test_hopeless_is_what_most_others_were_better_than(tmp_path: Path) -> None:
    study = Study(tmp_path / "a.db", maximise=True, seed=1)
    for level in range(1, 6):
        assert study.medians() == {}  # too few
        number, _ = study.ask(SPACE, "squared", FIRST)
        assert not any(study.hopeless(number, epoch, level + epoch / 10) for epoch in range(1, 8))
        study.complete(number, level)
    number, _ = study.ask(SPACE, "squared", FIRST)
    medians = study.medians()  # of levels 1 to 5
    assert medians == {epoch: 3 + epoch / 10 for epoch in (5, 6, 7)}
    stopped = [study.hopeless(number, epoch, 2.0) for epoch in range(1, 7)]
    assert stopped == [False] * 4 + [True] * 2
    assert stopped == [epoch in medians and medians[epoch] > 2.0 for epoch in range(1, 7)]
    study.prune(number, "as was to be shown")
    number, _ = study.ask(SPACE, "squared", FIRST)
    assert not any(study.hopeless(number, epoch, 4.0 + epoch / 10) for epoch in range(1, 8))
    study.fail(number, "no")
    pruned, failed = study.trials()[-2:]
    assert (pruned.state, pruned.value, pruned.epochs, pruned.note) == (
        "pruned",
        2.0,
        6,
        "as was to be shown",
    )
    assert (failed.state, failed.value) == ("failed", None)
    assert best_of(study.trials(), maximise=True).value == 5
    assert best_of(study.trials(), maximise=False).value == 1


def test_importance_finds_what_matters_and_says_nothing_of_few(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_optuna, "STARTUP_TRIALS", 99)
    study = Study(tmp_path / "a.db", maximise=True, seed=1)
    space = Space({"model.dropout": Span(0.0, 0.5), "model.embedding_dim": Span(2, 9)})
    first = {"model.dropout": 0.1, "model.embedding_dim": 8}
    for done in range(LEAST_FOR_IMPORTANCE):
        assert study.importance() == {}, done
        number, values = study.ask(space, "squared", first)
        study.complete(number, values["model.embedding_dim"] + values["model.dropout"] / 10)
    shares = study.importance()
    assert next(iter(shares)) == "model.embedding_dim"
    assert shares["model.embedding_dim"] > 0.8
    assert sum(shares.values()) == pytest.approx(1.0)


def test_facts_are_kept(tmp_path: Path) -> None:
    Study(tmp_path / "a.db", maximise=True, seed=1).keep_fact("rows", {"train": 3})
    study = Study(tmp_path / "a.db", maximise=True, seed=1)
    assert study.fact("rows") == {"train": 3}
    assert study.fact("nothing") is None


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"no database at all, but long enough to be taken for one" * 40)
    with pytest.raises(BundleError, match=r"could not read or write the trials in .*a\.db"):
        Study(tmp_path / "a.db", maximise=True, seed=1)


def test_without_optuna(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    _optuna._optuna.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'twotower\[tune\]'"):
        Study(tmp_path / "a.db", maximise=True, seed=1)
    _optuna._optuna.cache_clear()

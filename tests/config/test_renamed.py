"""Settings that were renamed: the old names work, warn once, and saved files are read without a word."""

from __future__ import annotations

import json
import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from twotower import TwoTower
from twotower.audit.finding import Finding, Severity
from twotower.config import Config, dump_config, load_config, with_values
from twotower.config.renamed import RENAMED, current_metrics
from twotower.errors import ConfigError, RenamedWarning
from twotower.workflows.run import Run
from twotower.workflows.tuning._optuna import Study
from twotower.workflows.tuning.space import Choices, Space, Span, current_names, read_space

OLD = [(section, old, new) for section, names in RENAMED.items() for old, new in names.items()]
VALUES = {"feature_dim": 12, "members": 2, "unobserved": 0.3, "floor": 0.4}
NEW_TABLES = """
[data]
interactions = "ratings.csv"
[schema]
user = "user"
item = "item"
label = "rating"
"""


def _of(config: Config, section: str, name: str) -> object:
    return getattr(getattr(config, section), name)


def _kind(section: str) -> str:
    return "mlp" if section == "model" else "linear"


@pytest.mark.parametrize(("section", "old", "new"), OLD)
def test_a_file_may_use_the_old_name(tmp_path: Path, section: str, old: str, new: str) -> None:
    sections = {"model": f'kind = "{_kind(section)}"\n', "objective": ""}
    sections[section] += f"{old} = {VALUES[old]}\n"
    path = tmp_path / "config.toml"
    path.write_text(NEW_TABLES + "".join(f"[{name}]\n{text}" for name, text in sections.items()))
    with pytest.warns(RenamedWarning, match=rf"{section}\.{old} is now called {section}\.{new}") as shown:
        config = load_config(path)
    assert len(shown) == 1
    assert _of(config, section, new) == VALUES[old]
    assert f"\n{new} = {VALUES[old]}\n" in dump_config(config)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_config(path, saved=True) == config


@pytest.mark.parametrize(("section", "old", "new"), OLD)
def test_an_override_and_a_keyword_may_use_the_old_name(section: str, old: str, new: str) -> None:
    with pytest.warns(RenamedWarning, match=new) as shown:
        config = load_config(
            "kuairec-sample-ranking", [f"model.kind={_kind(section)}", f"{section}.{old}={VALUES[old]}"]
        )
    assert len(shown) == 1
    assert _of(config, section, new) == VALUES[old]
    with pytest.warns(RenamedWarning, match=new) as shown:
        changed = with_values(config, {f"{section}.{old}": VALUES[old]}, "test")
    assert len(shown) == 1
    assert changed == config
    with pytest.warns(RenamedWarning, match=new) as shown:
        model = TwoTower(kind=_kind(section), **{old: VALUES[old]})
    assert len(shown) == 1
    assert getattr(getattr(model, section), new) == VALUES[old]


def test_an_override_under_the_old_name_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(NEW_TABLES + "[objective]\nmin_grade = 0.1\n")
    with pytest.warns(RenamedWarning):
        assert load_config(path, ["objective.floor=0.5"]).objective.min_grade == 0.5


def test_both_names_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"members is now called .* got both\. Keep ensemble_size"):
        TwoTower(ensemble_size=2, members=2)


def test_a_space_and_saved_trials_may_use_the_old_names(tmp_path: Path) -> None:
    space = Space(
        {"objective.unobserved_weight": Span(0.05, 0.5), "objective.min_grade": Choices((0.1, 0.4))},
        load_config("kuairec-sample-ranking"),
    )
    old = space.dump().replace("unobserved_weight", "unobserved").replace("min_grade", "floor")
    assert "unobserved =" in old
    assert current_names(old) == space.dump()
    path = tmp_path / "space.toml"
    path.write_text(old)
    with pytest.warns(RenamedWarning):
        assert (
            read_space(path, load_config("kuairec-sample-ranking")).parameters.keys()
            == space.parameters.keys()
        )

    file = tmp_path / "study.db"
    first = {"objective.unobserved_weight": 0.2, "objective.min_grade": 0.4}
    study = Study(file, maximise=True, seed=1)
    for value in range(12):
        study.complete(study.ask(space, "all_pairs", first)[0], value)
    values, importance = [trial.values for trial in study.trials()], study.importance()
    with closing(sqlite3.connect(file)) as database, database:
        for new, name in (("unobserved_weight", "unobserved"), ("min_grade", "floor")):
            database.execute(
                "UPDATE trial_params SET param_name = ? WHERE param_name = ?",
                (f"objective.{name}", f"objective.{new}"),
            )
            database.execute(
                "UPDATE trial_user_attributes SET value_json = replace(value_json, ?, ?)", (new, name)
            )
    with warnings.catch_warnings():
        warnings.simplefilter("error", RenamedWarning)
        again = Study(file, maximise=True, seed=1)
        assert [trial.values for trial in again.trials()] == values
        assert again.importance() == importance


def test_saved_metrics_are_read_under_their_new_names(tmp_path: Path) -> None:
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    run = Run(tmp_path)
    run.metrics_file.write_text(json.dumps({"ranking": {"ndcg@10": interval, "popularity@10": interval}}))
    assert list(run.metrics()["ranking"]) == ["ndcg@10", "avg_popularity_percentile@10"]
    assert current_metrics({"popularity@5": 1}) == {"avg_popularity_percentile@5": 1}


def test_the_fix_of_a_finding_has_its_old_name_too() -> None:
    finding = Finding("columns", Severity.NOTE, "a", "b", "c", "do it")
    assert finding.as_dict()["fix"] == finding.as_dict()["mend"] == "do it"
    with pytest.warns(RenamedWarning, match=r"Finding\.fix"):
        assert finding.mend == "do it"

"""How evaluations and comparisons show themselves: text, tables, frames and charts."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
from test_evaluation_model import Scores

from twotower.config.schema import Schema
from twotower.core import charts
from twotower.data.dataset import Dataset
from twotower.errors import ConfigError, MissingExtraError
from twotower.evaluation import compare_rankings, compare_ratings, evaluate_model
from twotower.evaluation.model_evaluation import Evaluation
from twotower.metrics import higher_is_better
from twotower.targets.positive import PositiveRule

MOST = 1_000
"""Characters of a repr."""


@pytest.fixture(scope="module")
def parts() -> tuple[Dataset, Dataset]:
    rng = np.random.default_rng(3)
    cells = rng.permutation(40 * 25)[:600]
    frame = pl.DataFrame({"user": cells // 25, "item": cells % 25, "stars": rng.integers(1, 6, 600)})
    schema = Schema(user="user", item="item", label="stars")
    return Dataset.of(frame[:400], schema=schema), Dataset.of(frame[400:], schema=schema)


@pytest.fixture(scope="module")
def evaluation(parts) -> Evaluation:
    train, test = parts
    return evaluate_model(Scores(), test, train, PositiveRule(threshold=4.0), resamples=50, cap=4.0)


def test_an_evaluation_says_what_it_found_in_few_words(evaluation: Evaluation) -> None:
    text = repr(evaluation)
    assert len(text) < MOST
    assert text.startswith("Evaluation on 200 test rows, 25 items ranked for ")
    ndcg = evaluation.metrics["ndcg@10"]
    (line,) = (line for line in text.splitlines() if "ndcg@10 " in line)
    assert line.split(maxsplit=2) == ["ndcg@10", f"{ndcg:.4f}", f"[{ndcg.low:.4f}, {ndcg.high:.4f}]"]
    assert evaluation.popularity.says[:100] in text
    for part in (evaluation.rating, evaluation.ranking, evaluation.popularity):
        assert len(repr(part)) < MOST
    for group in evaluation.slices["ranking"].values():
        for found in group.values():
            assert len(repr(found)) < MOST


def test_notebooks_get_a_table_beside_popularity(evaluation: Evaluation) -> None:
    root = ET.fromstring(evaluation._repr_html_())
    head = [cell.text for cell in root.iter("th")]
    assert head == [None, "value", "95% interval", "popularity"]
    rows = {cells[0].text: cells for cells in (row.findall("td") for row in root.iter("tr")) if cells}
    assert rows["ndcg@10"][1].text == f"{evaluation.metrics['ndcg@10']:.4f}"
    assert rows["ndcg@10"][3].text == f"{evaluation.popularity.metrics['ndcg@10']:.4f}"
    assert rows["rmse"][3].text is None


def test_a_frame_holds_every_metric(evaluation: Evaluation) -> None:
    frame = evaluation.to_frame()
    assert frame.columns == ["metric", "value", "low", "high", "higher_is_better"]
    assert frame["metric"].to_list() == list(evaluation.metrics)
    row = frame.row(by_predicate=pl.col("metric") == "rmse", named=True)
    rmse = evaluation.metrics["rmse"]
    assert (row["value"], row["low"], row["high"]) == (rmse.value, rmse.low, rmse.high)
    assert row["higher_is_better"] is False
    gini = frame.row(by_predicate=pl.col("metric") == "gini@10", named=True)
    assert (gini["low"], gini["higher_is_better"]) == (None, None)


def test_a_frame_of_slices(evaluation: Evaluation) -> None:
    frame = evaluation.to_frame(slices=True)
    slices = {
        (group, name): found
        for part in evaluation.slices.values()
        for group, members in part.items()
        for name, found in members.items()
    }
    assert set(frame.select("group", "slice").iter_rows()) == set(slices)
    assert frame.height == sum(
        len(found.metrics)
        for part in evaluation.slices.values()
        for of in part.values()
        for found in of.values()
    )
    warm = frame.filter(group="user", slice="warm", metric="recall@10").row(0, named=True)
    assert warm["users"] == evaluation.ranking.slices["user"]["warm"].users


def test_directions() -> None:
    assert (higher_is_better("rmse"), higher_is_better("ndcg@7"), higher_is_better("gini@7")) == (
        False,
        True,
        None,
    )
    assert higher_is_better("mine", {"mine": False}) is False


def marks(chart: charts.Chart) -> list[dict]:
    return chart.spec["data"]["values"]


def test_a_chart_has_each_metric_and_its_interval(evaluation: Evaluation, tmp_path) -> None:
    chart = evaluation.plot()
    ours = {row["name"]: row for row in marks(chart) if row["model"] == "model"}
    assert ours["rmse"]["group"] == "Error of predictions, in the label's units"
    assert ours["ndcg@10"]["high"] == evaluation.metrics["ndcg@10"].high
    assert {row["name"] for row in marks(chart) if row["model"] == "popularity"} == {
        f"{kind}@{k}" for kind in ("ndcg", "recall") for k in (10, 20, 100)
    }
    shown = chart._repr_mimebundle_()
    assert shown["image/svg+xml"].startswith("<svg")
    assert "ndcg@100" in shown["image/svg+xml"]
    for name in ("a.svg", "a.png", "a.html", "a.json"):
        chart.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 500
    assert json.loads((tmp_path / "a.json").read_text())["data"] == chart.spec["data"]
    with pytest.raises(ConfigError, match=r"a chart is saved as .svg, .png, .html, .json; got '.gif'"):
        chart.save(tmp_path / "a.gif")


def test_a_chart_without_its_package_says_how_to_get_it(evaluation, monkeypatch) -> None:
    def missing(name: str):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(charts, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'twotower\[report\]'"):
        evaluation.plot()


def test_a_comparison_tells_the_lead_of_ours_best_model_first(parts) -> None:
    train, test = parts
    stars = test.interactions["stars"].to_numpy().astype(float)
    models = {"ours": stars + 0.5, "bad": 6 - stars, "best": stars + 0.1, "same": stars + 0.5}
    found = compare_ratings(models, test, train, against="ours", resamples=50)
    lines = repr(found).splitlines()
    assert lines[0] == "4 models, predictions of 200 test rows"
    assert lines[1].split("  ")[-1] == "ours is"
    assert [line.split()[0] for line in lines[2:]] == ["best", "ours", "same", "bad"]
    assert lines[2].endswith("worse")
    assert lines[5].endswith("better")
    assert lines[4].endswith("same")
    frame = found.to_frame()
    row = frame.filter(model="best", metric="rmse").row(0, named=True)
    gap = found.differences["best"]["rmse"]
    assert row["difference"] == pytest.approx(0.4)
    assert (row["difference_low"], row["difference_high"]) == (-gap.high, -gap.low)
    assert row["verdict"] == "worse"
    assert frame.filter(model="ours")["difference"].null_count() == len(found.models["ours"].metrics)
    assert "<td" in found._repr_html_()
    chart = found.plot("mae")
    assert [row["name"] for row in marks(chart)] == ["best", "ours", "same", "bad"]
    with pytest.raises(ConfigError, match=r"metric must be one of those measured .* Did you mean 'xauc'"):
        found.plot("xau")


def test_a_comparison_of_rankings(parts) -> None:
    train, test = parts
    positives = test.with_interactions(test.interactions.filter(pl.col("stars") >= 4))
    found = compare_rankings(
        {"a": Scores(), "b": Scores()}, positives, train, against="a", ks=(5,), resamples=50
    )
    assert repr(found).splitlines()[1].split()[0] == "ndcg@5"
    assert len(repr(found)) < MOST
    frame = found.to_frame().filter(model="b")
    assert frame.filter(metric="ndcg@5")["verdict"].to_list() == ["same"]
    assert frame.filter(metric="gini@5")["verdict"].to_list() == [None]
    assert math.isclose(frame.filter(metric="gini@5")["difference"][0], 0.0, abs_tol=1e-12)

"""``twotower evaluate RUN --logged FILE``."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest


@pytest.fixture(scope="module")
def log_file(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from twotower.recommender import Recommender

    model = Recommender.load(run)
    schema = model.encoder.schema
    users, items = model.user_ids.to_list(), model.item_ids.to_list()
    pairs = [(user, items[(5 * n + m) % len(items)]) for n, user in enumerate(users) for m in range(5)]
    table = pl.DataFrame(pairs, schema=[schema.user, schema.item], orient="row")
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    table.with_columns(reward=1.0, propensity=0.1).write_parquet(path)
    return path


def test_it_prints_estimates_and_says_what_counts(call, run: Path, log_file: Path) -> None:
    found = call("evaluate", run, "--logged", log_file, "--temperature", "2", "--include-seen")
    assert found.code == 0, found.err
    for text in (
        "DR (doubly robust)",
        "DR, clipped ",
        "weights clipped at",
        "effective sample size",
        "softmax of temperature 2",
    ):
        assert text in found.out
    as_json = call("evaluate", run, "--logged", log_file, "-k", "3", "--json").json
    assert as_json["policy"] == "one item of the list of 3, each equally likely"
    assert set(as_json["values"]["ips"]) == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-k", "3"), "need --logged"),
        (("--clip", "3"), "need --logged"),
        (("--logged", "LOG", "-k", "3", "--temperature", "1"), "give one of them"),
        (("--logged", "LOG", "--full"), "can't be combined"),
        (("--logged", "LOG", "--temperature", "0"), "temperature must be a number above 0"),
        (("--logged", "no.parquet"), "no.parquet"),
    ],
)
def test_what_does_not_go_together_is_refused(call, run: Path, log_file: Path, words, message: str) -> None:
    found = call("evaluate", run, *(log_file if word == "LOG" else word for word in words))
    assert found.code == 2
    assert message in " ".join(found.err.split())
    assert found.out == ""

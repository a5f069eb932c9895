"""What people ask a model, and how: the right answer or one clear error."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from typer.testing import CliRunner

import twotower as tt
from input_case import Case, Error
from twotower.cli import app
from twotower.errors import TwoTowerWarning
from twotower.recommender import Recommender

SMALL: dict[str, Any] = {"dim": 8, "threads": 1, "epochs": 2, "seed": 1}


def events(ids: Callable[[int], Any] = int, user: str = "user_id", item: str = "item_id") -> pl.DataFrame:
    """20 users, each with 6 of 15 items; user 1 and user 12 have other items."""
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(20) for i in rng.choice(15, 6, replace=False).tolist()]
    return pl.DataFrame(
        {
            user: [ids(u) for u, _ in pairs],
            item: [ids(i) for _, i in pairs],
            "stars": [1.0 + i % 5 for _, i in pairs],
        }
    )


def items(column: str = "item_id", **display: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({column: list(range(15)), **display})


@cache
def numbers() -> Recommender:
    """Ids are whole numbers."""
    return tt.TwoTower(**SMALL).fit(tt.Dataset.of(events(), schema={"label": "stars"}).as_train())


@cache
def texts() -> Recommender:
    """Ids are text: u0, u1, ..."""
    data = tt.Dataset.of(events(str), schema={"label": "stars"})
    return tt.TwoTower(**SMALL).fit(data.as_train())


@cache
def predicts() -> Recommender:
    data = tt.Dataset.of(events(), schema={"label": "stars"})
    return tt.TwoTower(objective="squared", **SMALL).fit(data.as_train())


@cache
def named(user: str, item: str, shown: str) -> Recommender:
    """Columns of names that lists have for themselves."""
    schema = {"user": user, "item": item, "label": "stars", "display": [shown]}
    table = items(item, **{shown: [f"film {i}" for i in range(15)]})
    return tt.TwoTower(**SMALL).fit(
        tt.Dataset.of(events(int, user, item), items=table, schema=schema).as_train()
    )


def told(ask: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return an answer, and what was said beside it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", TwoTowerWarning)
        answer = ask()
    return answer, [str(one.message) for one in caught if one.category is TwoTowerWarning]


def users_of(model: Callable[[], Recommender], asked: Any) -> Callable[[Path], list[Any]]:
    """Ask for lists, and return for whom they are."""
    return lambda folder: model().recommend(asked, 3)["user_id"].unique(maintain_order=True).to_list()


def seeds_of(model: Callable[[], Recommender], asked: Any) -> Callable[[Path], list[Any]]:
    return lambda folder: model().similar_items(asked, 3)["item_id"].unique(maintain_order=True).to_list()


def given(model: Callable[[], Recommender], **how: Any) -> Callable[[Path], tuple[list[Any], int]]:
    """Ask for every item that may be given to user 3; return them in order, and how many notes there were."""

    def ask(folder: Path) -> tuple[list[Any], int]:
        frame, notes = told(lambda: model().recommend(3, 15, exclude_seen=False, **how))
        return sorted(frame["item_id"].to_list()), len(notes)

    return ask


def run_in(folder: Path, *more: str) -> Path:
    """Train a small run on titles of which some are NaN."""
    events().write_csv(folder / "events.csv")
    length = [float("nan") if i % 2 else float("inf") if i == 4 else 1.5 for i in range(15)]
    items(length=length, item=[f"film {i}" for i in range(15)]).write_parquet(folder / "items.parquet")
    (folder / "c.toml").write_text(
        '[data]\ninteractions = "events.csv"\nitems = "items.parquet"\n[schema]\nlabel = "stars"\n'
        'display = ["length", "item"]\n[model]\ndim = 8\n[training]\nepochs = 2\nthreads = 1\n'
        "[evaluation]\nresamples = 100\nks = [5]\n"
    )
    command(folder, "train", "c.toml", "--out", "run", *more)
    return folder / "run"


def command(folder: Path, *words: object) -> Any:
    """Run a command, and return its JSON where there is any, else what it printed and said."""
    paths = [str(folder / w) if isinstance(w, str) and ("." in w or w == "run") else str(w) for w in words]
    answer = CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"}).invoke(app, paths, prog_name="twotower")
    assert answer.exit_code == 0, answer.stderr
    return json.loads(answer.stdout) if "--json" in words else (answer.stdout, answer.stderr)


def strictly(text: str) -> Any:
    """Read JSON as browsers do, without NaN."""

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def lengths(folder: Path) -> list[Any]:
    run_in(folder)
    answer = CliRunner().invoke(app, ["recommend", str(folder / "run"), "--user", "3", "--json"])
    return sorted({str(item["length"]) for item in strictly(answer.stdout)["items"]})


def scored(model: Callable[[], Recommender], users: list[Any], asked: list[Any], **how: Any) -> Any:
    def ask(folder: Path) -> Any:
        frame, notes = told(lambda: model().score(pl.DataFrame({"user_id": users, "item_id": asked}), **how))
        return frame.columns[-1], frame[frame.columns[-1]].is_null().to_list(), len(notes)

    return ask


def columns(user: str, item: str, shown: str) -> Callable[[Path], Any]:
    """Ask for a list, a similar list and reasons, and return their columns."""

    def ask(folder: Path) -> Any:
        model = named(user, item, shown)
        frame = model.recommend([3, 5], 2)
        first = frame.columns[0]
        right = frame[first].to_list() == [3, 3, 5, 5] and frame["rank"].to_list() == [1, 2, 1, 2]
        alike, because = model.similar_items(3, 2), model.explain(3, 4)
        assert alike[alike.columns[0]].to_list() == [3, 3]
        return right, frame.columns, alike.columns, because.columns

    return ask


def everyone(user: str, item: str, shown: str) -> Callable[[Path], Any]:
    """Write everybody's lists, and return the columns and the users."""

    def ask(folder: Path) -> Any:
        from twotower.workflows import recommend_all

        recommend_all(named(user, item, shown), folder / "all.parquet", 2)
        table = pl.read_parquet(folder / "all.parquet")
        return table.columns, table["user_id"].unique().sort().to_list() == list(range(20))

    return ask


CASES = [
    # a bare string or number is one id
    Case("ask: a bare string is one user", {}, users_of(texts, "12"), ["12"]),
    Case("ask: a bare number is one user", {}, users_of(numbers, 12), [12]),
    Case("ask: a bare numpy number", {}, users_of(numbers, np.int32(12)), [12]),
    Case("ask: a numpy string", {}, users_of(texts, np.str_("12")), ["12"]),
    Case("ask: an array of no dimension", {}, users_of(numbers, np.array(12)), [12]),
    Case("ask: bytes are one id", {}, users_of(texts, b"12"), ["12"]),
    Case("ask: a whole float", {}, users_of(numbers, 12.0), [12]),
    Case("ask: a whole float where ids are text", {}, users_of(texts, [12.0, 1.0]), ["12", "1"]),
    Case("ask: text where ids are numbers", {}, users_of(numbers, "12"), [12]),
    Case("ask: numbers where ids are text", {}, users_of(texts, [1, 12]), ["1", "12"]),
    Case("ask: a tuple", {}, users_of(numbers, (12, 1)), [12, 1]),
    Case("ask: an array", {}, users_of(numbers, np.array([12, 1])), [12, 1]),
    Case("ask: a generator", {}, users_of(numbers, (u for u in (12, 1))), [12, 1]),
    Case("ask: categories", {}, users_of(texts, pl.Series(["12"], dtype=pl.Categorical)), ["12"]),
    Case("ask: 007 is not 7", {}, users_of(numbers, "007"), Error("unknown user '007'")),
    Case("ask: +7 is not 7", {}, users_of(numbers, "+7"), Error("unknown user '+7'")),
    Case("ask: true is not 1", {}, users_of(numbers, True), Error("unknown user 'True'")),
    Case("ask: true in a list is not 1", {}, users_of(numbers, [True, 2]), Error("unknown user")),
    Case("ask: half a user", {}, users_of(numbers, 7.5), Error("unknown user 7.5")),
    Case("ask: past int64", {}, users_of(numbers, 2**70), Error("unknown user")),
    Case("ask: nobody", {}, users_of(numbers, []), Error("at least one user, got none")),
    Case("ask: None", {}, users_of(numbers, None), Error("one id or a flat list of ids, got NoneType")),
    Case("ask: a list of lists", {}, users_of(numbers, [[1, 12]]), Error("got the nested list [1, 12]")),
    Case(
        "ask: a table",
        {},
        users_of(numbers, pl.DataFrame({"u": [1]})),
        Error("columns of queries", "got 'u'"),
    ),
    Case("ask: a mapping", {}, users_of(numbers, {"user": 1}), Error("got dict")),
    Case("similar: a bare string is one item", {}, seeds_of(texts, "12"), ["12"]),
    Case("similar: a bare number is one item", {}, seeds_of(numbers, 12), [12]),
    Case(
        "history: a bare string is one item",
        {},
        lambda folder: (
            texts()
            .recommend(tt.Query(history="12"), 3)
            .equals(texts().recommend([tt.Query(history=["12"])], 3))
        ),
        True,
    ),
    Case(
        "history: a list within the list",
        {},
        lambda folder: texts().recommend(tt.Query(history=[["12", "3"]]), 3),
        Error("history must be one id or a flat list", "got the nested list ['12', '3']"),
    ),
    Case("allow: a bare string is one item", {}, given(texts, allow="12"), (["12"], 0)),
    Case("allow: a bare number is one item", {}, given(numbers, allow=12), ([12], 0)),
    Case(
        "deny: a bare string is one item",
        {},
        given(texts, deny="12"),
        (sorted(map(str, {*range(15)} - {12})), 0),
    ),
    Case("deny: a set", {}, given(numbers, deny={3, 4}), (sorted({*range(15)} - {3, 4}), 0)),
    Case(
        "explain: bare ids",
        {},
        lambda folder: texts().explain("12", "3").equals(texts().explain(["12"], ["3"])),
        True,
    ),
    Case("explain: two users", {}, lambda folder: numbers().explain([1, 2], 3), Error("one user, got 2")),
    # unknown ids: a null and a count, not the loss of the job
    Case("score: one unknown user", {}, scored(predicts, [1, 99], [2, 2]), ("prediction", [False, True], 1)),
    Case("score: one unknown item", {}, scored(predicts, [1, 1], [2, 99]), ("prediction", [False, True], 1)),
    Case("score: a missing id", {}, scored(predicts, [1, None], [2, 2]), ("prediction", [False, True], 1)),
    Case("score: nobody known", {}, scored(predicts, [98, 99], [2, 2]), ("prediction", [True, True], 1)),
    Case("score: of a model that ranks", {}, scored(numbers, [1], [2]), ("score", [False], 0)),
    Case(
        "score: floats with one missing",
        {},
        scored(numbers, [1.0, None], [2, 2]),
        ("score", [False, True], 1),
    ),
    Case("score: strictly", {}, scored(numbers, [1, 99], [2, 2], strict=True), Error("unknown user 99")),
    Case(
        "score: a prediction that is there already",
        {},
        lambda folder: predicts().score(pl.DataFrame({"user_id": [1], "item_id": [2], "prediction": [0.5]})),
        Error("must not have a column 'prediction'", "rename it"),
    ),
    Case("allow: one unknown item", {}, given(numbers, allow=[3, 99]), ([3], 1)),
    Case(
        "allow: nothing known",
        {},
        given(numbers, allow=[98, 99]),
        Error("at least one item of the catalogue"),
    ),
    Case("allow: nothing", {}, given(numbers, allow=[]), Error("got an empty list; leave it out")),
    Case("allow: strictly", {}, given(numbers, allow=[3, 99], strict=True), Error("unknown item 99")),
    Case("deny: one unknown item", {}, given(numbers, deny=[3, 99]), (sorted({*range(15)} - {3}), 1)),
    # k
    Case("k: the default past the catalogue is cut in silence", {}, lambda folder: few(None), (4, [])),
    Case(
        "k: one that was typed is cut and said",
        {},
        lambda folder: few(10),
        (4, ["k = 10 is more than the catalogue's 4 items; lists have at most 4"]),
    ),
    Case("k: zero", {}, lambda folder: few(0), Error("k must be at least 1, got 0")),
    Case("k: a fraction", {}, lambda folder: few(2.5), Error("got 2.5")),
    Case("k: text", {}, lambda folder: few("3"), Error("got '3'")),
    Case("k: true", {}, lambda folder: few(True), Error("got True")),
    # names that clash
    Case(
        "names: a user column called rank",
        {},
        columns("rank", "film", "title"),
        (
            True,
            ["user_rank", "film", "rank", "score", "title"],
            ["film", "similar_film", "rank", "score", "title"],
            ["film", "because_film", "contribution", "base", "score"],
        ),
    ),
    Case(
        "names: a user column called score, an item column called rank",
        {},
        columns("score", "rank", "title"),
        (
            True,
            ["user_score", "item_rank", "rank", "score", "title"],
            ["item_rank", "similar_rank", "rank", "score", "title"],
            ["rank", "because_rank", "contribution", "base", "score"],
        ),
    ),
    Case(
        "names: a user column called count, a display column called score",
        {},
        columns("count", "item", "score"),
        (
            True,
            ["count", "item", "rank", "score", "item_score"],
            ["item", "similar_item", "rank", "score", "item_score"],
            ["item", "because_item", "contribution", "base", "score"],
        ),
    ),
    Case(
        "names: an item column called score, a display column called similar_score",
        {},
        columns("u", "score", "similar_score"),
        (
            True,
            ["u", "item_score", "rank", "score", "similar_score"],
            ["item_score", "similar_score", "rank", "score", "item_similar_score"],
            ["item_score", "because_score", "contribution", "base", "score"],
        ),
    ),
    Case(
        "names: everybody's lists of a user column called rank",
        {},
        everyone("rank", "film", "title"),
        (["user_id", "item_id", "rank", "score"], True),
    ),
    Case(
        "names: an item column called query",
        {},
        lambda folder: named("u", "query", "title").recommend(tt.Query(history=[3]), 2).columns,
        ["query", "item_query", "rank", "score", "title"],
    ),
    Case(
        "names: a user column called query",
        {},
        lambda folder: named("query", "film", "title").recommend(tt.Query(user=3, history=[3]), 2).columns,
        ["query", "user_query", "film", "rank", "score", "title"],
    ),
    Case(
        "names: scores where a user column is called score",
        {},
        lambda folder: (
            named("score", "film", "title").score(pl.DataFrame({"score": [1], "film": [2]})).columns
        ),
        ["score", "film", "model_score"],
    ),
    Case(
        "names: a display column called item_id in JSON",
        {},
        lambda folder: item_id_shown(),
        (3, "film 3"),
    ),
    Case("json: NaN and infinity of a display column are null", {}, lengths, ["1.5", "None"]),
]


def few(k: Any) -> tuple[int, list[str]]:
    """Ask a model of four items for k."""
    data = tt.Dataset.of(events().filter(pl.col("item_id") < 4), schema={"label": "stars"})
    model = tt.TwoTower(**SMALL).fit(data.as_train())
    how = {} if k is None else {"k": k}
    frame, notes = told(lambda: model.recommend(3, exclude_seen=False, **how))
    return frame.height, notes


def item_id_shown() -> tuple[Any, Any]:
    from twotower.cli.output import recommendations_json

    model = named("user_id", "film", "item_id")
    (found,) = recommendations_json(model.recommend(3, 1, allow=3, exclude_seen=False), 3)["items"]
    return found["item_id"], found["item_item_id"]


# people who come back to items


def plays() -> pl.DataFrame:
    """24 people of four tastes, each with the two songs of theirs, each played 10 times at other times."""
    rows = [
        (u, 2 * (u % 4) + s, 1000 * n + u + 100 * s, 1.0)
        for u in range(24)
        for s in range(2)
        for n in range(10)
    ]
    return pl.DataFrame(rows, schema=["user_id", "item_id", "at", "n"], orient="row")


def played(**how: Any) -> tuple[Recommender, tt.Dataset]:
    data = tt.Dataset.of(plays(), schema={"timestamp": "at"})
    train, test = tt.split(data, "random", test=0.2, seed=1)
    cut = tt.split(train, "random", test=0.2, seed=1)
    return tt.TwoTower(**{**SMALL, "epochs": 30}).fit(*cut, **how), test


def songs(folder: Path, exclude: bool, *more: str) -> Any:
    """Write plays and a config, and run a command."""
    plays().write_csv(folder / "plays.csv")
    (folder / "c.toml").write_text(
        '[data]\ninteractions = "plays.csv"\n[schema]\ntimestamp = "at"\n[split]\ntest = 0.2\n'
        "[model]\ndim = 8\n[training]\nepochs = 30\nthreads = 1\n"
        f"[evaluation]\nresamples = 100\nks = [2]\nexclude_seen = {str(exclude).lower()}\n"
    )
    return CliRunner(env={"COLUMNS": "80"}).invoke(
        app, [str(folder / w) if w in ("c.toml", "run") else w for w in more], prog_name="twotower"
    )


def refused(folder: Path) -> tuple[int, bool, bool]:
    answer = songs(folder, True, "train", "c.toml", "--out", "run")
    said = answer.stderr
    return (
        answer.exit_code,
        "were seen in the training set" in said,
        "evaluation.exclude_seen = false" in said,
    )


def heard_again(folder: Path) -> Any:
    """Train with seen songs: everyone's two are found, and the run gives them by default."""
    trained = songs(folder, False, "train", "c.toml", "--out", "run", "--json")
    found = json.loads(trained.stdout)
    given = json.loads(songs(folder, False, "recommend", "run", "--user", "3", "-k", "2", "--json").stdout)
    new = json.loads(
        songs(folder, False, "recommend", "run", "--user", "3", "-k", "2", "--exclude-seen", "--json").stdout
    )
    return (
        found["ranked"]["left_out"]["seen"],
        found["ranking"]["recall@2"]["value"] > 0.9,
        sorted(item["item_id"] for item in given["items"]),
        {6, 7} & {item["item_id"] for item in new["items"]},
    )


def partly(folder: Path) -> Any:
    """Of user 3's two test pairs one was seen in train; the count is in the result, and is said."""
    train = pl.DataFrame({"user_id": [1, 1, 2, 2, 3, 3], "item_id": [1, 2, 2, 3, 3, 4]})
    test = tt.Dataset.of(pl.DataFrame({"user_id": [3, 3, 3], "item_id": [3, 1, 1]}), schema={})
    data = tt.Dataset.of(train, schema={}).as_train()
    model = tt.TwoTower(refit=False, **SMALL).fit(data, test)
    found, notes = told(lambda: model.evaluate(test, ks=(1,)))
    return found.as_dict()["ranked"]["left_out"], len(
        [note for note in notes if "1 of 3 test positives" in note]
    )


def followed(folder: Path) -> Any:
    """A saved model follows what it was trained with, until it is told otherwise."""
    model, test = played(exclude_seen=False)
    model.save(folder / "bundle")
    loaded = tt.load(folder / "bundle")
    own = {6, 7}
    lists = {
        how: set(loaded.recommend(3, 2, exclude_seen=how)["item_id"].to_list()) for how in (None, True, False)
    }
    return (
        lists[None] == lists[False] == own,
        lists[True] & own,
        loaded.evaluate(test, ks=(2,)).ranking.left_out["seen"],  # type: ignore[union-attr]
        set(loaded.recommend(tt.Query(history=[6, 7]), 2)["item_id"].to_list()) == own,
    )


def judged(folder: Path) -> Any:
    """Validation ranks by the same rule: with every pair seen, there is something to judge only if it may."""
    model, _ = played(exclude_seen=False)
    return {key for record in model.history for key in record if key.startswith("validation")}


def found_by_check(exclude: bool) -> Callable[[Path], Any]:
    def ask(folder: Path) -> Any:
        answer = songs(folder, exclude, "check", "c.toml", "--json")
        findings = json.loads(answer.stdout)["findings"]
        return [
            (one["severity"], "100%" in one["evidence"]) for one in findings if one["check"] == "coming-back"
        ]

    return ask


CASES += [
    Case(
        "seen: a word for a switch",
        {},
        lambda _: numbers().recommend(3, exclude_seen="no"),  # type: ignore[arg-type]
        Error("exclude_seen must be True or False", "'no'"),
    ),
    Case(
        "seen: a word for a switch of training",
        {},
        lambda _: tt.TwoTower(**SMALL).fit(
            tt.Dataset.of(events(), schema={"label": "stars"}).as_train(),
            exclude_seen="false",  # type: ignore[arg-type]
        ),
        Error("exclude_seen must be True or False", "'false'"),
    ),
    Case(
        "seen: a switch of numpy",
        {},
        lambda _: len(numbers().recommend(3, 15, exclude_seen=np.bool_(False))),  # type: ignore[arg-type]
        15,
    ),
    Case(
        "ask: a float for k",
        {},
        lambda _: numbers().recommend(3, 2.0),  # type: ignore[arg-type]
        Error("k must be a whole number, at least 1", "got 2.0"),
    ),
    Case(
        "ask: true for k",
        {},
        lambda _: numbers().similar_items(3, True),
        Error("k must be a whole number, at least 1", "got True"),
    ),
    Case("seen: all test pairs were, and the error says what to set", {}, refused, (2, True, True)),
    Case("seen: people come back to songs", {}, heard_again, (0, True, [6, 7], set())),
    Case(
        "seen: what is left out is counted and said",
        {},
        partly,
        ({"repeated": 1, "not_candidates": 0, "seen": 1}, 1),
    ),
    Case("seen: a saved model follows its training", {}, followed, (True, set(), 0, True)),
    Case(
        "seen: validation follows the rule",
        {},
        judged,
        {"validation_ndcg@100", "validation_recall@20", "validation_popularity_ndcg@100"},
    ),
    Case("seen: check warns", {}, found_by_check(True), [("warning", True)]),
    Case("seen: check has a note where it is meant", {}, found_by_check(False), [("note", True)]),
]

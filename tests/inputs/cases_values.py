"""Kinds of values: ids, lists, numbers, vectors and times as people write them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from input_case import Case, Error
from twotower.audit import audit
from twotower.config import Config
from twotower.data.tables import read_dataset, read_table
from twotower.estimator import TwoTower
from twotower.workflows.reading import check_positives, load_parts

DAY = 86_400.0
OCTOBER = 1_569_888_000.0  # 2019-10-01 UTC


def csv(columns: dict[str, Sequence[object]], separator: str = ",") -> str:
    """Return the text of a table; nothing is put in quotes."""
    rows = zip(*columns.values(), strict=True)
    lines = [separator.join(columns), *(separator.join(map(str, row)) for row in rows)]
    return "\n".join(lines) + "\n"


def quoted(values: Sequence[str]) -> list[str]:
    return ['"' + value.replace('"', '""') + '"' for value in values]


def feature(kind: str | dict[str, str], name: str = "x") -> Callable[[Path], list[Any]]:
    """Read a feature column of the items."""

    def read(folder: Path) -> list[Any]:
        schema = {"items": {name: kind}}
        data = read_dataset(folder / "log.csv", None, folder / "items.csv", schema=schema)
        return data.items.get_column(name).to_list()

    return read


def role(role: str, given: dict[str, Any] | None = None) -> Callable[[Path], list[Any]]:
    """Read a column of the interactions that has a role."""

    def read(folder: Path) -> list[Any]:
        data = read_dataset(folder / "log.csv", schema={role: "x", **(given or {})})
        return data.interactions.get_column("x").to_list()

    return read


def items(values: Sequence[object], separator: str = ",") -> dict[str, str]:
    """Return the files of a column of the items, with a log that has them all."""
    n = len(values)
    log = csv({"user_id": [1] * n, "item_id": list(range(n))})
    return {"log.csv": log, "items.csv": csv({"item_id": list(range(n)), "x": values}, separator)}


def log(values: Sequence[object], separator: str = ",") -> dict[str, str]:
    n = len(values)
    return {"log.csv": csv({"user_id": [1] * n, "item_id": list(range(n)), "x": values}, separator)}


def lists(name: str, values: Sequence[str], want: Any, kind: str | dict[str, str] = "categories") -> Case:
    return Case(f"lists {name}", items(quoted(values)), feature(kind), want)


def number(name: str, values: Sequence[str], want: Any, kind: str | dict[str, str] = "number") -> Case:
    return Case(f"numbers {name}", items(quoted(values)), feature(kind), want)


def time(name: str, values: Sequence[object], want: Any, given: dict[str, str] | None = None) -> Case:
    reading = None if given is None else {"interactions": {"x": given}}
    return Case(f"times {name}", log(values), role("timestamp", reading), want)


def both_ids(users: Sequence[str], of_table: Sequence[str]) -> dict[str, str]:
    return {
        "log.csv": csv({"user_id": users, "item_id": list(range(len(users)))}),
        "users.csv": csv({"user_id": of_table, "age": list(range(len(of_table)))}),
    }


def users_of(**given: str) -> Callable[[Path], tuple[list[Any], list[Any], int]]:
    """Return the ids of the interactions and of the users, and how many of the first have no row."""

    def read(folder: Path) -> tuple[list[Any], list[Any], int]:
        schema = {"users": {"age": "number"}, **given}
        data = read_dataset(folder / "log.csv", folder / "users.csv", schema=schema)
        events, table = data.interactions.get_column("user_id"), data.users.get_column("user_id")
        return events.to_list(), table.to_list(), int((~events.is_in(table.implode())).sum())

    return read


def ids(name: str, users: Sequence[str], of_table: Sequence[str], want: Any, **given: str) -> Case:
    return Case(f"ids {name}", both_ids(users, of_table), users_of(**given), want)


def notes(schema: dict[str, Any], table: str | None = None) -> Callable[[Path], list[str]]:
    def read(folder: Path) -> list[str]:
        path = None if table is None else folder / table
        data = read_dataset(folder / "log.csv", None, path, schema=schema)
        return [note.split(", ", 1)[1] for note in data.notes]

    return read


def findings(name: str, *, label: bool = True) -> Callable[[Path], list[str]]:
    """Return what a check finds in log.csv: the evidence."""

    def read(folder: Path) -> list[str]:
        schema = {"label": "x"} if label else {}
        values = {"data": {"source": "tables", "interactions": str(folder / "log.csv")}, "schema": schema}
        found = audit(Config.model_validate({**values, "objective": {"name": "all_pairs"}})).findings
        return [finding.evidence for finding in found if finding.check == name]

    return read


def many(user: Callable[[int], object], x: Callable[[int], object], n: int = 400) -> dict[str, str]:
    rows = range(n)
    columns = {"user_id": [user(i) for i in rows], "item_id": [i // 20 for i in rows]}
    return {"log.csv": csv({**columns, "x": [x(i) for i in rows]})}


def predicts(folder: Path) -> None:
    schema = {"label": "x"}
    values = {"data": {"source": "tables", "interactions": str(folder / "log.csv")}, "schema": schema}
    config = Config.model_validate({**values, "objective": {"name": "squared"}})
    check_positives(config, load_parts(config))


def fits(folder: Path) -> None:
    data = read_dataset(folder / "log.csv", schema={"label": "x"})
    TwoTower(objective="squared", dim=4).fit(data.as_train())


def ranks(folder: Path) -> int:
    data = read_dataset(folder / "log.csv", schema={"label": "x"})
    found = TwoTower(dim=4).fit(data.as_train()).recommend([1], k=3, exclude_seen=False)
    return found.height


def new_items(kind: str | dict[str, str], name: str, later: dict[str, Any]) -> Callable[[Path], bool]:
    """Say whether a new item that is written as those of the file are has their vector."""

    def read(folder: Path) -> bool:
        data = read_dataset(folder / "log.csv", None, folder / "items.csv", schema={"items": {name: kind}})
        model = TwoTower(dim=4, epochs=1).fit(data.as_train())
        path = folder / "bundle"
        model.recommender_.save(path) if hasattr(model, "recommender_") else model.save(path)
        import twotower

        loaded = twotower.load(path)
        known = data.items.get_column(name)[1]
        given = known.to_list() if isinstance(known, pl.Series) else known
        as_read = loaded.encode_items(pl.DataFrame({name: [given]}))
        return bool(np.allclose(loaded.encode_items(pl.DataFrame(later)), as_read, atol=1e-6))

    return read


def asked(*users: object) -> Callable[[Path], list[int]]:
    """Return the rows that a model finds for users, -1 where it knows none."""

    def read(folder: Path) -> list[int]:
        data = read_dataset(folder / "log.csv", schema={})
        model = TwoTower(dim=4).fit(data.as_train())
        return [int(model.users.rows(pl.Series([user]))[0]) for user in users]

    return read


GENRES = [["Action", "Comedy"], ["Comedy"], ["Drama", "Action"], ["Comedy", "Drama"]]
LATE = ["7"] * 20_500
PAIRS = {"log.csv": csv({"user_id": [1, 2] * 10, "item_id": [i // 2 for i in range(20)], "x": [3] * 20})}

CASES = [
    # ---------------------------------------------------------------- ids
    ids("with a leading zero", ["7", "07", "7"], ["7", "07"], (["7", "07", "7"], ["7", "07"], 0)),
    ids("in quotes", ["7", "07", '"007"'], ["7", '"007"'], (["7", "07", "007"], ["7", "007"], 1)),
    ids("with a plus sign", ["+7", "8"], ["7", "8"], (["+7", "8"], ["7", "8"], 1)),
    ids("past 63 bits", ["9223372036854775808", "7"], ["7"], (["9223372036854775808", "7"], ["7"], 1)),
    ids("text in one table alone", ["7", "8"], ["7", "08"], (["7", "8"], ["7", "08"], 1)),
    ids("that are integers", ["7", "-8", "0"], ["7", "-8", "0"], ([7, -8, 0], [7, -8, 0], 0)),
    ids("as floats", ["1.0", "2.0"], ["1", "2"], ([1, 2], [1, 2], 0)),
    ids("as floats and text", ["1.0", "2.0"], ["1", "02"], (["1", "2"], ["1", "02"], 1)),
    ids("as powers", ["1e5", "2"], ["100000", "2"], (["1e5", "2"], ["100000", "2"], 1)),
    ids("that are quoted integers", ['"7"', '"8"'], ["7", "8"], (["7", "8"], ["7", "8"], 0)),
    ids("said to be text", ["7", "8"], ["7", "8"], (["7", "8"], ["7", "8"], 0), user_type="text"),
    ids("said to be integers", ["07", "8"], ["7", "8"], ([7, 8], [7, 8], 0), user_type="integer"),
    ids(
        "said to be integers, and not",
        ["07", "a"],
        ["7", "8"],
        Error("these ids must be integers", "log.csv, data row 2", "'a'"),
        user_type="integer",
    ),
    ids("without one", ["1.0", ""], ["1"], Error("every row needs an id", "data row 2", "'user_id'")),
    ids("without one, dropped", ["1.0", "", "2.0"], ["1", "2"], ([1, 2], [1, 2], 0), missing_ids="drop"),
    Case(
        "ids without one are counted",
        {"log.csv": csv({"user_id": ["1.0", "", ""], "item_id": [1, 2, 3]})},
        notes({"missing_ids": "drop"}),
        ["column 'user_id': dropped 2 rows (66.7%) without an id"],
    ),
    Case(
        "ids with a zero after row 20,000",
        {"log.csv": csv({"user_id": [*LATE, "0108775006"], "item_id": range(20_501)})},
        lambda folder: read_dataset(folder / "log.csv", schema={}).interactions["user_id"][-1],
        "0108775006",
    ),
    Case(
        "ids in a table of pairs",
        {"pairs.tsv": "user_id\titem_id\n1\t0108775006\n2\t108775006\n"},
        lambda folder: read_table(folder / "pairs.tsv")["item_id"].to_list(),
        ["0108775006", "108775006"],
    ),
    Case(
        "ids in a RecBole file",
        {"a.inter": "user_id:token\titem_id:token\n1\t007\n2\t7\n"},
        lambda folder: read_table(folder / "a.inter")["item_id"].to_list(),
        ["007", "7"],
    ),
    Case(
        "ids asked for, where all are integers",
        {"log.csv": csv({"user_id": [1, 2, 7] * 5, "item_id": [i // 3 for i in range(15)]})},
        asked(7, "7", "007", "+7", 7.0, "7.0", 7.5),
        [2, 2, -1, -1, 2, -1, -1],
    ),
    Case(
        "ids asked for, where one is text",
        {"log.csv": csv({"user_id": ["1", "007", "7"] * 5, "item_id": [i // 3 for i in range(15)]})},
        asked("007", "7", 7, 7.0, "07"),
        [0, 2, 2, 2, -1],
    ),
    # ---------------------------------------------------------------- lists
    lists("with comma and blank", ["Action, Comedy", "Comedy", "Drama, Action", "Comedy, Drama"], GENRES),
    lists("with a comma", ["Action,Comedy", "Comedy", "Drama,Action", "Comedy,Drama"], GENRES),
    lists("with a semicolon", ["Action;Comedy", "Comedy", "Drama;Action", "Comedy;Drama"], GENRES),
    lists("with a slash", ["Action/Comedy", "Comedy", "Drama/Action", "Comedy/Drama"], GENRES),
    lists("with bars", ["Action|Comedy", "Comedy", "Drama | Action", "Comedy|Drama|"], GENRES),
    lists("as Python has them", ["['a', 'b']", "[]", '["b"]'], [["a", "b"], [], ["b"]]),
    lists("as numpy prints text", ["['a' 'b c']", "['b c']"], [["a", "b c"], ["b c"]]),
    lists("as numpy prints lines", ["['a'\n 'b c']", "['b c']"], [["a", "b c"], ["b c"]]),
    lists("as numpy prints numbers", ["[1 2 3]", "[4]", "[]"], [[1, 2, 3], [4], []]),
    lists("as numpy prints floats", ["[1. 2.]", "[4.]"], [[1, 2], [4]]),
    lists("of a set", ["{'a', 'b'}", "set()", "{'c'}"], [["a", "b"], [], ["c"]]),
    lists("of a tuple", ["('a', 'b')", "('a',)", "()"], [["a", "b"], ["a"], []]),
    lists("of PostgreSQL", ["{a,b}", '{"c d",e}'], [["a", "b"], ["c d", "e"]]),
    lists("of JSON", ['["caf\\u00e9", "b"]', '["b"]'], [["café", "b"], ["b"]]),
    lists("of records", ["[{'id': 16, 'name': 'Animation'}]", "[]"], [["Animation"], []]),
    lists("in brackets without quotes", ["[a, b]", "[rock'n'roll]"], [["a", "b"], ["rock'n'roll"]]),
    lists(
        "with missing tags", ["['a', None]", "[None]", "[nan, b]", "['None']"], [["a"], [], ["b"], ["None"]]
    ),
    lists("of codes, one missing", ["[1, nan]", "[2]"], [[1], [2]]),
    lists("of JSON, one null", ['["a"]', "null", "[]"], [["a"], None, []]),
    lists("without brackets: None is a tag", ["a|b", "None"], [["a", "b"], ["None"]]),
    lists("of codes with blanks", ["12 45", "9", "45 9"], [[12, 45], [9], [45, 9]]),
    lists(
        "with a tag in round brackets", ["(500) Days (of summer)", "b"], [["(500) Days (of summer)"], ["b"]]
    ),
    lists(
        "with a declared separator",
        ["1,000 Leagues, b", "c"],
        [["1,000 Leagues", "b"], ["c"]],
        {"kind": "categories", "separator": ", "},
    ),
    lists(
        "that are names with commas",
        ["Portland, Oregon", "Austin, Texas"],
        [["Portland, Oregon"], ["Austin, Texas"]],
    ),
    lists(
        "cut by numpy",
        ["['a' 'b' ... 'y']", "['a']"],
        Error("numpy has abbreviated", "data row 1", "items.csv"),
    ),
    lists("that are not closed", ["[a, b", "[a]"], Error("not closed", "data row 1", "'x'")),
    lists("within lists", ["[1, [2]]", "[1]"], Error("flat list", "data row 1")),
    Case(
        "lists are noted",
        items(quoted(["a;b", "b", "b;a"])),
        notes({"items": {"x": "categories"}}, "items.csv"),
        ["column 'x': lists with the separator ';'"],
    ),
    Case(
        "lists of a new item",
        items(quoted(["a;b", "b", "b;a", "a"] * 4)),
        new_items("categories", "x", {"x": ["b"]}),
        True,
    ),
    # ---------------------------------------------------------------- numbers
    number("with decimal commas", ["11,40", "8,5", "1.200,00", ""], [11.4, 8.5, 1200.0, None]),
    number("with thousands", ["1,234", "950", "12,005"], [1234.0, 950.0, 12005.0]),
    number("with thousands and fractions", ["1,234.50", "2"], [1234.5, 2.0]),
    number("with blanks in thousands", ["1 234,5", "7"], [1234.5, 7.0]),
    number("with a unit", ["12 min", "90 min"], [12.0, 90.0]),
    number("with stars", ["4.0 stars", "1 star"], [4.0, 1.0]),
    number("with a percent sign", ["12.5%", "5 %"], [12.5, 5.0]),
    number("with a currency", ["$11.40", "$1,200.00"], [11.4, 1200.0]),
    number("with a currency behind", ["11,40 €", "8,00 €"], [11.4, 8.0]),
    number("with letters that multiply", ["1.2K", "3M", "950"], [1200.0, 3e6, 950.0]),
    number("with NA", ["1.5", "NA", "n/a", "2"], [1.5, None, None, 2.0]),
    number("of two units", ["12 min", "90 min", "1 h"], Error("one unit", "data row 3", "'1 h'")),
    number("of two marks", ["2,5", "3,5", "2.5"], Error("decimal comma", "data row 3", "'2.5'")),
    number("that may be either", ["1,234", "2,450"], Error("group thousands", "data row 1", "decimal")),
    number("that is either, declared", ["1,234", "2,450"], [1.234, 2.45], {"kind": "number", "decimal": ","}),
    number("that is not a number", ["1", "abc"], Error("finite number", "data row 2", "'abc'")),
    Case("numbers in a ; file", items(["2,5", "3", "4,25"], ";"), feature("number"), [2.5, 3.0, 4.25]),
    Case("numbers of a label in a ; file", log(["2,5", "3", "4,25"], ";"), role("label"), [2.5, 3.0, 4.25]),
    Case("numbers of a label with stars", log(["4.0 stars", "3 stars"]), role("label"), [4.0, 3.0]),
    Case("numbers of a label with NA", log(["4", "NA"]), role("label"), Error("needs a label", "data row 2")),
    Case(
        "numbers are noted",
        items(["11,40", "8,5"], ";"),
        notes({"items": {"x": "number"}}, "items.csv"),
        ["column 'x': numbers with a decimal comma: '11,40' is read as 11.4"],
    ),
    Case(
        "numbers of a new item",
        items(["11,40 €", "8,500 €", "9,25 €", "1,75 €"] * 4, ";"),
        new_items("number", "x", {"x": ["8,500 €"]}),
        True,
    ),
    Case(
        "vectors as numpy prints them",
        items(quoted(["[0.5 1.\n 2.]", "[1 2 3]"])),
        feature("vector"),
        [[0.5, 1, 2], [1, 2, 3]],
    ),
    Case(
        "vectors with decimal commas",
        items(quoted(["0,5;1,25", "1;2"])),
        feature("vector"),
        [[0.5, 1.25], [1, 2]],
    ),
    Case(
        "vectors without brackets",
        items(quoted(["0.5 1.25", "1 2"])),
        feature("vector"),
        [[0.5, 1.25], [1, 2]],
    ),
    Case(
        "vectors cut by numpy",
        items(quoted(["[0.5 ... 1.]"])),
        feature("vector"),
        Error("abbreviated", "data row 1"),
    ),
    # ---------------------------------------------------------------- times
    Case(
        "times with a zone beside times without are told",
        log(
            [
                "2019-10-01T00:00:00",
                "2019-10-01T02:00:01+02",
                "2019-10-01T00:00:02Z",
                "2019-10-01",
                "2019-10-02T10:00",
            ]
        ),
        notes({"timestamp": "x"}),
        ["column 'x': read 2 times without a time zone as UTC, beside others with one"],
    ),
    Case(
        "times all without a zone, or all with one, need no note",
        log(["2019-10-01T00:00:00", "2019-10-01 02:00", "2019-10-01"]),
        notes({"timestamp": "x"}),
        [],
    ),
    Case(
        "times all with a zone need no note",
        log(["2019-10-01T00:00:00Z", "2019-10-01 02:00:00 UTC", "2019-10-01", "2019-10-01T02:00:00+02:00"]),
        notes({"timestamp": "x"}),
        [],
    ),
    time("in seconds", [1569888000, 1569888001], [OCTOBER, OCTOBER + 1]),
    time("in milliseconds", [1569888000500, 1569888001000], [OCTOBER + 0.5, OCTOBER + 1]),
    time("in microseconds", [1569888000500000], [OCTOBER + 0.5]),
    time("in nanoseconds", [1569888000000000000], [OCTOBER]),
    time("with UTC", ["2019-10-01 00:00:00 UTC"], [OCTOBER]),
    time("with offsets", ["2019-10-01T02:00:00+02:00", "2019-10-01T00:00:01Z"], [OCTOBER, OCTOBER + 1]),
    time("as an integer date", [20191001, 20191002], [OCTOBER, OCTOBER + DAY]),
    time("as a text date", ['"20191001"', '"20191002"'], [OCTOBER, OCTOBER + DAY]),
    time("with slashes", ["2019/10/01", "2019/10/02 00:00:01"], [OCTOBER, OCTOBER + DAY + 1]),
    time("with the day first", ["01.10.2019", "13.10.2019"], [OCTOBER, OCTOBER + 12 * DAY]),
    time("with the month first", ["10/01/2019", "10/13/2019"], [OCTOBER, OCTOBER + 12 * DAY]),
    time("in either order", ["10/01/2019", "11/01/2019"], Error("day and month", "data row 1", "format")),
    time("in a declared order", ["01/10/2019"], [OCTOBER], {"format": "%d/%m/%Y"}),
    time("in words", ["01-Oct-2019", "02-Oct-2019"], [OCTOBER, OCTOBER + DAY]),
    time("of e-mail", ["Tue 01 Oct 2019 00:00:00 GMT"], Error("a timestamp must be", "data row 1")),
    time("of noon", ["10/13/2019 12:00 PM"], [OCTOBER + 12.5 * DAY]),
    time("in two units", [1569888000500, 1569888000, 1569888000900], Error("one unit", "data row 2")),
    time(
        "that are none",
        ["2019-10-01", "yesterday"],
        Error("a timestamp must be", "data row 2", "'yesterday'"),
    ),
    Case(
        "times are noted",
        log([1569888000500, 1569888001000]),
        notes({"timestamp": "x"}),
        ["column 'x': times are milliseconds since 1970: '1569888000500' is read as 2019-10-01 00:00:00 UTC"],
    ),
    Case(
        "the time of day of times is noted",
        log(["31.12.25 08:15", "01.11.25 22:40"]),
        notes({"timestamp": "x"}),
        ["column 'x': times are written like %d.%m.%y: '31.12.25 08:15' is read as 2025-12-31 08:15:00 UTC"],
    ),
    Case(
        "times of a new item",
        items([1569888000000 + i * 86_400_000 for i in range(16)]),
        new_items("timestamp", "x", {"x": [1569888000000 + 86_400_000]}),
        True,
    ),
    # ---------------------------------------------------------------- values that stand for none
    Case(
        "a label of -1",
        many(lambda i: i % 20, lambda i: -1 if i % 5 < 2 else i % 5),
        findings("placeholders"),
        ["'-1' in 160 rows (40.0%); the others are between 2 and 4"],
    ),
    Case("labels of -1 and 1", many(lambda i: i % 20, lambda i: (-1) ** i), findings("placeholders"), []),
    Case(
        "a user NULL",
        many(lambda i: "NULL" if i % 4 == 0 else f"u{i % 20}", lambda i: i % 5),
        findings("placeholders"),
        ["'NULL' in 100 rows (25.0%)"],
    ),
    Case(
        "a user 0 who has a third of the rows",
        many(lambda i: 0 if i % 3 == 0 else i % 20 + 1, lambda i: i % 5),
        findings("placeholders"),
        ["'0' in 134 rows (33.5%)"],
    ),
    Case("a user 0 as others", many(lambda i: i % 20, lambda i: i % 5), findings("placeholders"), []),
    Case(
        "a constant label, predicted",
        PAIRS,
        predicts,
        Error("at least two different values", "= 3", "all_pairs"),
    ),
    Case("a constant label, fitted", PAIRS, fits, Error("at least two different values", "= 3", "all_pairs")),
    Case("a constant label, ranked", PAIRS, ranks, 3),
]

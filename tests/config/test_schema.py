"""Columns of the schema as kinds and as tables: both ways there and back."""

from typing import Any

import pytest

from twotower.config import dump_config, load_config
from twotower.config.schema import Schema
from twotower.errors import ConfigError
from twotower.features.categories import Categories
from twotower.features.timestamp import Timestamp

GENRES = {"kind": "categories", "separator": ", "}


def test_a_table_is_a_kind_and_how_to_read_it() -> None:
    schema = Schema.parse({"items": {"genres": GENRES, "year": "number"}})
    assert schema.items == {"genres": "categories", "year": "number"}
    assert schema.items["genres"] == Categories(separator=", ")
    assert schema.items["genres"] != Categories()
    assert schema.model_dump(mode="json")["items"] == {"genres": GENRES, "year": "number"}
    assert Schema.model_validate(schema.model_dump(mode="json")) == schema
    assert schema != Schema.parse({"items": {"genres": "categories", "year": "number"}})


def test_what_is_found_does_not_replace_what_is_said() -> None:
    schema = Schema.parse({"items": {"genres": GENRES, "at": "timestamp"}})
    found = schema.with_settings("items", {"genres": {"separator": ";"}, "at": {"format": "ms"}})
    assert found.items == {"genres": Categories(separator=", "), "at": Timestamp(format="ms")}
    assert schema.items == {"genres": Categories(separator=", "), "at": Timestamp()}


def test_config_round_trip_keeps_the_order_of_columns(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "a.toml"
    path.write_text(
        '[data]\nsource = "tables"\ninteractions = "a.csv"\n[schema]\ntimestamp = "t"\n'
        '[schema.interactions]\nt = { format = "ms" }\n'
        '[schema.items]\ngenres = { kind = "categories", separator = ", " }\nyear = "number"\n'
    )
    config = load_config(str(path))
    path.write_text(dump_config(config))
    again = load_config(str(path))
    assert again == config
    assert again.schema_ is not None
    assert list(again.schema_.items) == ["genres", "year"]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"kind": "categorie"}, "Did you mean 'categories'?"),
        ({"kind": "categories", "seperator": ","}, "Did you mean 'separator'?"),
        ({"kind": "number", "separator": ","}, "separator is only for kind categories, not 'number'"),
        ({"separator": ","}, "'schema.items.genres.kind' is missing"),
        ({"kind": "categories", "separator": ""}, "must not be empty"),
    ],
)
def test_faults_of_a_table(column: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        Schema.parse({"items": {"genres": column}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"time": "t"}, "unknown key 'schema.time'.*timestamp"),
        ({"user": 5}, "'schema.user' must be text, in quotes, got 5"),
        ({"user": "a", "item": "a"}, "each role needs a different column"),
        ({"items": {"year": "nmber"}}, "'schema.items.year'.*number"),
    ],
)
def test_the_constructor_says_what_parse_does(values: dict[str, Any], said: str) -> None:
    errors = []
    for build in (lambda: Schema(**values), lambda: Schema.parse(values)):
        with pytest.raises(ConfigError, match=said) as caught:
            build()
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_readings_are_for_roles() -> None:
    with pytest.raises(ConfigError, match="got 'x'"):
        Schema.parse({"interactions": {"x": {"format": "ms"}}})


@pytest.mark.parametrize(
    ("key", "role"),
    [("user_id", "user"), ("item_id", "item"), ("datetime", "timestamp"), ("rating", "label")],
)
def test_roles_by_the_names_of_other_libraries(key: str, role: str) -> None:
    with pytest.raises(ConfigError, match=f"unknown key 'schema.{key}'. Did you mean '{role}'?"):
        Schema.parse({key: "column"})

"""Read a `Config` from a TOML file or a packaged recipe, and write it back.

Reading is strict: an unknown key or method is an error that suggests the nearest valid one, and a value must
have the type of its field. TOML has no null, so ``"none"`` stands for "not set" (``clip_norm = "none"``).

Relative paths in ``[data]`` and ``[split]`` start at the folder of the config file; those of a packaged
recipe, and those passed with ``--set``, at the working directory. Once read they are absolute. An address
(``s3://...``) is not a path.
"""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final, get_args

import tomlkit
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from tomlkit.items import InlineTable

from twotower.config.config import Config
from twotower.config.diversity import DiversityConfig
from twotower.config.explained import explain
from twotower.config.parts import OBJECTIVE, PLACES, first_that_samples, parts_of
from twotower.config.ranker import RankerConfig
from twotower.config.renamed import current_key, renamed
from twotower.config.schema import Schema
from twotower.config.sections import DataConfig, EvaluationConfig, PositiveConfig, SplitConfig
from twotower.core.urls import is_url
from twotower.errors import ConfigError, nearest

_NONE: Final = "none"
_PLAIN: Final[dict[str, type[BaseModel]]] = {
    "data": DataConfig,
    "schema": Schema,
    "split": SplitConfig,
    "positive": PositiveConfig,
    "evaluation": EvaluationConfig,
    "ranker": RankerConfig,
    "diversity": DiversityConfig,
}
_SECTIONS: Final = ("data", "schema", "split", "positive", *PLACES, "evaluation", "ranker", "diversity")
_ABOVE: Final = tuple(key for key in Config.model_fields if key not in _SECTIONS and key != "schema_")
"""Keys above all sections."""
_PARTS: Final = {(place.section, place.key) for place in PLACES.values()}
"""Sections and keys that name parts."""
_TABLES: Final = (
    *(".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq", ".inter"),
    *(".gz", ".bz2", ".xz", ".zst", ".zip"),
)
_PATHS: Final = {
    "data": ("dir", "interactions", "users", "items", "events", "store_dir"),
    "split": ("train", "validation", "test"),
}


def recipes() -> list[str]:
    """Return the names of the packaged recipes."""
    files = resources.files("twotower.recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def load_config(source: str | Path, overrides: Sequence[str] = (), *, saved: bool = False) -> Config:
    """Read a config file or a packaged recipe.

    Args:
        source: a path, or the name of a recipe (which wins over a file of that name; write ``./name``).
        overrides: ``section.key=value``; the value is TOML (``model.hidden=[64, 32]``) or a plain string.
        saved: whether the library wrote the file; old names of settings then give no warning.

    Raises:
        ConfigError: no such file or recipe, not TOML, or invalid keys or values; one line for each.
    """
    text, name, folder = _read(source)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}{_line_of(text, str(error))}") from None
    values = _renamed(values, warn=not saved)
    given = [_parse_override(override) for override in overrides]
    if _names_another(values, given):
        with contextlib.suppress(ConfigError):  # what is wrong is said below
            _leave_defaults(values, _validated(values, name, warn=False))
    for keys, value in given:
        _set(values, keys, value)
    config = _validated(values, f"{name} with --set" if given else name, warn=not saved)
    return resolved(config, folder, {keys: Path.cwd() for keys, _ in given})


def resolved(
    config: Config, folder: Path | None = None, others: Mapping[tuple[str, ...], Path] | None = None
) -> Config:
    """Return the config with absolute paths.

    Args:
        config: the config.
        folder: the folder that relative paths start at; by default the working directory.
        others: another folder for single paths, by section and key.
    """
    updates: dict[str, BaseModel] = {}
    for section, keys in _PATHS.items():
        files = config.split.kind().reads_files and config.data.source != "kuairec"
        if section == "split" and not files:
            continue  # these are names of matrix files, perhaps within a zip, or values of a column
        part: BaseModel = getattr(config, section)
        update = {}
        for key in keys:
            value = getattr(part, key)
            if isinstance(value, str) and not is_url(value):
                base = (others or {}).get((section, key), folder or Path.cwd())
                update[key] = str((base / Path(value).expanduser()).absolute())
        if update:
            updates[section] = part.model_copy(update=update)
    return config.model_copy(update=updates)


def with_values(config: Config, values: Mapping[str, Any], name: str) -> Config:
    """Return the config with some values changed, validated like those of a file.

    Args:
        config: the config to change.
        values: ``section.key`` -> value, as in TOML (``"none"`` for not set).
        name: how error messages refer to it.

    Raises:
        ConfigError: invalid keys or values; one line for each.
    """
    raw = tomllib.loads(dump_config(config))
    given = [(tuple(current_key(key).split(".")), value) for key, value in values.items()]
    if _names_another(raw, given):
        _leave_defaults(raw, config)
    for keys, value in given:
        _set(raw, keys, value)
    return _validated(raw, name)


def dump_config(config: Config) -> str:
    """Return the config as TOML that `load_config` reads back equal (with absolute paths)."""
    values: dict[str, Any] = {key: getattr(config, key) for key in _ABOVE}
    for section in _SECTIONS:
        part = config.schema_ if section == "schema" else getattr(config, section)
        if part is not None:
            values[section] = _plain(part)
    return tomlkit.dumps(values)


def differences(left: Config, right: Config) -> list[str]:
    """Return ``section.key: left value, right value`` for every key that differs."""
    a, b = (
        _flat(left.model_dump(mode="json", by_alias=True)),
        _flat(right.model_dump(mode="json", by_alias=True)),
    )
    return [
        f"{key}: {_shown(a.get(key, _default(key)))}, {_shown(b.get(key, _default(key)))}"
        for key in {**a, **b}
        if a.get(key, _default(key)) != b.get(key, _default(key))
    ]


def _default(key: str) -> Any:
    """Return the default of a setting that only some parts have."""
    section, _, name = key.partition(".")
    fields = PLACES[section].fields() if section in PLACES else {}
    return json.loads(_json(fields[name].default)) if name in fields else None


def _read(source: str | Path) -> tuple[str, str, Path]:
    """Return the text, its name for messages, and the folder that its relative paths start at."""
    if isinstance(source, str) and source in recipes():
        packaged = resources.files("twotower.recipes").joinpath(f"{source}.toml")
        return packaged.read_text(encoding="utf-8"), f"recipe '{source}'", Path.cwd()
    path = Path(source).expanduser()
    if path.suffix.lower() in _TABLES and path.is_file():
        raise ConfigError(
            f"a config is a TOML file or a recipe, but {path} is a table; run `twotower init {path}` to "
            "write a config for it"
        )
    try:
        return path.read_text(encoding="utf-8-sig"), str(path), path.absolute().parent
    except FileNotFoundError:
        hint = _meant(source, path)
        if path.suffix.lower() == ".toml":
            raise ConfigError(
                f"there is no '{source}'.{hint or f' `twotower init DATA --out {source}` writes a config'}"
            ) from None
        raise ConfigError(
            f"a config is a TOML file or a recipe ({', '.join(recipes())}); there is no '{source}'.{hint}"
        ) from None
    except IsADirectoryError:
        files = sorted(str(file) for file in path.glob("*.toml"))
        hint = f". Did you mean '{files[0]}'?" if files else ""
        raise ConfigError(
            f"a config is a TOML file or a recipe; {str(source)!r} is a folder{hint}"
            if str(source)
            else f"a config is a TOML file or a recipe ({', '.join(recipes())}), got nothing"
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not valid TOML: it is not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"could not read {path}: {error.strerror or error}") from None


def _meant(source: str | Path, path: Path) -> str:
    """Return a hint that names the recipe or file that was probably meant."""
    files = {file.stem: str(file) for file in path.parent.glob("*.toml")}
    if path.stem in files:
        return f" Did you mean '{files[path.stem]}'?"
    names = {name: name for name in recipes()} | files
    found = nearest(path.stem, names)
    for name, whole in names.items():
        found = found.replace(f"'{name}'", f"'{whole}'")
    return found


def _line_of(text: str, error: str) -> str:
    """Return the line that a TOML error is about, to be added to its message."""
    place = re.search(r"at line (\d+)", error)
    lines = text.splitlines()
    if place is None or not 0 < int(place[1]) <= len(lines):
        return ""
    return f": {lines[int(place[1]) - 1].strip()[:80]}"


def _parse_override(override: str) -> tuple[tuple[str, ...], Any]:
    name, equals, text = override.partition("=")
    keys = tuple(current_key(".".join(part.strip() for part in name.split("."))).split("."))
    if not equals or not all(keys):
        raise ConfigError(
            f"--set takes section.key=value, got {override!r}; for example: --set training.epochs=20"
        )
    text = text.strip()
    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        values = {}
    if list(values) == ["value"]:
        return keys, values["value"]
    if re.fullmatch(r"[+-]?(\d+\.|\.\d+)([eE][+-]?\d+)?", text):
        return keys, float(text)  # ".5" and "5." are not TOML, but whoever types them means a number
    return keys, text


def _renamed(values: Mapping[str, Any], *, warn: bool) -> dict[str, Any]:
    return {
        key: renamed(key, value, warn=warn) if isinstance(value, dict) else value
        for key, value in values.items()
    }


def _set(values: dict[str, Any], keys: tuple[str, ...], value: Any) -> None:
    table = values
    for depth, key in enumerate(keys[:-1]):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"--set {'.'.join(keys)}: '{'.'.join(keys[: depth + 1])}' is a value and has no keys"
            )
    table[keys[-1]] = value


def _names_another(values: Mapping[str, Any], given: Sequence[tuple[tuple[str, ...], Any]]) -> bool:
    """Return whether another part is given than the one that a config names."""
    named = _flat({place.section: values.get(place.section, {}) for place in PLACES.values()})
    return any(keys in _PARTS and named.get(".".join(keys), value) != value for keys, value in given)


def _leave_defaults(values: Mapping[str, dict[str, Any]], config: Config) -> None:
    """Leave out of values what is the default of the parts of their config, since another part may be named.

    A config that was written in full has the defaults of its parts as if they had been chosen, the objective
    that its towers have by default among them.
    """
    usual = first_that_samples() if config.model.samples else OBJECTIVE.registry.default
    if config.objective.name == usual and "kind" in values.get("model", {}):
        values.get("objective", {}).pop("name", None)
    for section, place in PLACES.items():
        part: BaseModel = getattr(config, section)
        for key, field in type(part).model_fields.items():
            if key != place.key and getattr(part, key) == field.default:
                values.get(section, {}).pop(key, None)


def _validated(values: Mapping[str, Any], name: str, *, warn: bool = True) -> Config:
    known = [*_ABOVE, *_SECTIONS]
    faults = [_unknown(key, known) for key in values if key not in known]
    found: dict[str, Any] = {key: values[key] for key in _ABOVE if key in values}
    given: dict[str, dict[str, Any]] = {}
    for section in _SECTIONS:
        part = values.get(section)
        if isinstance(part, dict):
            given[section] = part
        elif part is not None:
            faults.append(
                f"'{section}' must be a section with keys, got {part!r}. Write [{section}] above its keys."
            )
    for section, kind in _PLAIN.items():
        if section in given:
            try:
                found[section] = _section(kind, section, given[section])
            except ConfigError as error:
                faults += str(error).splitlines()
    try:
        found |= vars(parts_of(given, _section, warn=warn))
    except ConfigError as error:
        faults += str(error).splitlines()
    if not faults:
        try:
            return Config.model_validate(found, strict=True)
        except ValidationError as error:
            # Errors within a section were found above; this one is above them, or between sections.
            faults = [
                fault["msg"].removeprefix("Value error, ") + "."
                for fault in error.errors()
                if not fault["loc"]
            ] or explain(error, "", known).splitlines()
    raise ConfigError(f"{name}: {faults[0]}" if len(faults) == 1 else "\n  ".join([f"{name}:", *faults]))


def _section(kind: type[BaseModel], section: str, values: Mapping[str, Any]) -> BaseModel:
    fields = kind.model_fields
    given = {
        key: None if value == _NONE and key in fields and _optional(fields[key]) else value
        for key, value in values.items()
    }
    try:
        return kind.model_validate_json(_json(given), strict=True)
    except ValidationError as error:
        raise ConfigError(explain(error, section, _fields(section))) from None


def _fields(section: str) -> Mapping[str, FieldInfo]:
    return PLACES[section].fields() if section in PLACES else _PLAIN[section].model_fields


def _unknown(key: str, known: Sequence[str]) -> str:
    homes = [section for section in _SECTIONS if key in _fields(section)]
    if homes:
        return f"unknown key '{key}'. It belongs in [{homes[0]}]."
    return f"unknown key '{key}'.{nearest(key, known) or ' Valid: ' + ', '.join(known) + '.'}"


def _json(values: Any) -> str:
    # JSON has lists and strings where the fields have tuples and enums. So "strict" means what someone who
    # writes TOML expects: no "60" for 60, no true for 1, but [64, 32] for a tuple.
    return json.dumps(values, default=str)


def _plain(part: BaseModel) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in part.model_dump(mode="json").items():
        if value is None:
            if type(part).model_fields[key].default is not None:
                values[key] = _NONE
        elif value != {}:
            values[key] = value
    for columns in values.values():
        if isinstance(columns, dict):  # a column that is written as a table stays in its place
            columns |= {key: _inline(value) for key, value in columns.items() if isinstance(value, dict)}
    return values


def _inline(table: Mapping[str, Any]) -> InlineTable:
    written = tomlkit.inline_table()
    written.update(table)
    return written


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def _optional(field: FieldInfo) -> bool:
    return type(None) in get_args(field.annotation)

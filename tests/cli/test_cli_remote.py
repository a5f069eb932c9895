"""Commands whose tables are at addresses with secrets: same results, and no secret is written or said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import polars as pl
import pytest
from fsspec.implementations.memory import MemoryFileSystem

SECRET = "53cr3t"
PLAIN = "locked://store/shop"
LOCKED = f"locked://me:{SECRET}@store/shop"


class Locked(MemoryFileSystem):
    """A file system in memory that wants a name and a secret in the address."""

    protocol = "locked"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path: str) -> Any:
        return super()._strip_protocol(path.replace("locked://", "memory://").replace(f"me:{SECRET}@", ""))

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, Any]:
        return {"allowed": f"me:{SECRET}@" in path}

    def __init__(self, allowed: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.allowed = allowed

    def info(self, path: str, **kwargs: Any) -> Any:
        if not self.allowed:
            raise PermissionError("a name and a secret are needed")
        return super().info(path, **kwargs)


@pytest.fixture(scope="module")
def far(tables: Path) -> str:
    """The address of a folder with the tables."""
    fsspec.register_implementation("locked", Locked, clobber=True)
    system, key = fsspec.core.url_to_fs(LOCKED)
    for path in tables.iterdir():
        if path.is_file():
            system.pipe_file(f"{key}/{path.name}", path.read_bytes())
    return LOCKED


def test_a_config_of_addresses_gives_the_same_run(
    call, tables: Path, run: Path, far: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    text = (tables / "config.toml").read_text(encoding="utf-8")
    for name in ("events", "users", "films", "items", "ratings"):
        text = text.replace(f'"{name}.', f'"{far}/{name}.')
    assert SECRET in text
    config.write_text(text, encoding="utf-8")
    answers = [call("check", config), call("train", config, "--out", tmp_path / "run", "--json")]
    answers.append(call("evaluate", tmp_path / "run", "--json"))
    out = f"{far}/lists.parquet"
    answers.append(call("recommend", tmp_path / "run", "--all", "-k", 3, "--out", out))
    assert [answer.code for answer in answers[1:]] == [0, 0, 0], [answer.err for answer in answers]
    ratings = call("evaluate", run, "--json").json["rating"]
    assert answers[1].json["rating"] == answers[2].json["rating"] == ratings
    system, key = fsspec.core.url_to_fs(LOCKED)
    with system.open(f"{key}/lists.parquet") as lists:
        assert call("recommend", run, "--all", "-k", 3, "--out", tmp_path / "lists.parquet").code == 0
        assert pl.read_parquet(lists.read()).equals(pl.read_parquet(tmp_path / "lists.parquet"))
    stored = ["--set", "data.store=always", "--set", f"data.store_dir={tmp_path}/store"]
    answers.append(call("train", config, "--out", tmp_path / "stored", "--json", *stored))
    assert answers[-1].code == 0, answers[-1].err
    assert answers[-1].json["rating"]["rmse"]["value"] == pytest.approx(ratings["rmse"]["value"], rel=1e-5)
    config.unlink()
    said = "".join(answer.out + answer.err for answer in answers)
    assert f"{PLAIN}/lists.parquet" in said
    assert SECRET not in said
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert PLAIN in (tmp_path / "run" / "config.toml").read_text(encoding="utf-8")
    used = call("score", tmp_path / "run", "--pairs", far + "/ratings.csv", "--out", far + "/ratings.csv")
    assert used.code == 2


def test_init_takes_addresses(call, far: str, tmp_path: Path) -> None:
    answer = call("init", far, "--yes", "--out", tmp_path / "c.toml")
    assert answer.code == 0, answer.err
    text = (tmp_path / "c.toml").read_text(encoding="utf-8")
    assert f'interactions = "{PLAIN}/' in text
    assert SECRET not in text + answer.out + answer.err
    missing = call("init", f"{far}/none.csv", "--yes", "--out", tmp_path / "d.toml")
    assert missing.code == 2
    assert f"there is no file or folder {PLAIN}/none.csv" in missing.err


def test_what_is_wrong_with_an_address_is_one_line(call, far: str, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    for url, said in (
        ("locked://other/t.csv", "may not be read (a name and a secret are needed)"),
        ("s33://b/t.csv", "a protocol that fsspec knows"),
        (f"{far}/none.csv", f"there is no file {PLAIN}/none.csv"),
    ):
        config.write_text(f'[data]\ninteractions = "{url}"\n[schema]\nlabel = "y"\n', encoding="utf-8")
        answer = call("train", config, "--out", tmp_path / "run")
        assert answer.code == 2
        assert said in answer.err
        assert SECRET not in answer.err
        assert len(answer.err.strip().splitlines()) == 1

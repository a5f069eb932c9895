"""``twotower check``: text, JSON and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from planted_faults import PLANTS, clean
from twotower.datasets.synthetic import write_kuairec


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return configs with an error, and with a warning."""
    folder = tmp_path_factory.mktemp("spoilt")
    write_kuairec(folder / "raw", scale=0.004, seed=0)
    base, found = clean(folder / "raw"), {}
    for severity, name in (("error", "early_stopping_on_the_test_file"), ("warning", "an_empty_column")):
        tables = base.copy()
        PLANTS[name].spoil(tables)
        found[severity] = tables.write(folder / severity)
    return found


def test_clean_data_is_exit_0_and_says_so(call, tables: Path) -> None:
    answer = call("check", tables / "config.toml")
    assert answer.code == 0
    assert "0 errors, 0 warnings" in answer.out


def test_an_error_is_exit_2(call, spoilt: dict[str, Path]) -> None:
    answer = call("check", spoilt["error"])
    assert answer.code == 2
    assert "error: the validation set is the test set (selection)" in answer.out
    assert "evidence: split.validation and split.test name the same file" in answer.out
    assert "fix: leave split.validation out" in answer.out
    assert "\x1b" not in answer.out
    assert "Traceback" not in answer.err


def test_a_warning_is_exit_2_only_if_strict(call, spoilt: dict[str, Path]) -> None:
    assert call("check", spoilt["warning"]).code == 0
    assert call("check", spoilt["warning"], "--strict").code == 2


def test_json_is_one_object(call, spoilt: dict[str, Path]) -> None:
    answer = call("check", spoilt["warning"], "--json").json
    assert answer["counts"]["warning"] == 1
    (warning,) = [finding for finding in answer["findings"] if finding["severity"] == "warning"]
    assert set(warning) == {"check", "severity", "where", "what", "evidence", "fix", "mend"}
    assert warning["check"] == "columns"
    assert set(answer["rows"]) == {"train", "validation", "test"}


def test_a_table_that_can_not_be_read_is_one_error(call, tmp_path: Path) -> None:
    answer = call("check", "kuairec", "--set", f"data.dir={tmp_path}")
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith("error: missing file")
    assert answer.out == ""

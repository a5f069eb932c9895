"""`twotower train` with [schema.context], and `twotower recommend --context --at`."""

from __future__ import annotations

from pathlib import Path

import pytest

from context_data import events, group

CONFIG = """
seed = 1
[data]
interactions = "events.csv"
[schema]
timestamp = "at"
[schema.context]
device = "category"
at = "calendar"
[split]
method = "leave_last"
[model]
kind = "sequence"
dim = 16
pooling = ["decay"]
rates = [0.5]
[training]
batch_size = 32
learning_rate = 0.03
epochs = 10
refit = false
threads = 1
[evaluation]
exclude_seen = false
resamples = 100
"""


@pytest.fixture(scope="module")
def trained(call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    events().write_csv(folder / "events.csv")
    (folder / "config.toml").write_text(CONFIG)
    answer = call("train", folder / "config.toml", "--out", folder / "run")
    assert answer.code == 0, answer.err
    return folder / "run"


@pytest.mark.parametrize(("device", "hour"), [("tv", 3), ("phone", 21)])
def test_the_context_decides(call, trained: Path, device: str, hour: int) -> None:
    around = ("--context", f"device={device}", "--at", f"2020-11-20T{hour:02}:00:00")
    for who in (("--user", 3), ("--item", 1, "--item", 9)):
        answer = call("recommend", trained, *who, *around, "-k", 4, "--json")
        assert answer.code == 0, answer.err
        assert {item["item_id"] for item in answer.json["items"]} == group(device, hour)


def test_what_is_wrong_is_said(call, trained: Path) -> None:
    answer = call("recommend", trained, "--user", 3, "--context", "devise=tv")
    assert answer.code == 2
    assert "got 'devise'. Did you mean 'device'?" in answer.err
    answer = call("recommend", trained, "--user", 3, "--context", "tv")
    assert answer.code == 2
    assert "--context takes COLUMN=VALUE" in answer.err
    answer = call("recommend", trained, "--all", "--out", trained / "all.csv", "--context", "device=tv")
    assert answer.code == 2
    assert "leave out --context and --at" in answer.err

"""One process at a time in a directory, and none kept out by one that was killed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from small_tables import write_tables
from twotower import workflows
from twotower.config import load_config
from twotower.core.locking import LOCK, alone_in
from twotower.errors import ConfigError
from twotower.workflows.tracking import Tracked, Tracking
from twotower.workflows.tuning import tune

HOLDS = "import sys, time; from pathlib import Path; from twotower.core.locking import alone_in\n" + (
    "with alone_in(Path(sys.argv[1]), 'trains'): print('held', flush=True); time.sleep(600)"
)


@pytest.mark.parametrize("doing", ["train", "tune"])
def test_another_process_is_kept_out_until_it_is_gone(doing: str, tmp_path: Path) -> None:
    write_tables(tmp_path)
    config = load_config(tmp_path / "config.toml", ["training.epochs=1"])
    out = tmp_path / "out"

    def work() -> None:
        if doing == "train":
            workflows.train(config, out)
        else:
            tune(config, out, trials=1)

    command = [sys.executable, "-c", HOLDS, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(ConfigError, match=r"another process .* choose another --out"):
                work()
            assert [path.name for path in out.iterdir()] == [LOCK]  # nothing was written beside it
        finally:
            other.kill()
    work()
    assert not (out / LOCK).exists()


def test_who_is_kept_out_does_not_touch_what_is_tracked_there(tmp_path: Path) -> None:
    """A run goes on at its tracker by its directory: a second process would end the first one's."""
    write_tables(tmp_path)
    config, begun = load_config(tmp_path / "config.toml"), []

    class Told(Tracking):
        @contextmanager
        def run(self, path: Path, parameters: Any) -> Iterator[Tracked]:
            begun.append(path)
            with super().run(path, parameters) as tracked:
                yield tracked

    command = [sys.executable, "-c", HOLDS, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with pytest.raises(ConfigError, match="another process"):
                workflows.train(config, tmp_path / "out", tracking=Told())
        finally:
            other.kill()
    assert not begun


def test_a_failure_frees_it(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone_in(tmp_path / "made", "trains"):
        raise KeyError
    assert not (tmp_path / "made").exists()
    with alone_in(tmp_path / "made", "trains"):
        pass

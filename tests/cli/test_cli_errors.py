"""Exit codes and messages: 2 and one line for what the user can mend, 1 for our faults, 130 for Ctrl-C."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from twotower.cli import app, main
from twotower.cli.errors import guarded
from twotower.cli.usage import _message
from twotower.errors import DataError


def test_help_lists_the_commands_and_loads_no_torch() -> None:
    probe = (
        "import sys; sys.argv = ['twotower', '--help']\n"
        "from twotower.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'numba', 'polars', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in get_command(app).commands)


def test_version(call) -> None:
    assert call("--version").out.strip()[0].isdigit()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["train", "kuairec-sample"], "missing option '--out'"),
        (["train", "kuairec-sampel", "--out", "x"], "Did you mean 'kuairec-sample'?"),
        (["train", "kuairec-sample", "--out", "x", "--set", "model.dims=8"], "Did you mean 'dim'?"),
        (
            ["train", "kuairec-sample-ranking", "--out", "x", "--quick", "--set", "model.kind=mlp"],
            "--quick means model.kind=linear, and --set has model.kind=mlp; leave one",
        ),
        (["train", "kuairec-sample", "--out", "x", "--set", "split.method=randm"], "Did you mean 'random'?"),
        (["compare", "nowhere.toml"], "there is no 'nowhere.toml'"),
        (["evaluate", "no-run"], "there is no run in no-run"),
        (["recommend", "no-run", "--user", "1"], "there is no run in no-run"),
        (["recommend", "no-run"], "say whom to recommend to: --user ID, --item ID"),
        (["recommend", "no-run", "--all", "--user", "1", "--out", "x.csv"], "--all is every user; leave out"),
        (["recommend", "no-run", "--all", "--item", "1", "--out", "x.csv"], "--all is every user; leave out"),
        (
            ["recommend", "no-run", "--user", "1", "--user", "2", "--item", "3"],
            "--item and --feature describe one user, got 2 of --user",
        ),
        (["recommend", "no-run", "--all"], "--all and --out FILE must be used together"),
        (
            ["recommend", "no-run", "--user", "1", "--out", "x.csv"],
            "--all and --out FILE must be used together",
        ),
        (["recommend", "no-run", "--user", "1", "-k", "ten"], "-k must be a whole number, got 'ten'"),
        (["recommend", "no-run", "--user", "1", "--item", "2"], "there is no run in no-run"),
        (["recommend", "no-run", "--feature", "age"], "--feature takes COLUMN=VALUE, got 'age'"),
        (["index", "no-run"], "there is no run in no-run"),
        (["index", "no-run", "--kind", "hnws"], "Did you mean 'hnsw'?"),
        (["index", "no-run", "--recall", "1.5"], "--recall must lie above 0 and be at most 1, got 1.5"),
        (["index", "no-run", "--threads", "0"], "--threads must be at least 1, got 0"),
        (["score", "no-run", "--pairs", "x.csv", "--out", "y.csv"], "there is no run in no-run"),
        (["fetch", "kuairek"], "Did you mean 'kuairec'?"),
        (["synth", "kuairec", "x", "--scale", "0"], "scale must be above 0"),
        (["synth", "kuaire", "x"], "Did you mean 'kuairec'?"),
        (["synth", "kuairec", "x", "--scale", "big"], "--scale must be a number such as 0.5, got 'big'"),
        (["synth", "kuairec", "x", "--scale", "nan"], "scale must be above 0 and at most 10, got nan"),
        (["index", "no-run", "--recall", "nan"], "--recall must lie above 0 and be at most 1, got nan"),
        (["serve", "no-run", "--port", "70000"], "--port must lie between 0 and 65535, got 70000"),
        (["serve", "no-run", "--log-level", "inf"], "Did you mean 'info'?"),
        (["check", "kuairec-sample", "--set", "model.dim"], "--set takes section.key=value, got 'model.dim'"),
        (["check", "kuairec-sample", "--set", "dim=8"], "unknown key 'dim'. It belongs in [model]."),
        (["evaluate", "no-run", "more"], "got unexpected extra argument"),
        (["evaluate"], "missing argument 'RUN'"),
    ],
)
def test_wrong_input_is_exit_2_and_one_message(
    call, args: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(*args)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.startswith("error: ")
    assert len(answer.err.splitlines()) == 1
    assert "Traceback" not in answer.err
    assert answer.out == ""
    assert not list(tmp_path.iterdir())


def bad_tables(tables: Path, folder: Path) -> None:
    for name in ("events.csv", "users.csv", "items.parquet", "config.toml"):
        (folder / name).write_bytes((tables / name).read_bytes())
    events = (folder / "events.csv").read_text().splitlines()
    (folder / "word.csv").write_text("\n".join([*events[:5], "1,2,many,3", *events[5:]]))
    (folder / "ragged.csv").write_text("\n".join([*events[:5], "1,2", *events[5:]]))
    (folder / "nothing.csv").write_text(events[0] + "\n")
    (folder / "empty.csv").write_text("")
    whole = (folder / "items.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    pl.read_csv(folder / "events.csv").rename({"stars": "rating"}).write_csv(folder / "column.csv")
    pl.read_csv(folder / "users.csv").vstack(pl.read_csv(folder / "users.csv")).write_csv(
        folder / "twice.csv"
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.interactions=nowhere.csv", "nowhere.csv"),
        ("data.interactions=event.csv", "Did you mean 'events.csv'?"),
        ("data.interactions=column.csv", "has no column 'stars'"),
        ("data.interactions=word.csv", "'many'"),
        ("data.interactions=ragged.csv", "ragged.csv"),
        ("data.interactions=nothing.csv", "nothing.csv"),
        ("data.interactions=empty.csv", "empty.csv"),
        ("data.items=cut.parquet", "cut.parquet is not a complete Parquet file"),
        ("data.users=twice.csv", "an id must have at most one row"),
        ("data.users=config.toml", "config.toml has the suffix '.toml'"),
        ("schema.label=starz", "Did you mean 'stars'?"),
        ("schema.users.agee=number", "has no column 'agee'. Did you mean 'age'?"),
        ("schema.items.title=number", "title"),
        ("training.device=cuda:9", "can't be used here"),
    ],
)
def test_wrong_tables(
    call, tables: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, said: str
) -> None:
    bad_tables(tables, tmp_path)
    monkeypatch.chdir(tmp_path)
    answer = call("train", "config.toml", "--out", "run", "--set", setting)
    assert answer.code == 2
    error = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert not (tmp_path / "run" / "metrics.json").exists()


def invoke(error: BaseException, **env: str) -> tuple[int, str]:
    failing = typer.Typer()

    @failing.command()
    @guarded
    def fail() -> None:
        raise error

    result = CliRunner(env=env).invoke(failing, [])
    return result.exit_code, result.stderr


def test_our_fault_is_exit_1_with_a_line_and_a_traceback_on_demand() -> None:
    code, err = invoke(ZeroDivisionError("by nought\nand more"), TWOTOWER_DEBUG="")
    assert (code, len(err.splitlines())) == (1, 1)
    assert err.startswith("internal error: ZeroDivisionError: by nought; run again with TWOTOWER_DEBUG=1")
    code, err = invoke(ZeroDivisionError("by nought"), TWOTOWER_DEBUG="1")
    assert code == 1
    assert "Traceback" in err


def test_the_users_fault_has_a_traceback_on_demand_only() -> None:
    assert invoke(DataError("no column"), TWOTOWER_DEBUG="") == (2, "error: no column\n")
    assert "Traceback" in invoke(DataError("no column"), TWOTOWER_DEBUG="1")[1]


def test_a_process_ends_with_one_line_and_code_2() -> None:
    command = [sys.executable, "-m", "twotower", "compare", "nowhere.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: there is no 'nowhere.toml'")


def test_ctrl_c_is_130() -> None:
    assert invoke(KeyboardInterrupt()) == (130, "interrupted\n")


def test_out_of_memory_says_so() -> None:
    code, err = invoke(MemoryError())
    assert code == 1
    assert "out of memory" in err


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_ctrl_c_in_training_can_be_resumed_from(tables: Path, tmp_path: Path) -> None:
    args = ["train", str(tables / "config.toml"), "--out", str(tmp_path / "run")]
    args += ["--set", "training.epochs=5000", "--set", "training.patience=5000"]
    code = "from twotower.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run" / "checkpoints" / "last.safetensors").exists():
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted; continue with --resume"
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits")
def test_a_full_disk_is_one_error_and_leaves_what_was_there(
    call, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    from twotower.workflows import batch

    out, sink = tmp_path / "recs.parquet", batch._sink
    out.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limited(*args: Any) -> None:
        # late, since what is compiled on the way is kept in files too
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
        try:
            sink(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(batch, "_sink", limited)
    answer = call("recommend", run, "--all", "-k", "20", "--out", out)
    assert answer.code == 2
    assert answer.err.splitlines()[-1].startswith(f"error: could not write {out}: ")
    assert "Traceback" not in answer.err
    assert out.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["recs.parquet"]


def test_a_full_disk_elsewhere_is_one_error_too() -> None:
    code, err = invoke(OSError(errno.ENOSPC, "No space left on device", "/cache/kernel.nbc"))
    assert (code, err) == (
        2,
        "error: the disk is full (/cache/kernel.nbc): No space left on device; free some space\n",
    )
    code, err = invoke(OSError(errno.EIO, "Input/output error"), TWOTOWER_DEBUG="")
    assert code == 1
    assert err.startswith("internal error: OSError")


def test_a_reader_that_goes_away_is_no_error() -> None:
    assert invoke(BrokenPipeError(errno.EPIPE, "Broken pipe"))[1] == ""


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_without_the_letters_is_no_error(
    run: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["twotower", "recommend", str(run), "--user", "3", "-k", "2", *more])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
    stdout.seek(0)
    text = stdout.read()
    assert "Film [bold]" in text
    assert ("第" in text) == (encoding == "utf-8")
    assert ("\\u7b2c" in text) == (encoding == "ascii")  # JSON says it in ASCII


@pytest.mark.parametrize(
    ("message", "printed"), [("CONFIG is missing", "CONFIG is"), ("Not a file", "not a file")]
)
def test_a_name_in_capitals_stays(message, printed):
    assert _message(typer.BadParameter(message)).startswith(printed)

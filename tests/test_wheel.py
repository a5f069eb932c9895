"""The built wheel works alone: in an empty environment, away from the source and from any network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="the paths of an environment are written for POSIX"),
]

# What the environment runs at each start: nobody gets out, and whoever tries is told so.
OFFLINE = """
import socket

def refuse(*args, **kwargs):
    raise AssertionError(f"the network was asked for: {args[1:]}")

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda *args, **kwargs: refuse(None, *args)
"""


def run(*command, cwd, **env):
    """Run a command with a bare environment; a failure shows what it printed."""
    kept = {
        k: os.environ[k]
        for k in ("PATH", "OMP_NUM_THREADS", "OMP_WAIT_POLICY", "NUMBA_NUM_THREADS")
        if k in os.environ
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**kept, "HOME": str(cwd), "PYTHONUTF8": "1", **env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """Make an environment with the wheel alone, and this one's packages behind it for what it needs."""
    home = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home)
    python = home / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--no-input")
    run(*pip, "install", "--no-index", "--no-deps", "--no-compile", wheel, cwd=home)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=home).strip())
    (site / "offline_for_tests.py").write_text(OFFLINE)
    paths = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    # Folders named by a .pth come last on the path, and the .pth files within them (that of an editable
    # install of twotower) are not read.
    (site / "dependencies.pth").write_text("\n".join([*paths, "import offline_for_tests", ""]))
    take_compiled_along(ROOT / "src" / "twotower", site / "twotower")
    return home


def take_compiled_along(source, installed):
    """Spare the environment the compilation of modules and kernels that are compiled for the source already.

    Python and Numba take a cached one if the file it is from has the same time and size.
    """
    for path in source.rglob("*.py"):
        there = installed / path.relative_to(source)
        assert there.read_bytes() == path.read_bytes()
        times = path.stat()
        os.utime(there, ns=(times.st_atime_ns, times.st_mtime_ns))
    for path in (*source.rglob("__pycache__/*.pyc"), *source.rglob("__pycache__/*.nb[ic]")):
        there = installed / path.relative_to(source)
        there.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, there)


def test_the_wheel_holds_what_is_needed_and_no_more(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {name.removeprefix("twotower/") for name in names if name.startswith("twotower/")}
    for name in ("interactions.parquet", "users.parquet", "items.parquet", "ATTRIBUTION.md"):
        assert f"datasets/sample/{name}" in packaged
    assert {"recipes/kuairec-sample.toml", "recipes/kuairec.toml", "py.typed"} <= packaged
    assert {name.rsplit("/", 1)[-1] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    source = ROOT / "src" / "twotower"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert {name for name in packaged if name.endswith(".py")} == modules
    assert {name.rsplit(".", 1)[-1] for name in packaged} == {
        "css",
        "html",
        "js",
        "py",
        "typed",
        "toml",
        "parquet",
        "md",
    }


def test_the_demonstration_runs_offline(environment, tmp_path):
    out = run(
        environment / "bin" / "twotower",
        *("demo", "--out", "demo", "--json"),
        *("--set", "training.epochs=1", "--set", "evaluation.resamples=100", "--set", "split.test=0.96"),
        *("--set", "split.validation=0.02", "--set", "model.kind=linear", "--set", "model.dim=16"),
        cwd=tmp_path,
    )
    shown = json.loads(out)
    assert {"two-tower", "mean", "biases", "notebook"} <= set(shown["rating"]["models"])
    assert {"two-tower", "popularity", "item kNN", "EASE"} <= set(shown["ranking"]["models"])
    recommended = shown["recommended"]["items"]
    assert [item["rank"] for item in recommended] == list(range(1, 11))
    assert any(item["caption"] for item in recommended)
    assert {"config.toml", "bundle", "history.jsonl", "metrics.json"} <= {
        path.name for path in (tmp_path / "demo").iterdir()
    }
    code = (
        "import twotower; from pathlib import Path; print(Path(twotower.__file__).resolve());"
        "model = twotower.load('demo/bundle'); print(model.recommend([14], k=10)['video_id'].to_list())"
    )
    where, items = run(environment / "bin" / "python", "-c", code, cwd=tmp_path).splitlines()
    assert Path(where).is_relative_to(environment.resolve())
    if shown["recommended"]["user_id"] == 14:
        assert json.loads(items) == [item["item_id"] for item in recommended]


def test_the_environment_has_no_way_out(environment, tmp_path):
    code = (
        "import urllib.request\n"
        "try: urllib.request.urlopen('http://localhost:9')\n"
        "except AssertionError as error: print(error)"
    )
    assert "network" in run(environment / "bin" / "python", "-c", code, cwd=tmp_path)

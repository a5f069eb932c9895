"""The files in ``deploy`` are valid by the linters of their kinds, and start commands that there are."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from doc_blocks import parse

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = [path for path in sorted((DEPLOY / "kubernetes").iterdir()) if path.stem != "kustomization"]


def tool(name: str) -> str:
    """Return a program beside this Python or on the path; skip the test without one."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def passes(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def loaded(path: Path) -> Any:
    return pytest.importorskip("yaml").safe_load(path.read_text(encoding="utf-8"))


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    passes(tool("hadolint"), DEPLOY / "Dockerfile")


def test_the_compose_file_is_one() -> None:
    check = tool("check-jsonschema")
    passes(check, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None, reason="needs kubernetes-validate"
)
@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_kubernetes_takes_the_manifests(path: Path) -> None:
    import kubernetes_validate

    kubernetes_validate.validate(loaded(path), "1.31", strict=True)


def test_kustomize_names_every_manifest() -> None:
    given = loaded(DEPLOY / "kubernetes" / "kustomization.yaml")
    assert sorted(given["resources"]) == [path.name for path in KUBERNETES]
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert version is not None
    assert given["images"][0]["newTag"] == version[1]
    assert loaded(DEPLOY / "compose.yaml")["services"]["server"]["image"] == f"twotower:{version[1]}"


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "twotower.service").read_text(encoding="utf-8")
    unit = tmp_path / "twotower.service"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.M), encoding="utf-8")
    passes(tool("systemd-analyze"), "verify", unit)


def test_every_command_is_one() -> None:
    unit = (DEPLOY / "twotower.service").read_text(encoding="utf-8")
    (started,) = re.findall(r"^ExecStart=\S+/twotower (.*)$", unit, re.M)
    (cmd,) = re.findall(r"^CMD (\[.*\])$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.M)
    containers = loaded(DEPLOY / "kubernetes" / "deployment.yaml")["spec"]["template"]["spec"]["containers"]
    compose = loaded(DEPLOY / "compose.yaml")["services"]["server"]["command"]
    for words in (shlex.split(started), json.loads(cmd), containers[0]["args"], shlex.split(compose)):
        assert words[0] == "serve"
        parse(words)


def test_the_image_has_what_it_copies_and_runs_as_nobody_special() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    kept = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8"), re.M)
    copied = [word for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M) for word in line.split()]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)
    assert "-c constraints.txt" in text
    assert re.findall(r"^USER (.*)$", text, re.M) == ["10001"]
    extras = re.search(r"^ARG EXTRAS=(.*)$", text, re.M)
    assert extras is not None
    known = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(re.search(rf"^{name} = \[", known, re.M) for name in extras[1].split(","))

"""The files that start clusters are valid, and their commands exist."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from doc_blocks import parse

FOLDER = Path(__file__).parents[2] / "docs" / "cluster"
FILES = sorted(FOLDER.iterdir())


def test_each_file_is_in_the_page() -> None:
    page = (FOLDER.parent / "scale.md").read_text(encoding="utf-8")
    assert {path.name for path in FILES} == set(re.findall(r"\]\(cluster/([^)]+)\)", page))
    assert len(FILES) == 3


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_commands_of_a_file_are_those_of_the_program(path: Path) -> None:
    lines = re.findall(r"twotower (train .*?)(?:'|$)", path.read_text(encoding="utf-8"), re.M)
    assert lines
    for line in lines:
        parse(shlex.split(re.sub(r"\$\(\(.*\)\)", "16", line)))


@pytest.mark.parametrize("name", ["kuberay.yaml", "ray-up.yaml"])
def test_yaml_says_what_it_must(name: str) -> None:
    yaml = pytest.importorskip("yaml")
    given = yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))
    if name == "kuberay.yaml":
        assert (given["apiVersion"], given["kind"]) == ("ray.io/v1", "RayJob")
        groups = given["spec"]["rayClusterSpec"]
        head, workers = groups["headGroupSpec"], groups["workerGroupSpecs"][0]
        assert head["rayStartParams"] == {"num-cpus": "0"}
        for group in (head, workers):
            pod = group["template"]["spec"]
            named = {volume["name"] for volume in pod["volumes"]}
            assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == named
        cpus = int(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
        assert workers["replicas"] * cpus == 16
    else:
        assert given["head_node_type"] in given["available_node_types"]
        assert given["available_node_types"]["head"]["resources"] == {"CPU": 0}


def test_the_slurm_script_is_a_valid_shell_script() -> None:
    subprocess.run(["bash", "-n", str(FOLDER / "slurm.sh")], check=True, timeout=30)

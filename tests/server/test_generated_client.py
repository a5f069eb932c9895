"""The OpenAPI is valid, and a generator makes a client of all of it, which works."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys

import httpx
import pytest
from in_process import InProcess


def test_the_openapi_is_valid(asked):
    validator = pytest.importorskip("openapi_spec_validator", reason="needs openapi-spec-validator")
    document = asked.get("/openapi.json").json()
    validator.validate(document)
    document["paths"]["/v1/score"]["post"]["responses"] = []
    with pytest.raises(Exception, match=r"is not of type .object"):
        validator.validate(document)


def test_a_generated_client_has_every_route_and_works(asked, tmp_path, monkeypatch):
    """`pipx install openapi-python-client`: its requirements conflict with the pins of this environment."""
    command = shutil.which("openapi-python-client")
    if command is None:
        pytest.skip("needs the command openapi-python-client, in an environment of its own")
    (tmp_path / "openapi.json").write_text(asked.get("/openapi.json").text, encoding="utf-8")
    (tmp_path / "settings.yml").write_text("post_hooks: []\n", encoding="utf-8")
    options = "--path=openapi.json --config=settings.yml --meta=none --output-path=generated_client"
    made = subprocess.run(
        [command, "generate", *options.split(), "--fail-on-warning"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    monkeypatch.syspath_prepend(tmp_path)
    names = [path.relative_to(tmp_path).with_suffix("") for path in tmp_path.rglob("api/*/*_*.py")]
    modules = [importlib.import_module(".".join(name.parts)) for name in names if name.stem != "__init__"]
    operations = sum(len(methods) for methods in asked.get("/openapi.json").json()["paths"].values())
    assert len(modules) == operations
    generated = importlib.import_module("generated_client")
    client = generated.Client(base_url="http://testserver")
    client.set_httpx_client(httpx.Client(base_url="http://testserver", transport=InProcess(asked)))
    (one,) = [
        module for module in modules if module.__name__.endswith("recommend_one_v1_recommend_user_id_get")
    ]
    answer = one.sync("1001", client=client, k=3)
    raw = asked.get("/v1/recommend/1001?k=3").json()
    assert answer.to_dict() == raw
    for name in [name for name in sys.modules if name.split(".")[0] == "generated_client"]:
        monkeypatch.delitem(sys.modules, name)

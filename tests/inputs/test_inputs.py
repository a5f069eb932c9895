"""Files as people really have them: the right value or one clear error, never a silent loss.

Each module `cases_*` beside this one has a list ``CASES``.
"""

import importlib
from pathlib import Path

import pytest

from input_case import Case, Error
from twotower.errors import TwoTowerError

MODULES = sorted(path.stem for path in Path(__file__).parent.glob("cases_*.py"))
CASES: list[Case] = [case for module in MODULES for case in importlib.import_module(module).CASES]


def test_case_names_are_unique() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_input(case: Case, tmp_path: Path) -> None:
    for name, content in case.files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    if isinstance(case.want, Error):
        with pytest.raises(TwoTowerError) as caught:
            case.ask(tmp_path)
        for part in case.want.parts:
            assert part in str(caught.value)
    else:
        assert case.ask(tmp_path) == case.want

"""A Ray cluster of two workers, for all tests here; without Ray they are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import twotower as tt


@pytest.fixture(scope="session")
def cluster() -> Iterator[tt.Ray]:
    pytest.importorskip("ray")
    with tt.Ray(workers=4), tt.Ray(workers=2) as engine:  # the first has room for workers of other tests
        yield engine

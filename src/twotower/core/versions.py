"""What must be the same on all machines of a cluster. Importing this is quick."""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path


def versions() -> dict[str, str]:
    """Return the versions of twotower, Python and torch in this process, by name."""
    return {
        "twotower": f"{version('twotower')} (sources {sources()})",
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "torch": version("torch").split("+")[0],  # with or without a GPU
    }


@cache
def sources() -> str:
    """Return the first digits of the hash of the package's sources, as one version may have several."""
    found = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        found.update(str(path.relative_to(root)).encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:8]


def differences(here: dict[str, str], there: dict[str, str]) -> str:
    """Return in words what differs; empty if nothing does."""
    return ", ".join(
        f"{name} {there.get(name, 'missing')} instead of {wanted}"
        for name, wanted in here.items()
        if there.get(name) != wanted
    )

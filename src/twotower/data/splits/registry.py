"""`SPLITS`: the split methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twotower.core.registry import Registry

if TYPE_CHECKING:
    from twotower.data.splits.split import Split

SPLITS: Registry[Split] = Registry(
    "split",
    "twotower.data.splits",
    {
        "random": "random:Random",
        "per_user": "per_user:PerUser",
        "temporal": "temporal:Temporal",
        "leave_last": "leave_last:LeaveLast",
        "cold_items": "cold:ColdItems",
        "cold_users": "cold:ColdUsers",
        "files": "files:Files",
        "column": "column:Column",
    },
)
"""The values of ``split.method``."""

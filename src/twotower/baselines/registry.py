"""`BASELINES` and `RANKING_BASELINES`: the baselines by name, of the two tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twotower.core.registry import Registry

if TYPE_CHECKING:
    from twotower.baselines.baseline import Baseline
    from twotower.baselines.ranking import RankingBaseline

BASELINES: Registry[Baseline] = Registry(
    "baseline",
    "twotower.baselines",
    {
        "mean": "mean:GlobalMean",
        "biases": "biases:Biases",
        "notebook": "notebook:NotebookNetwork",
    },
)
"""All rating baselines by name."""

RANKING_BASELINES: Registry[RankingBaseline] = Registry(
    "ranking_baseline",
    "twotower.baselines",
    {
        "popularity": "popularity:Popularity",
        "recent popularity": "recent_popularity:RecentPopularity",
        "category popularity": "popularity:CategoryPopularity",
        "content kNN": "content_knn:ContentKNN",
        "item kNN": "item_knn:ItemKNN",
        "RP3beta": "rp3beta:RP3beta",
        "next-item counts": "next_item:NextItemCounts",
        "EASE": "ease:EASE",
        "iALS": "ials:IALS",
        "BPR": "bpr:BPR",
    },
)
"""All ranking baselines by name; check `RankingBaseline.applies_to` before using one on a schema."""

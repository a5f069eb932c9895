"""Two stages against the towers alone: quality on a test set, and the time to rank candidates again.

    python benchmarks/two_stages.py DATA [--data DIR] [--kind auto] [--set ranker.grades=labels ...]
        [--sources popular recent ...]

DATA is ``kuairec-sample`` (packaged; it has no times, so 80/20 of each user's rows at random, and the ranker
is cross-fitted), ``kuairec-observed`` (the same, ranked among the rows that a user was observed with),
``ml-100k`` (the latest tenth of all rows is the test set) or ``amazon-beauty`` (each user's last item). The
last two are tables in DIR/DATA: interactions.parquet, and where there are features users.parquet and
items.parquet. Printed: metrics of the towers, of both stages, and of the second one among its candidates,
with 95% intervals of the paired difference over users; the feature importance of the trees; and p50 and p99
of ranking 500 candidates of one user again, features included, in CPU time of one thread and on the clock.

With ``--sources`` all of it is done twice, without and with these further sources of candidates, which are as
many in all; and the paired difference of both rankers is printed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from twotower.config import Config, resolved, with_values
from twotower.data.splitting import Parts
from twotower.metrics import mean_differences
from twotower.ranking.pool import Pool
from twotower.recommender import Queries, Recommender
from twotower.recommender.list_stages import read_by
from twotower.workflows.measuring import measured, ranking_task
from twotower.workflows.reading import load_parts
from twotower.workflows.stages import Stages
from twotower.workflows.training import fit

FloatArray = NDArray[np.float64]
_SHOWN = ("ndcg@10", "ndcg@100", "recall@20", "recall@100")
_SAMPLE: dict[str, Any] = {
    "data": {"source": "kuairec-sample"},
    "split": {"method": "per_user", "test": 0.2, "validation": 0.1},
}


def config_of(name: str, folder: Path, kind: str) -> Config:
    """Return the config of a data set."""
    given: dict[str, Any] = {"model": {"kind": kind}, "ranker": {}}
    if name.startswith("kuairec"):
        given |= _SAMPLE | {"positive": {"threshold": 1.5}}
        if name == "kuairec-observed":
            given |= {"positive": {"duration_rank": 0.8}, "evaluation": {"candidates": "test_pairs"}}
        return resolved(Config.model_validate(given))
    tables = {"interactions": str(folder / name / "interactions.parquet")}
    schema: dict[str, Any] = {"timestamp": "timestamp" if name == "ml-100k" else "position"}
    if name == "ml-100k":
        tables |= {side: str(folder / name / f"{side}.parquet") for side in ("users", "items")}
        schema |= {
            "label": "rating",
            "users": {"age": "number", "gender": "category", "occupation": "category"},
            "items": {"genres": "categories", "release_year": "number"},
        }
        given |= {"positive": {"threshold": 4.0}, "split": {"method": "temporal"}}
    else:
        tables["items"] = str(folder / name / "items.parquet")
        schema["items"] = {"attributes": "categories"}
        given |= {"split": {"method": "leave_last"}}
    return resolved(Config.model_validate(given | {"data": tables, "schema": schema}))


def times_of(model: Recommender, n: int) -> tuple[list[float], list[float]]:
    """Return seconds of CPU and on the clock of ranking the candidates of each of n users again."""
    stage = model.ranker
    assert stage is not None
    cpu, clock = [], []
    for user in model.user_ids.sample(n, with_replacement=True, seed=0).to_list():
        asked = model.query_encoder.encode(Queries.of(user))
        found = model.search(asked.vectors, stage.settings.candidates, seen=asked.seen)
        begun = time.thread_time(), time.perf_counter()
        stage.apply(read_by(model, asked), found, Pool(len(model.items), None, asked.seen))
        cpu.append(time.thread_time() - begun[0])
        clock.append(time.perf_counter() - begun[1])
    return cpu, clock


def shown(name: str, config: Config, parts: Parts) -> dict[str, FloatArray]:
    """Train, print what is measured, and return the metrics of both stages by user."""
    begun = time.process_time()
    model = fit(config, parts, stages=Stages())
    assert model.ranker is not None
    print(f"{name}: {model.kind_said}, {time.process_time() - begun:.0f} CPU s for both stages")
    found = measured(config, model, parts.test)
    stages = found.stages
    assert stages is not None
    print(f"{model.ranker.trees.n_trees} trees from {model.ranker.queries[0]:,} queries; {stages.says}")
    for one in (one for one in _SHOWN if one in stages.towers):
        print(
            f"{one}: towers {stages.towers[one]}, both {found.metrics[one]}, difference "
            f"{stages.difference[one]}, of the ranker among its candidates {stages.ranker[one]}"
        )
    shares = list(model.ranker.importance().items())[:12]
    print("feature importance: " + ", ".join(f"{one} {share:.0%}" for one, share in shares))
    with threadpool_limits(1):
        times_of(model, 20)  # compiles
        cpu, clock = times_of(model, 300)
    width = min(model.ranker.settings.candidates, len(model.items))
    for what, seconds in (("CPU", cpu), ("clock", clock)):
        p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1e3
        print(f"{width} candidates of one user ranked again, {what}: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
    return dict(ranking_task(config, model, parts.test).values(model).users)


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("name", metavar="DATA")
    arguments.add_argument("--data", type=Path, default=Path("data"))
    arguments.add_argument("--kind", default="auto")
    arguments.add_argument("--set", dest="changes", nargs="*", default=[])
    arguments.add_argument("--sources", nargs="+", default=[])
    arguments.add_argument("--seed", type=int, default=42)
    given = arguments.parse_args()
    values: dict[str, Any] = {"seed": given.seed, **dict(one.split("=", 1) for one in given.changes)}
    values = {key: int(of) if str(of).isdigit() else of for key, of in values.items()}
    config = with_values(config_of(given.name, given.data, given.kind), values, "--set")
    parts = load_parts(config)
    users = {"towers": shown(given.name, config, parts)}
    if not given.sources:
        return
    config = with_values(config, {"ranker.sources": given.sources}, "--sources")
    users["with further sources"] = shown(f"with {', '.join(given.sources)}", config, parts)
    (change,) = mean_differences(users, "towers", resamples=1000, seed=given.seed).values()
    print("difference by further sources: " + ", ".join(f"{one} {change[one]}" for one in _SHOWN))


if __name__ == "__main__":
    main()

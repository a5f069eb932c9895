"""Ranking quality of our models beside tuned peers, on every data set at hand.

    python benchmarks/ranking.py --data DIR [--sets ml-100k] [--models two-tower] [--baselines EASE]

| set | held out of each user | given |
| --- | --- | --- |
| amazon-beauty, amazon-games, ml-1m-sequences | the last item; the one before for validation | ids, order |
| ml-100k-last | the same, of the ratings of at least 4 alone | ids, times, features |
| citeulike, kuairec-sample-positives, ml-100k-positives | 20% of the positives, at random | ids, features |
| kuairec-sample, ml-100k | 20% of the rows, at random; its positives are relevant | the same, labels |
| citeulike-cold, kuairec-sample-cold, ml-100k-cold | 20% of the items, ranked among each other | the same |

A positive is a watch ratio of at least 1.5 or a rating of at least 4; amazon-beauty has attributes of
items too. `kuairec-sample` is packaged; the others are folders of Parquet tables in DIR, and are skipped
with a message if missing. All items are ranked, except those that the user has in the training or
validation set.

Our models have the settings that `MODELS` names and otherwise the defaults; ``--model "wide:
model.dim=256"`` adds one. Each baseline is tuned on validation, where there are labels with and without
grades, and the better variant is fitted again on training and validation set, as ours is. The table says
what each was given, its CPU seconds with tuning, and for each of our models (marked *) the difference
from the best peer with its paired 95% interval over users; the best peer is chosen for each metric on the
test set, in its favour. ``--against NAME NAME`` compares with these models instead, ours too.

The lists of every model are kept in ``OUT/SET/NAME.npz`` (``--results OUT``) and are read from there the
next time, unless ``--again``. So single models can be run, and lists of other libraries are measured in
the same way: see `benchmarks/peers_rectools.py`, which reads ``OUT/SET/split.npz``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twotower.baselines import RANKING_BASELINES
from twotower.config import Config, load_config
from twotower.config.files import with_values
from twotower.config.sections import PositiveConfig
from twotower.core.vocabulary import Vocabulary
from twotower.data.dataset import Dataset
from twotower.data.fingerprint import fingerprint
from twotower.data.splitting import Parts
from twotower.datasets.configured import cut, read_raw
from twotower.errors import TwoTowerError
from twotower.evaluation import RankingTask, held_out_task
from twotower.evaluation.ranker import Ranker, RankRequest
from twotower.metrics import mean_differences
from twotower.training.progress_bars import EpochLines
from twotower.workflows.reading import check_positives
from twotower.workflows.stages import Stages
from twotower.workflows.training import fit
from twotower.workflows.tuned_baselines import NO_GRADES, Fitting, given_to_ours, settings_said

METRICS = ("recall@10", "ndcg@10", "ndcg@100", "recall@20")
PER_USER = {"method": "per_user", "test": 0.2, "validation": 0.1}
LISTED = 100
"""Length of the lists."""


@dataclass(frozen=True)
class Set:
    """A data set, and what is held out."""

    recipe: str | None = None
    folder: str | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, Any] = field(default_factory=lambda: PER_USER)
    positives: bool = False
    cold: bool = False

    def config(self, data: Path | None, seed: int) -> Config:
        """Return its config, for tables in ``data`` unless they are packaged."""
        if self.recipe is not None:
            where = [] if self.folder is None else [f"data.dir={data}/{self.folder}"]
            config = with_values(load_config(self.recipe, where), {"seed": seed}, self.recipe)
        else:
            tables = {"interactions": f"{data}/{self.folder}/interactions.parquet"}
            if "items" in self.schema:
                tables["items"] = f"{data}/{self.folder}/items.parquet"
            objective = {"name": "all_pairs"}
            found = {"data": tables, "schema": self.schema, "split": PER_USER, "objective": objective}
            config = Config.model_validate({"seed": seed, **found})
        config = with_values(config, {f"split.{key}": of for key, of in self.split.items()}, "split")
        if self.cold:
            cold = {"split.method": "cold_items", "evaluation.candidates": "test_items"}
            config = with_values(config, cold, "cold items")
        return config

    def parts(self, config: Config) -> tuple[Config, Parts]:
        """Return the sets, and the config for them."""
        raw = read_raw(config)
        if not self.positives:
            return config, cut(config, raw)
        whole, least = raw["interactions"], config.positive.threshold
        label = whole.schema.label
        assert label is not None
        assert least is not None
        kept = whole.with_interactions(whole.interactions.filter(pl.col(label) >= least).drop(label))
        bare = replace(kept, schema=kept.schema.model_copy(update={"label": None}))
        config = config.model_copy(update={"positive": PositiveConfig()})
        return config, cut(config, {"interactions": bare})


LAST = {"method": "leave_last"}
ORDER = {"timestamp": "position"}
TAGS = {"items": {"tags": "categories"}}
KUAIREC, MOVIELENS = "kuairec-sample-ranking", "movielens-100k-ranking"
SETS = {
    "amazon-beauty": Set(
        folder="amazon-beauty", schema={**ORDER, "items": {"attributes": "categories"}}, split=LAST
    ),
    "amazon-games": Set(folder="amazon-games", schema=ORDER, split=LAST),
    "ml-1m-sequences": Set(folder="ml-1m-sequences", schema=ORDER, split=LAST),
    "ml-100k-last": Set(MOVIELENS, "ml-100k", split=LAST, positives=True),
    "citeulike": Set(folder="citeulike", schema=TAGS),
    "kuairec-sample-positives": Set(KUAIREC, positives=True),
    "ml-100k-positives": Set(MOVIELENS, "ml-100k", positives=True),
    "kuairec-sample": Set(KUAIREC),
    "ml-100k": Set(MOVIELENS, "ml-100k"),
    "citeulike-cold": Set(folder="citeulike", schema=TAGS, cold=True),
    "kuairec-sample-cold": Set(KUAIREC, cold=True),
    "ml-100k-cold": Set(MOVIELENS, "ml-100k", cold=True),
}


@dataclass(frozen=True)
class Model:
    """Settings of ours, and whether it gets features."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    features: bool = True


MODELS = {
    "two-tower": Model(),
    "linear": Model({"model.kind": "linear"}),
    "ids alone": Model(features=False),
    "item_item": Model({"model.kind": "item_item", "training.epochs": 1}),
    "mlp, softmax": Model({"model.kind": "mlp", "objective.name": "softmax"}),
}


@dataclass(frozen=True, eq=False)
class Kept(Ranker):
    """Lists that were ranked before: ids (n_users, k), -1 after the last one."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    about: Mapping[str, Any]

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Return the rows of the kept items; nothing for a user without a list."""
        rows = Vocabulary(queries.items).rows(pl.Series(self.items.ravel())).reshape(self.items.shape)
        place = Vocabulary(pl.Series(self.users)).rows(queries.users)
        found = np.where((place >= 0)[:, None], rows[place, :k], -1)
        return found.astype(np.int32)

    def save(self, path: Path) -> None:
        """Write the lists."""
        np.savez_compressed(path, users=self.users, items=self.items, about=json.dumps(self.about))

    @classmethod
    def read(cls, path: Path) -> Kept:
        """Read lists of ours or of another library."""
        with np.load(path) as of:
            return cls(of["users"], of["items"], json.loads(str(of["about"])))


class Said(EpochLines):
    """Keeps what was chosen on validation, and prints the epochs if they are to be shown."""

    def __init__(self, shown: bool) -> None:
        super().__init__(partial(print, "   ", flush=True) if shown else lambda line: None)
        self.chosen: list[str] = []

    def on_choice(self, *, line: str) -> None:
        """Keep the line."""
        self.chosen.append(line)
        super().on_choice(line=line)


class Noted(Ranker):
    """Keeps the lists of another ranker, block by block."""

    def __init__(self, ranker: Ranker) -> None:
        self.ranker, self.name = ranker, ranker.name
        self.lists: list[NDArray[np.int32]] = []

    def rank(self, queries: RankRequest, k: int) -> NDArray[np.int32]:
        """Rank as the other does."""
        self.lists.append(self.ranker.rank(queries, k))
        return self.lists[-1]


@dataclass
class Bench:
    """One data set with one seed: what is held out, and the lists so far."""

    title: str
    config: Config
    parts: Parts
    folder: Path
    task: RankingTask
    key: str

    @classmethod
    def of(cls, title: str, data: Path | None, results: Path, seed: int) -> Bench:
        """Read and split, and write the split for other libraries."""
        spec = SETS[title]
        config, parts = spec.parts(spec.config(data, seed))
        folder = results / (title if seed == 42 else f"{title}-{seed}")
        folder.mkdir(parents=True, exist_ok=True)
        task = held_out_task(
            parts.test,
            parts.train.joined(parts.validation),
            check_positives(config, parts),
            ks=(10, 20, LISTED),
            candidates=config.evaluation.candidates,
        )
        key = fingerprint(parts)
        _write_split(folder / "split.npz", parts, key)
        return cls(title, config, parts, folder, task, key)

    def keep(
        self, name: str, make: Callable[[], tuple[Ranker, dict[str, Any]] | str], *, again: bool
    ) -> None:
        """Make the lists of a model unless they are there."""
        path = self.folder / f"{name}.npz"
        if path.exists() and not again and Kept.read(path).about.get("split") == self.key:
            return
        start, begun = time.process_time(), time.perf_counter()
        try:
            made = make()
        except TwoTowerError as error:
            made = str(error)
        if isinstance(made, str):
            print(f"  {name}: left out, {made}", flush=True)
            return
        ranker, about = made
        seconds, passed = time.process_time() - start, time.perf_counter() - begun
        about |= {"cpu_seconds": round(seconds, 1), "seconds": round(passed, 1), "split": self.key}
        noted = Noted(ranker)
        self.task.values(noted)
        items = np.concatenate(noted.lists)
        ids = np.where(items >= 0, self.task.items.to_numpy()[np.maximum(items, 0)], -1)
        Kept(self.task.users.to_numpy(), ids, about).save(path)
        print(f"  {name}: {seconds:.0f} CPU s, {passed:.0f} s, {about['settings']}", flush=True)

    def ours(self, model: Model, shown: bool = False) -> tuple[Ranker, dict[str, Any]] | str:
        """Train one of our models; the reason if it is another one here."""
        config = with_values(self.config, model.settings, "the settings of the model")
        parts, schema = self.parts, self.parts.train.schema
        if not model.features:
            if not (schema.users or schema.items):
                return "the data has no features"
            parts = Parts(_bare(parts.train).as_train(), _bare(parts.validation), _bare(parts.test))
        said = Said(shown)
        fitted = fit(config, parts, stages=Stages(), callbacks=[said])
        given, users = given_to_ours(config, fitted.encoder.schema), fitted.model.users
        times = ", times" if users.reads_history and users.ordered else ""
        settings = ", ".join(f"{key} {value}" for key, value in model.settings.items()) or "defaults"
        about = {"given": given + times, "settings": settings, "ours": True, "chosen": said.chosen}
        return fitted, about

    def baseline(self, name: str) -> tuple[Ranker, dict[str, Any]] | str:
        """Tune and fit a baseline; the reason if it does not suit the data."""
        kind = RANKING_BASELINES[name]
        if why := kind.unsuited(self.parts.train):
            return why
        if kind.for_new_items != (self.config.split.method == "cold_items") and name != "popularity":
            return "it is for new items" if kind.for_new_items else "it knows nothing of new items"
        rule = check_positives(self.config, self.parts)
        fitting = Fitting(self.config, self.parts, rule, lambda line: None)
        fitted = fitting.fitted(name)
        if fitted is None:
            return fitting.skipped[name]
        choice = fitting.choices[name]
        settings = settings_said(choice.baseline.settings()) or "none"
        if choice.at_edge:
            settings += f" (at the edge: {', '.join(choice.at_edge)})"
        given = choice.given + (f"; {kind.needs}" if kind.needs else "")
        return fitted, {"given": given, "settings": settings, "tried": choice.tried, "ours": False}

    def table(self, against: Sequence[str] = ()) -> dict[str, dict[str, float]]:
        """Print all lists' metrics, and how ours differ from the best peer or from those that are named.

        Returns:
            model -> metric -> value.
        """
        train, test = len(self.parts.train), len(self.parts.test)
        method = self.config.split.method
        print(
            f"\n{self.title}, {method}, seed {self.config.seed}: training {train:,}, test {test:,}, "
            f"{len(self.task.users):,} users, {len(self.task.items):,} items"
        )
        kept = {
            path.stem: Kept.read(path) for path in sorted(self.folder.glob("*.npz")) if path.stem != "split"
        }
        kept = {name: of for name, of in kept.items() if of.about.get("split") == self.key}
        values = {name: self.task.values(of).users for name, of in kept.items()}
        means = {name: {m: float(np.nanmean(of[m])) for m in METRICS} for name, of in values.items()}
        print(f"  {'':18s} " + " ".join(f"{m:>9s}" for m in METRICS) + f" {'CPU s':>7s}  given; settings")
        for name in sorted(means, key=lambda one: -means[one]["ndcg@10"]):
            about = kept[name].about
            row = " ".join(f"{means[name][m]:9.4f}" for m in METRICS)
            ours, told = "*" if about["ours"] else " ", about["given"].replace(NO_GRADES, "ids")
            print(f" {ours}{name:18s} {row} {about['cpu_seconds']:7.0f}  {told}; {about['settings']}")
        for name, of in kept.items():
            for line in of.about.get("chosen", []):
                print(f"  {name}: {line}")
        peers = [name for name in kept if not kept[name].about["ours"]]
        for name in [name for name in kept if kept[name].about["ours"]]:
            for metric in METRICS:
                best = [max(peers, key=lambda one: means[one][metric])] if peers else []
                for other in [one for one in against if one in kept and one != name] or best:
                    two = {one: {metric: values[one][metric]} for one in (name, other)}
                    gap = mean_differences(two, other)[name][metric]
                    share = gap.value / means[other][metric]
                    print(
                        f"  {name} - {other}: {metric} {gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}], "
                        f"{share:+.1%}"
                    )
        return means


def _bare(part: Dataset) -> Dataset:
    return replace(part, schema=part.schema.model_copy(update={"users": {}, "items": {}}))


def _write_split(path: Path, parts: Parts, key: str) -> None:
    """Write user, item, place in the order of user and time (at equal times that of the table), and part."""
    if path.exists() and str(np.load(path)["key"]) == key:
        return
    schema, named = parts.train.schema, vars(parts).items()
    rows = pl.concat(
        part.interactions.select(
            user=schema.user,
            item=schema.item,
            time=pl.lit(0.0) if schema.timestamp is None else pl.col(schema.timestamp).cast(pl.Float64),
            part=pl.lit(name),
        )
        for name, part in named
    )
    rows = rows.sort("user", "time", maintain_order=True)
    columns = {name: rows.get_column(name).to_numpy() for name in ("user", "item")}
    part = np.array(rows.get_column("part").to_list())
    np.savez_compressed(path, **columns, place=np.arange(rows.height), part=part, key=np.array(key))


def _sets(names: Iterable[str], data: Path | None) -> list[str]:
    """Return the sets whose folder exists."""
    found = []
    for name in names:
        folder = SETS[name].folder
        if folder is None or (data is not None and (data / folder).is_dir()):
            found.append(name)
        else:
            print(f"{name}: skipped, no folder {folder} in {data or '--data (not given)'}")
    return found


def _model(text: str) -> tuple[str, Model]:
    """Read ``name: key=value key=value``; values are JSON or plain text; ``ids`` alone: without features."""
    name, _, rest = text.partition(":")
    settings = {}
    pairs = rest.split()
    for pair in pairs:
        if pair == "ids":
            continue
        key, _, value = pair.partition("=")
        try:
            settings[key] = json.loads(value)
        except ValueError:
            settings[key] = value
    return name.strip(), Model(settings, features="ids" not in pairs)


def main() -> None:
    """Run the benchmark and print the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--data", type=Path, help="parent folder of the data sets")
    arguments.add_argument("--results", type=Path, default=Path("runs/ranking"), help="where lists are kept")
    arguments.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="only these")
    arguments.add_argument("--seeds", type=int, nargs="+", default=[42])
    arguments.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), help="only these")
    arguments.add_argument("--model", action="append", default=[], help="one more: 'name: key=value ...'")
    arguments.add_argument("--baselines", nargs="*", default=list(RANKING_BASELINES), help="only these")
    arguments.add_argument("--against", nargs="*", default=[], help="compare ours with these, not the best")
    arguments.add_argument("--again", action="store_true", help="run those that are kept, too")
    arguments.add_argument("--verbose", action="store_true", help="print the epochs of ours")
    given = arguments.parse_args()
    models = {name: MODELS[name] for name in given.models} | dict(map(_model, given.model))
    for title in _sets(given.sets, given.data):
        means: list[dict[str, dict[str, float]]] = []
        for seed in given.seeds:
            bench = Bench.of(title, given.data, given.results, seed)
            for name, model in models.items():
                bench.keep(name, partial(bench.ours, model, given.verbose), again=given.again)
            for name in given.baselines:
                bench.keep(name, partial(bench.baseline, name), again=given.again)
            means.append(bench.table(given.against))
        if len(means) > 1:
            print(f"\n{title}, mean of {len(means)} seeds")
            for name in [one for one in means[0] if all(one in of for of in means)]:
                of_seeds = {m: np.mean([of[name][m] for of in means]) for m in METRICS}
                print(f"  {name:18s} " + " ".join(f"{of_seeds[m]:9.4f}" for m in METRICS))


if __name__ == "__main__":
    main()

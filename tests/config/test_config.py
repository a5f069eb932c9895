"""The configuration: every default reads back, every slip has a message with the mend."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from twotower.config import (
    Config,
    DataConfig,
    PositiveConfig,
    TrainingConfig,
    differences,
    dump_config,
    load_config,
    recipes,
    resolved,
    with_values,
)
from twotower.errors import ConfigError, RenamedWarning

TABLES = """
seed = 7
[data]
interactions = "events.csv"
users = "people.parquet"
[schema]
user = "person"
item = "film"
label = "stars"
display = ["title"]
[schema.users]
age = "number"
"home town" = "category"
[split]
method = "temporal"
"""


def write(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def fault(source: str | Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides)
    return str(caught.value)


def test_tables_with_a_schema(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TABLES))
    assert config.seed == 7
    assert config.schema_ is not None
    assert config.schema_.users == {"age": "number", "home town": "category"}
    assert config.data.interactions == str(tmp_path / "events.csv")
    assert config.data.users == str(tmp_path / "people.parquet")
    assert config.data.items is None


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + TABLES.encode())
    assert load_config(path).seed == 7


@pytest.mark.parametrize("name", recipes())
def test_recipes_read_and_round_trip(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_there_are_the_recipes_that_the_design_names() -> None:
    rating = {"kuairec-sample", "kuairec", "movielens-100k", "movielens-1m"}
    assert set(recipes()) == rating | {f"{name}-ranking" for name in rating}


@pytest.mark.parametrize("name", [name for name in recipes() if name.endswith("-ranking")])
def test_ranking_recipes_have_positives_and_an_implicit_objective(name: str) -> None:
    config, plain = load_config(name), load_config(name.removesuffix("-ranking"))
    assert config.objective.implicit
    assert not plain.objective.implicit
    assert config.positive == plain.positive != PositiveConfig()
    assert config.evaluation.candidates == plain.evaluation.candidates


def test_recipe_kuairec() -> None:
    config = load_config("kuairec", ["data.dir=/elsewhere/KuaiRec.zip"])
    assert config.data.dir == "/elsewhere/KuaiRec.zip"
    assert (config.split.train, config.split.test, config.split.validation) == (
        "big_matrix.csv",
        "small_matrix.csv",
        0.1,
    )
    assert config.objective.cap == config.evaluation.cap == 5.0
    assert config.training.epochs == 8


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["training.trainer=gradients", "training.clip_norm=none", "training.threads=1"],
        ["seed=7", "user_vectors=false"],
        ["model.kind=mlp", "training.batch_size=64", "split.validation=0.2", "evaluation.cap=4.5"],
        ["schema.items.plot=text", "schema.timestamp=when", "data.items=~/items.csv"],
        [
            'schema.users={"a.b" = "vector", "标题" = "text"}',
            "objective.name=huber",
            "objective.transform=cap",
            "objective.cap=1e-3",
        ],
    ],
)
def test_round_trip(overrides: list[str], tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TABLES), overrides)
    again = load_config(write(tmp_path, dump_config(config), "again.toml"))
    assert again == config
    assert not differences(again, config)


def test_round_trip_of_a_config_made_in_python(tmp_path: Path) -> None:
    config = resolved(Config(data=DataConfig(source="kuairec-sample"), training=TrainingConfig(threads=1)))
    assert load_config(write(tmp_path, dump_config(config))) == config


def test_overrides_are_toml_values_or_strings(tmp_path: Path) -> None:
    config = load_config(
        write(tmp_path, TABLES),
        [
            "model.kind=mlp",
            "model.hidden=[32, 16]",
            "objective.name=huber",
            "training.refit = false",
            "training.learning_rate=.01",
            "seed=3",
            "split.method=random",
            "split.test=.25",
        ],
    )
    assert config.model.hidden == (32, 16)
    assert config.objective.name == "huber"
    assert config.training.refit is False
    assert config.training.learning_rate == 0.01
    assert config.seed == 3
    assert config.split.test == 0.25


def test_keys_above_all_sections(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, f"user_vectors = false\n{TABLES}"))
    assert (config.seed, config.user_vectors) == (7, False)
    assert load_config("kuairec-sample", ["user_vectors=false"]).user_vectors is False


def test_none_takes_a_value_away() -> None:
    config = load_config("kuairec-sample", ["objective.transform=none", "objective.cap=none"])
    assert config.objective.transform == "none"
    assert config.objective.cap is None


def test_paths_are_relative_to_the_file_and_overrides_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    path = write(there, TABLES)
    monkeypatch.chdir(here)
    config = load_config(path, ["data.items=items.csv"])
    assert config.data.interactions == str(there / "events.csv")
    assert config.data.items == str(here / "items.csv")
    assert load_config("kuairec").data.dir == str(here / "data" / "kuairec")


def test_split_files_are_paths_of_tables_and_names_of_matrices(tmp_path: Path) -> None:
    files = TABLES.replace('interactions = "events.csv"\n', "").replace(
        'method = "temporal"', 'method = "files"\ntrain = "a.csv"\ntest = "b.csv"'
    )
    assert load_config(write(tmp_path, files)).split.test == str(tmp_path / "b.csv")
    assert load_config("kuairec").split.test == "small_matrix.csv"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.learning_rat=0.1", "unknown key 'training.learning_rat'. Did you mean 'learning_rate'?"),
        ("trainin.epochs=1", "unknown key 'trainin'. Did you mean 'training'?"),
        ("learning_rate=0.1", "unknown key 'learning_rate'. It belongs in [training]."),
        (
            "zzz=1",
            "Valid: seed, user_vectors, data, schema, split, positive, model, objective, training, ",
        ),
        (
            "model.zzz=1",
            "unknown key 'model.zzz'. Valid: kind, dim, max_dim, ensemble_size, normalise,",
        ),
        ("schema.lable=x", "unknown key 'schema.lable'. Did you mean 'label'?"),
        ("split.method=temporl", "got 'temporl'. Did you mean 'temporal'?"),
        (
            "objective.name=hubert",
            "must be one of all_pairs, softmax, bpr, squared, huber, logistic; got 'hubert'. Did you mean",
        ),
        ("schema.users.age=numbr", "got 'numbr'. Did you mean 'number'?"),
        ("model.dim=2", "'model.dim' must be 'auto' or at least 4, got 2."),
        ("model.dim=eight", "'model.dim' must be 'auto' or a whole number, got 'eight'."),
        ("model.dim=8.5", "'model.dim' must be 'auto' or a whole number, got 8.5."),
        ('training.epochs="20"', "'training.epochs' must be 'auto' or a whole number, got '20'."),
        ("training.epochs=true", "'training.epochs' must be 'auto' or a whole number, got true."),
        ("training.refit=1", "'training.refit' must be true or false, got 1."),
        ("training.batch_size=0", "must be 'auto' or a whole number of pairs, 1 or more (got 0)."),
        ("training.batch_size=atuo", "must be 'auto' or a whole number of pairs, 1 or more (got 'atuo')."),
        ("training.device=gpu", "must be auto, cpu, cuda, cuda:1 (and so on) or mps (got 'gpu')."),
        ("training.learning_rate=nan", "'training.learning_rate' must be 'auto' or a finite number"),
        ("training.learning_rate=inf", "'training.learning_rate' must be 'auto' or a finite number"),
        ("split.test=1.0", "'split.test': must be a share between 0 and 1"),
        ("split.test=[0.1]", "'split.test': must be a share between 0 and 1"),
        ("split.train=a.csv", "file paths are only for method 'files'; method 'temporal' takes shares"),
        ("split.method=files", "method 'files' needs the paths split.train and split.test"),
        ("evaluation.ks=[]", "'evaluation.ks' must be a list of 1 or more, got []."),
        ("evaluation.ks=[10, 0]", "'evaluation.ks.1' must be at least 1, got 0."),
        ("evaluation.candidates=tests", "all, test_items, test_pairs; got 'tests'"),
        ("seed=-1", "'seed' must be at least 0, got -1."),
        ("user_vectors=1", "'user_vectors' must be true or false, got 1."),
        ("seed=a", "'seed' must be a whole number, got 'a'."),
        ("training=3", "'training' must be a section with keys, got 3."),
        ("objective.cap=3.0", "transform = 'cap' and a value for cap go together"),
        ("data.interactions=none", "[data] interactions is missing"),
        ("data.source=kuairec", "interactions is for source 'tables'; 'kuairec' is read from dir"),
        ("data.dir=x", "source 'tables' does not read it"),
        ("data.interactions=''", "'data.interactions' must not be empty, got ''."),
        ("training.epochs", "--set takes section.key=value, got 'training.epochs'"),
        (".epochs=1", "--set takes section.key=value, got '.epochs=1'"),
        ("seed.x=1", "'seed' is a value and has no keys"),
    ],
)
def test_faults(override: str, said: str, tmp_path: Path) -> None:
    by = {"training.batch_size": "training.trainer=gradients", "training.learning_rate": "model.kind=mlp"}
    more = [by[key] for key in by if override.startswith(f"{key}=")]
    if override.startswith("objective.cap"):
        more = ["objective.name=huber"]
    assert said in fault(write(tmp_path, TABLES), override, *more)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.batch_size=64", "leave it at 'auto', or name one kind of towers (model.kind) instead of"),
        (
            "model.dropout=0.2",
            "only read by tower 'mlp' or 'sequence', not by 'auto'; leave it at 'auto', or set",
        ),
        (
            "objective.delta=2.0",
            "only read by objective 'huber', not by 'all_pairs'; leave it at 1.0,",
        ),
        ("training.trainer=variational", "can't train towers of kind 'linear' by objective 'all_pairs'; use"),
        (
            "training.trainer=adam",
            "'training.trainer' must be one of auto, variational, als, ease, sequences, several, gradients;",
        ),
        (
            "model.kind=mpl",
            "'model.kind' must be one of linear, mlp, item_item, sequence, auto; got 'mpl'. Did you mean",
        ),
    ],
)
def test_a_setting_that_nothing_reads_names_what_does(override: str, said: str, tmp_path: Path) -> None:
    assert said in fault(write(tmp_path, TABLES), override)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("objective.regularisation=-1", "'objective.regularisation' must be 'auto' or at least 0, got -1"),
        ("objective.regularisation=x", "'objective.regularisation' must be 'auto' or a number, got 'x'"),
        ("model.ensemble_size=0", "'model.ensemble_size' must be 'auto' or at least 1, got 0"),
        ("model.ensemble_size=1.5", "'model.ensemble_size' must be 'auto' or a whole number, got 1.5"),
    ],
)
def test_a_setting_that_is_a_word_or_a_number_has_one_error(override: str, said: str, tmp_path: Path) -> None:
    found = fault(write(tmp_path, TABLES), override)
    assert said in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("hidden = [8]", "mlp"),
        ("hidden = []", "linear"),
        ('hidden = "auto"', "linear"),
        ('hidden = "auto"\ndropout = 0.3', "mlp"),
        ('hidden = "auto"\nid_dropout = 0.3', "mlp"),
        ('hidden = "auto"\n[objective]\nname = "softmax"', "mlp"),
        ("hidden = []\nid_dropout = 0.3", "linear"),
    ],
)
def test_configs_from_before_there_was_a_kind(text: str, kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, f"{TABLES}\n[model]\n{text}\n")
    with pytest.warns(RenamedWarning, match="model.kind"):
        config = load_config(path, ["training.trainer=gradients"] if "id_dropout" in text else [])
    assert config.model.kind == kind
    assert load_config(path, saved=True).model.kind == kind if "id_dropout" not in text else True


def test_models_rank_by_default_and_need_a_label_to_predict(tmp_path: Path) -> None:
    path = write(tmp_path, TABLES)
    assert load_config(path, ["schema.label=none"]).objective.name == "all_pairs"
    assert "[schema] label is missing: name the column that objective 'squared' predicts" in fault(
        path, "schema.label=none", "objective.name=squared"
    )


@pytest.mark.parametrize(
    ("source", "override", "said"),
    [
        (
            "kuairec-sample",
            "schema.user=a",
            "[schema] is for source 'tables'; 'kuairec-sample' brings its own",
        ),
        ("kuairec-sample", "data.dir=x", "source 'kuairec-sample' does not read it"),
        ("kuairec-sample", "data.users=x.csv", "users is for source 'tables'; 'kuairec-sample' is packaged"),
        (
            "kuairec-sample-ranking",
            "evaluation.ranking=false",
            "objective 'all_pairs', which is measured by ranking metrics only",
        ),
        ("kuairec", "data.dir=none", "dir is needed: the folder or zip with the raw files of 'kuairec'"),
        (
            "kuairec",
            "data.source=movielens",
            "split method 'files' is for the sources 'tables' and 'kuairec'",
        ),
    ],
)
def test_faults_of_recipes(source: str, override: str, said: str) -> None:
    message = fault(source, override)
    assert said in message
    assert message.startswith(f"recipe '{source}' with --set: ")


def test_a_transform_that_takes_labels_from_where_the_objective_needs_them() -> None:
    logistic = ("objective.name=logistic", "objective.cap=none")
    with pytest.raises(ConfigError, match=r"'logistic' needs labels from 0 to 1.*use transform 'none'"):
        load_config("kuairec-sample", (*logistic, "objective.transform=standardise"))
    for transform in ("none", "log1p", "duration_rank"):  # seen on the labels, or always within
        made = load_config("kuairec-sample", (*logistic, f"objective.transform={transform}"))
        assert made.objective.transform == transform


def test_tables_without_a_schema(tmp_path: Path) -> None:
    assert "[schema] is missing" in fault(write(tmp_path, '[data]\ninteractions = "a.csv"'))


def test_interactions_beside_files_would_not_be_read(tmp_path: Path) -> None:
    text = TABLES.replace('method = "temporal"', 'method = "files"\ntrain = "a.csv"\ntest = "b.csv"')
    assert "[data] interactions is not read with split method 'files'" in fault(write(tmp_path, text))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    message = fault(write(tmp_path, TABLES + "[model]\ndims = 3\n[training]\nepochs = 0\n"))
    assert "Did you mean 'dim'?" in message
    assert "'training.epochs'" in message
    assert len(message.splitlines()) == 3


def test_text_that_is_no_toml(tmp_path: Path) -> None:
    message = fault(write(tmp_path, "[data\n"))
    assert "config.toml is not valid TOML" in message
    assert "line 1" in message
    (tmp_path / "latin.toml").write_bytes(b'[data]\ndir = "\xe9"')
    assert "is not UTF-8 text" in fault(tmp_path / "latin.toml")


def test_names_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, TABLES, "films.toml")
    assert "there is no 'kuairek'. Did you mean 'kuairec'?" in fault("kuairek")
    assert "there is no 'film.toml'. Did you mean 'films.toml'?" in fault("film.toml")
    assert f"'{tmp_path}' is a folder. Did you mean '{tmp_path / 'films.toml'}'?" in fault(tmp_path)
    assert "got nothing" in fault("")
    assert "Did you mean 'films.toml'?" in fault("films.tml")
    (tmp_path / "films.csv").write_text("a,b\n")
    assert "run `twotower init films.csv` to write a config for it" in fault("films.csv")
    assert "`twotower init DATA --out nowhere/else.toml` writes a config" in fault("nowhere/else.toml")
    assert "kuairec-sample" in fault("nowhere/else")


def test_a_recipe_wins_over_a_file_unless_it_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, TABLES, "kuairec")
    assert load_config("kuairec").data.source == "kuairec"
    assert load_config("./kuairec").data.source == "tables"


def test_differences_name_the_key_and_both_values() -> None:
    one = load_config("kuairec-sample")
    two = load_config(
        "kuairec-sample",
        ["training.epochs=3", "training.clip_norm=none", "model.kind=mlp", "model.hidden=[8]"],
    )
    assert differences(one, two) == [
        'model.kind: "linear", "mlp"',
        'training.epochs: "auto", 3',
        "model.hidden: [128], [8]",
        "training.clip_norm: 5.0, not set",
    ]


def test_defaults_that_were_written_down_are_those_of_the_part_that_is_named_then(tmp_path: Path) -> None:
    dumped = write(tmp_path, dump_config(load_config(write(tmp_path, TABLES), ["model.kind=linear"])))
    assert "max_dim = 512" in dumped.read_text(encoding="utf-8")
    assert load_config(dumped, ["model.kind=item_item"]).model.max_dim == 2048
    assert load_config(dumped, ["model.max_dim=512", "model.kind=item_item"]).model.max_dim == 512
    assert load_config(dumped, ["model.kind=linear"]).model.max_dim == 512
    other = load_config(dumped, ["model.kind=item_item", "model.max_dim=300"])
    assert with_values(other, {"model.kind": "linear"}, "it").model.max_dim == 300


def test_a_folder_of_stores_is_local() -> None:
    with pytest.raises(ValidationError, match=r"must be a folder of this machine.*got 's3://bucket/stores'"):
        DataConfig(interactions="events", store_dir="s3://bucket/stores")

"""The exceptions: every error that the user can fix is a `TwoTowerError`.

The command line turns a `TwoTowerError` into one message and exit code 2; anything else is a bug (exit code
1). A message states the rule, the value received and the fix, in that order.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final


class TwoTowerError(Exception):
    """Base of all errors caused by input that the user can fix."""


class ConfigError(TwoTowerError):
    """A config file or an argument is invalid: unknown key, unknown method, value out of range."""


class DataError(TwoTowerError):
    """A table is invalid: missing file or column, a value of the wrong kind, a duplicate or null id."""


class TrainPartError(DataError, TypeError):
    """Data that are not marked as a training set are given where one is required."""


class DownloadError(TwoTowerError):
    """A download failed: offline, interrupted, or the checksum does not match."""


class BundleError(TwoTowerError):
    """A bundle or another file of a run can't be read or written: missing, truncated, mixed up, or of another
    version."""


class IndexUnavailable(TwoTowerError):
    """The vector database that has the index does not answer, or no longer has it."""


class TrainingError(TwoTowerError):
    """Training can't continue: the loss is not finite, or the checkpoint belongs to another run."""


class ForkedProcessError(TwoTowerError):
    """The process was forked after Polars had started its threads; the child process lacks them."""


class MissingExtraError(TwoTowerError):
    """An optional dependency is not installed; the message names the extra to install."""


class TwoTowerWarning(UserWarning):
    """Something was left out, shortened, or used for what it was not made for; the work continues."""


class RenamedWarning(TwoTowerWarning, FutureWarning):
    """A setting or an argument was given by its old name, which works for one more version."""


def yes_or_no(name: str, value: object) -> bool:
    """Return a True/False argument as a bool; anything else is refused (the string ``"no"`` would count as
    true)."""
    if type(value).__name__ not in ("bool", "bool_"):
        raise ConfigError(f"{name} must be True or False, got {value!r}; write it without quotes")
    return bool(value)


_SAME_MEANING: Final[Mapping[str, str]] = {
    "seed": "random_state random_seed rng",
    "dim": "n_factors factors num_factors n_components no_components latent_dim embedding_size vector_size",
    "learning_rate": "lr eta step_size",
    "epochs": "n_epochs num_epochs max_epochs iterations n_iterations n_iter max_iter",
    "regularisation": "reg reg_all regularization alpha l2 l2_reg reg_lambda lambda_",
    "objective": "loss criterion loss_function",
    "name": "loss criterion loss_function objective",
    "threads": "n_jobs num_threads n_threads workers num_workers",
    "hidden": "hidden_layers hidden_layer_sizes hidden_units layers mlp_layers tower_layers",
    "patience": "early_stopping early_stopping_patience early_stopping_rounds n_iter_no_change",
    "negatives": "n_negatives num_negatives negative_samples neg_samples",
    "weight_decay": "wd decay",
    "clip_norm": "clipnorm grad_clip gradient_clip max_grad_norm gradient_clip_val",
    "batch_size": "bs batch minibatch_size",
    "schedule": "scheduler lr_schedule lr_scheduler",
    "normalise": "normalize cosine l2_norm",
    "temperature": "tau",
    "device": "gpu use_gpu accelerator cuda",
    "positive": "threshold rating_threshold min_rating positive_threshold",
    "threshold": "rating_threshold min_rating positive_threshold",
    "user": "user_id userid userId uid user_col query_id",
    "item": "item_id itemid itemId iid item_col",
    "label": "rating ratings score target y",
    "timestamp": "datetime date time",
    "temporal": "time time_range timerange time_split TimeRangeSplitter TimeSplitter global_time",
    "leave_last": "last_n last LastNSplitter leave_one_out leave_one_last loo",
}
"""Settings, and their names in other libraries."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of ``valid``, or an empty string if none is near.

    Nearest in meaning first, then in spelling.

    >>> nearest("lr", ["learning_rate", "epochs"])
    " Did you mean 'learning_rate'?"
    >>> nearest("epoch", ["learning_rate", "epochs"])
    " Did you mean 'epochs'?"
    """
    choices = list(valid)
    found = [key for key, others in _SAME_MEANING.items() if key in choices and name in others.split()]
    found = found or difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    return f" Did you mean '{found[0]}'?" if found else ""

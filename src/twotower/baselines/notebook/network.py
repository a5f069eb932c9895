"""The neural network of the original notebook: one MLP on a row's user and item features."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from twotower.baselines.baseline import Baseline, Examples, FloatArray
from twotower.baselines.notebook.inputs import Inputs, NotebookInputs
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, TrainingError

BATCH = 128
"""Rows per step."""
PATIENCE = 3
"""Epochs without a lower validation loss before training stops."""
_ROWS_AT_ONCE = 65_536
"""Rows per forward pass at prediction."""


class NotebookNetwork(Baseline):
    """User and item features concatenated, 128 relu, dropout 0.3, 64 relu, 32 relu, 1.

    Adam at 1e-3 on the squared error of the standardised label, `BATCH` rows per step, 5 epochs. With a
    validation set the rate is halved after 2 epochs without a lower validation loss, training stops after 3,
    and the weights of the best epoch are kept. Layers are initialised as in Keras. It does not use ids: users
    with the same features get the same predictions.

    The model is that of the notebook: categories are label-encoded and standardised like numbers, counts are
    not log-transformed, lists are multi-hot, texts are ignored, and the score does not factorise. Mistakes
    that made its metrics wrong are fixed:

    - features are joined by id, not by position;
    - features come from the given tables; no daily counts are summed over the test period;
    - labels and features are scaled by the training set only, and predictions are scaled back with the same
        scale;
    - the learning rate and early stopping use the validation set, never the test set.

    Duplicate events and rows without a time are handled by reading and splitting.

    Attributes:
        rates: the learning rate of each epoch up to the best, after fitting; a refit repeats these epochs.
    """

    name = "notebook"
    quick = False
    given = "labels, features"

    def __init__(self, epochs: int = 5) -> None:
        super().__init__()
        if epochs < 1:
            raise ConfigError(f"epochs must be at least 1; got {epochs}. The notebook trains for 5")
        self.epochs = epochs

    def _fit(self, train: Examples, validation: Examples | None, seed: int) -> None:
        inputs = self._prepare(train)
        held = None
        if validation is not None:
            held = (self.encoder.transform(validation.data), self._target(validation))
        with _seeded(seed):
            training = _Training(inputs, self._target(train), train.weight)
            self.network = training.network
            # Torch waits one epoch more than its patience, Keras does not: 1 in torch is 2 in Keras.
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                training.optimiser, factor=0.5, patience=1, threshold=1e-4, threshold_mode="abs"
            )
            rates: list[float] = []
            best, best_epoch, best_weights = np.inf, 0, None
            while len(rates) < self.epochs and len(rates) - best_epoch < PATIENCE:
                rates.append(training.rate)
                training.epoch(len(rates))
                if held is None:
                    best_epoch = len(rates)
                    continue
                loss = self._loss(*held)
                plateau.step(loss)
                if loss < best or not best_epoch:
                    best, best_epoch = loss, len(rates)
                    best_weights = copy.deepcopy(self.network.state_dict())
            if best_weights is not None:
                self.network.load_state_dict(best_weights)
        self.rates = tuple(rates[:best_epoch])

    def _refit(self, everything: Examples, seed: int) -> None:
        inputs = self._prepare(everything)
        with _seeded(seed):
            training = _Training(inputs, self._target(everything), everything.weight)
            for epoch, rate in enumerate(self.rates, start=1):
                training.rate = rate
                training.epoch(epoch)
        self.network = training.network

    def _prepare(self, train: Examples) -> Inputs:
        """Fit the encoding of features and labels on a training set."""
        assert isinstance(train.data, TrainPart)  # checked by `Baseline`
        self.encoder = NotebookInputs.fit(train.data)
        self.mean = float(train.label.mean())
        self.sd = float(train.label.std()) or 1.0
        return self.encoder.transform(train.data)

    def _predict(self, data: Dataset) -> FloatArray:
        return _outputs(self.network, self.encoder.transform(data)) * self.sd + self.mean

    def _target(self, examples: Examples) -> Tensor:
        return torch.from_numpy(((examples.label - self.mean) / self.sd).astype(np.float32))  # (n,)

    def _loss(self, inputs: Inputs, target: Tensor) -> float:
        return float(np.square(_outputs(self.network, inputs) - target.numpy()).mean())


class _Training:
    """Trains a new network epoch by epoch, with torch's global generator.

    Attributes:
        network: the network.
        optimiser: its optimiser.
    """

    def __init__(self, inputs: Inputs, target: Tensor, weight: FloatArray) -> None:
        self.network = build_network(inputs.width)
        self.optimiser = build_optimiser(self.network)
        self._inputs, self._target = inputs, target
        self._weight = torch.from_numpy(weight.astype(np.float32))

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return float(self.optimiser.param_groups[0]["lr"])

    @rate.setter
    def rate(self, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def epoch(self, number: int) -> None:
        """Take one step per batch of the rows."""
        loss = train_steps(
            self.network,
            self.optimiser,
            self._inputs,
            self._target,
            weight=self._weight,
            batches=shuffled(len(self._inputs)),
        )
        if not np.isfinite(loss):
            raise TrainingError(
                f"the notebook network's loss must be finite; got {loss} in epoch {number}. "
                "Look for extreme labels, or cap them"
            )


def build_network(width: int) -> nn.Sequential:
    """Return the untrained network for inputs (batch, width), from torch's global generator."""
    network = nn.Sequential(
        nn.Linear(width, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    )
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def build_optimiser(network: nn.Module) -> torch.optim.Optimizer:
    """Return Adam with Keras's defaults; fused, since small steps are mostly overhead."""
    return torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7, fused=True)


def shuffled(n: int) -> Iterable[Tensor]:
    """Return the rows of each step of an epoch over n rows, shuffled by torch's global generator."""
    return torch.split(torch.randperm(n), BATCH)


def train_steps(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    inputs: Inputs,
    target: Tensor,
    *,
    weight: Tensor,
    batches: Iterable[Tensor],
) -> float:
    """Take one step per batch.

    Args:
        network: from `build_network`.
        optimiser: its optimiser.
        inputs: the inputs of n rows.
        target: float32 (n,) standardised labels.
        weight: float32 (n,) with mean 1.
        batches: rows (batch,) of each step.

    Returns:
        The mean loss over all rows.
    """
    network.train()
    total, rows = torch.zeros((), dtype=torch.float64), 0
    with _one_thread():
        for batch in batches:
            error = network(inputs.batch(batch)).squeeze(1) - target[batch]  # (batch,)
            loss = (weight[batch] * error.square()).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.detach() * len(batch)
            rows += len(batch)
    return float(total) / max(rows, 1)


def _outputs(network: nn.Module, inputs: Inputs) -> FloatArray:
    """Return the network's outputs (n,) without dropout."""
    network.eval()
    with torch.inference_mode():
        parts = [
            network(inputs.batch(rows)).squeeze(1).numpy()
            for rows in torch.split(torch.arange(len(inputs)), _ROWS_AT_ONCE)
        ]
    return np.concatenate(parts).astype(np.float64)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread: a step's matrices are too small for more threads to help."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator, and restore its state afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

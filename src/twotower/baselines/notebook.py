"""The network that this project grew from: one MLP over a row's user and item features, row by row."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from twotower.baselines.baseline import Baseline, Examples, FloatArray
from twotower.baselines.notebook_inputs import Inputs, NotebookInputs
from twotower.data.dataset import Dataset, TrainPart
from twotower.errors import ConfigError, TrainingError

BATCH = 128
"""Rows a step."""
PATIENCE = 3
"""Epochs without a lower validation loss before training stops."""
_ROWS_AT_ONCE = 65_536
"""Rows a forward pass where nothing is learnt."""


class NotebookNetwork(Baseline):
    """User and item features concatenated, 128 relu, dropout 0.3, 64 relu, 32 relu, 1.

    Adam at 1e-3 on the squared error of the label standardised by train, `BATCH` rows a step, 5 epochs. With
    a validation part the rate is halved after 2 epochs without a lower validation loss, training stops after
    3, and the best epoch's weights are kept. Layers start as Keras starts them. It knows no ids: users with
    the same features get the same predictions.

    What the notebook is, is left as it was: categories are label-encoded and standardised like quantities,
    counts are not logged, lists are multi-hot, texts left out, and no score factorises. What made its numbers
    wrong is mended:

    - features are joined by id, not by position, and every column to its own rows;
    - features are those of the tables given; no daily counts are summed over the test period;
    - labels and features are scaled by train alone, and predictions are turned back by the same scale;
    - the learning rate and the stopping look at validation, never at test.

    Copies of events and rows without a time are the reader's and the split's to treat well, as they do.

    Attributes:
        rates: the learning rate of each epoch up to the best, once fitted; a refit takes these epochs.
    """

    name = "notebook"
    given = "labels, features"

    def __init__(self, epochs: int = 5) -> None:
        super().__init__()
        if epochs < 1:
            raise ConfigError(f"epochs must be 1 or more, got {epochs}; the notebook trains for 5")
        self.epochs = epochs

    def _fit(self, train: Examples, validation: Examples | None, seed: int) -> None:
        inputs = self._prepare(train)
        held = None
        if validation is not None:
            held = (self.encoder.transform(validation.data), self._target(validation))
        with _seeded(seed):
            training = _Training(inputs, self._target(train), train.weight)
            self.network = training.network
            # Torch waits for one epoch more than its patience, Keras for as many: 1 here is 2 there.
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
        """Learn from a train part how features and labels become numbers."""
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
    """A network from its start, epoch by epoch, with torch's global generator.

    Attributes:
        network: what is trained.
        optimiser: of its parameters.
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
        """Take a step with each batch of the rows."""
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
                f"the notebook network's loss must stay finite, epoch {number} has {loss}; "
                "look for huge labels, or cap them"
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
    """Return Adam as Keras sets it; the fused form, since small steps are mostly overhead."""
    return torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7, fused=True)


def shuffled(n: int) -> Iterable[Tensor]:
    """Return each step's rows for one epoch over n rows, in an order from torch's global generator."""
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
    """Take one step a batch.

    Args:
        network: what `build_network` returns.
        optimiser: of its parameters.
        inputs: of n rows.
        target: float32 (n,) standardised labels.
        weight: float32 (n,) of mean 1.
        batches: rows (batch,) of each step.

    Returns:
        The mean loss of the steps' rows.
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
    """Keep torch to one thread within: a step's matrices are too small to share, more threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's generator within, and leave it as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

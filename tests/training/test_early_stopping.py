"""Learning rates and early stopping, computed by hand."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest

from twotower.training.early_stopping import EarlyStopping
from twotower.training.gradients import GradientsConfig
from twotower.training.learning_rate import Rate


@dataclass
class Both:
    """Early stopping and the rate, as the loop asks them."""

    progress: EarlyStopping
    rates: Rate

    @classmethod
    def start(cls, **settings: Any) -> Both:
        config = GradientsConfig(**settings)
        return cls(EarlyStopping(config.patience), Rate.start(config))

    def observe(self, epoch: int, loss: float) -> bool:
        best = self.progress.observe(epoch, loss)
        self.rates.observe(best=best)
        return best


def test_a_plateau_cuts_the_rate_and_patience_ends_it() -> None:
    both = Both.start(learning_rate=1.0, plateau_factor=0.5, plateau_patience=2, patience=5)
    #  loss, is it the best, rate of the next epoch, stop
    story = [
        (9.0, True, 1.0, False),
        (8.0, True, 1.0, False),
        (8.0, False, 1.0, False),  # a tie is not better
        (8.5, False, 0.5, False),  # two epochs without a better one
        (8.4, False, 0.5, False),
        (7.0, True, 0.5, False),
        (7.1, False, 0.5, False),
        (7.1, False, 0.25, False),
        (7.1, False, 0.25, False),
        (7.1, False, 0.125, False),
        (7.1, False, 0.125, True),
    ]
    for epoch, (loss, best, rate, stop) in enumerate(story, start=1):
        assert both.rates.at(0.5) == both.rates.rate
        assert both.observe(epoch, loss) is best, epoch
        assert both.rates.rate == rate, epoch
        assert both.progress.stop is stop, epoch
    assert (both.progress.best, both.progress.best_epoch) == (7.0, 6)


def test_cosine_falls_from_the_whole_rate_to_none() -> None:
    both = Both.start(learning_rate=0.2, schedule="cosine", plateau_patience=1)
    for done, share in [(0.0, 1.0), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1.0, 0.0), (1.5, 0.0)]:
        assert both.rates.at(done) == pytest.approx(0.2 * share, abs=1e-12)
    for epoch in range(1, 4):
        both.observe(epoch, float(epoch))
    assert both.rates.at(0.5) == pytest.approx(0.1), "the cosine schedule ignores plateaus"


def test_constant_stays() -> None:
    both = Both.start(learning_rate=0.2, schedule="constant", plateau_patience=1, patience=3)
    for epoch in range(1, 4):
        both.observe(epoch, float(epoch))
        assert both.rates.at(epoch / 3) == 0.2
    assert not both.progress.stop
    both.observe(4, 9.0)
    assert both.progress.stop


@pytest.mark.parametrize("epochs", range(6))
def test_it_comes_back_from_json(epochs: int) -> None:
    settings: dict[str, Any] = {"learning_rate": 0.3, "plateau_patience": 1, "patience": 4}
    losses = [3.0, 2.0, 2.5, 2.5, 1.0, 7.0, 7.0, 7.0, 7.0]
    whole, again = Both.start(**settings), Both.start(**settings)
    for epoch, loss in enumerate(losses[:epochs], start=1):
        whole.observe(epoch, loss)
    states = json.loads(json.dumps([whole.progress.state(), whole.rates.state()], allow_nan=False))
    again.progress = EarlyStopping.from_state(states[0])
    again.rates.restore(states[1])
    assert again == whole
    for epoch, loss in enumerate(losses[epochs:], start=epochs + 1):
        assert again.observe(epoch, loss) == whole.observe(epoch, loss)
    assert again == whole
    assert again.progress.stop
    assert again.rates.rate == 0.3 * 0.5**6


def test_nothing_is_best_before_the_first_epoch() -> None:
    progress = EarlyStopping(6)
    assert (progress.best, progress.best_epoch, progress.stop) == (math.inf, 0, False)

"""Learning rates and early stopping, computed by hand."""

from __future__ import annotations

import json
import math

import pytest

from twotower.config import TrainingConfig
from twotower.training import Schedule


def test_a_plateau_cuts_the_rate_and_patience_ends_it() -> None:
    config = TrainingConfig(learning_rate=1.0, plateau_factor=0.5, plateau_patience=2, patience=5)
    schedule = Schedule.start(config)
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
        assert schedule.step_rate(0.5) == schedule.rate
        assert schedule.observe(epoch, loss) is best, epoch
        assert schedule.rate == rate, epoch
        assert schedule.stop is stop, epoch
    assert (schedule.best, schedule.best_epoch) == (7.0, 6)


def test_cosine_falls_from_the_whole_rate_to_none() -> None:
    schedule = Schedule.start(TrainingConfig(learning_rate=0.2, schedule="cosine", plateau_patience=1))
    for done, share in [(0.0, 1.0), (1 / 3, 0.75), (0.5, 0.5), (2 / 3, 0.25), (1.0, 0.0), (1.5, 0.0)]:
        assert schedule.step_rate(done) == pytest.approx(0.2 * share, abs=1e-12)
    for epoch in range(1, 4):
        schedule.observe(epoch, float(epoch))
    assert schedule.step_rate(0.5) == pytest.approx(0.1), "the cosine schedule ignores plateaus"


def test_constant_stays() -> None:
    schedule = Schedule.start(
        TrainingConfig(learning_rate=0.2, schedule="constant", plateau_patience=1, patience=3)
    )
    for epoch in range(1, 4):
        schedule.observe(epoch, float(epoch))
        assert schedule.step_rate(epoch / 3) == 0.2
    assert not schedule.stop
    schedule.observe(4, 9.0)
    assert schedule.stop


@pytest.mark.parametrize("epochs", range(6))
def test_it_comes_back_from_json(epochs: int) -> None:
    config = TrainingConfig(learning_rate=0.3, plateau_patience=1, patience=4)
    losses = [3.0, 2.0, 2.5, 2.5, 1.0, 7.0, 7.0, 7.0, 7.0]
    whole = Schedule.start(config)
    for epoch, loss in enumerate(losses[:epochs], start=1):
        whole.observe(epoch, loss)
    state = json.loads(json.dumps(whole.state(), allow_nan=False))
    again = Schedule.from_state(config, state)
    assert again == whole
    for epoch, loss in enumerate(losses[epochs:], start=epochs + 1):
        assert again.observe(epoch, loss) == whole.observe(epoch, loss)
    assert again == whole
    assert again.stop
    assert again.rate == 0.3 * 0.5**6


def test_nothing_is_best_before_the_first_epoch() -> None:
    schedule = Schedule.start(TrainingConfig())
    assert (schedule.best, schedule.best_epoch, schedule.stop) == (math.inf, 0, False)

"""``history.svg``: a chart of every trial's value and the best so far, for light and dark backgrounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from twotower.evaluation import Measure
from twotower.workflows.tuning.trials import Trial, complete

_WIDTH, _HEIGHT = 860, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 150, 56, 64
_TICKS = 5
_SHOWN = 0.2
"""Complete trials worse than this quantile may fall outside the axes, so that the good ones stay distinct."""

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #333 }
  .title { font-size: 16px; font-weight: 600 }
  .axis { stroke: #999; stroke-width: 1 }
  .grid { stroke: #e4e4e4; stroke-width: 1 }
  .dot { fill: #2a6fb0 }
  .low { fill: none; stroke: #2a6fb0; stroke-width: 1.5 }
  .pruned { stroke: #999; stroke-width: 1.5 }
  .best { fill: none; stroke: #c2571a; stroke-width: 2 }
  .given { stroke: #555; stroke-width: 1.5; stroke-dasharray: 5 4 }
  .ground { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .ground { fill: #16181c } .grid { stroke: #2c3036 } .axis { stroke: #777 }
    .dot { fill: #6db1ee } .low { stroke: #6db1ee } .best { stroke: #f09050 } .given { stroke: #bbb }
  }
"""


def history_svg(trials: Sequence[Trial], measure: Measure) -> str:
    """Return a chart of a search as a self-contained SVG.

    Args:
        trials: the finished trials, the original config first; at least one is complete.
        measure: the metric of their values.
    """
    done = complete(trials)
    values = np.array([trial.value for trial in done], dtype=np.float64)
    axes = _Axes.around(values, max(trial.number for trial in trials), measure.higher_is_better)
    sign = measure.sign
    so_far = sign * np.maximum.accumulate(sign * values)
    best = done[int(np.argmax(sign * values))]
    way = "higher" if measure.higher_is_better else "lower"
    says = f"{measure.name.upper()} on the validation set, {way} is better"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{escape(says)}">',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}"/>',
        f'<text class="title" x="{_LEFT}" y="24">{escape(says)}</text>',
        *axes.drawn(),
        *_pruned(trials, axes),
        *_given(done[0], axes),
        *_line(done, so_far, axes),
        *(_dot(trial, axes) for trial in done),
        _beside(f"best {best.value:.4f}", float(so_far[-1]), axes, done[0]),
        *_legend(len(trials) > len(done), not all(map(axes.holds, values))),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Axes:
    """Maps trial numbers and values to coordinates."""

    def __init__(self, low: float, high: float, last: int) -> None:
        self.low, self.high, self.last = low, high, last

    @classmethod
    def around(cls, values: np.ndarray, last: int, maximise: bool) -> _Axes:
        first, quantile = values[0], float(np.quantile(values, _SHOWN if maximise else 1.0 - _SHOWN))
        shown = [first, quantile, values.max() if maximise else values.min()]
        low, high = float(min(shown)), float(max(shown))
        room = 0.08 * (high - low) or 0.01 * abs(high) or 0.01
        return cls(low - room, high + room, max(last, 1))

    def x(self, number: float) -> float:
        return _LEFT + 8 + (number / self.last) * (_WIDTH - _LEFT - _RIGHT - 16)

    def y(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return _TOP + (self.high - inside) / (self.high - self.low) * (_HEIGHT - _TOP - _BOTTOM)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def drawn(self) -> list[str]:
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        step = _nice((self.high - self.low) / _TICKS)
        digits = max(0, -math.floor(math.log10(step)))
        parts = []
        for place in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            y = self.y(place * step)
            parts += [
                f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>',
                f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{place * step:.{digits}f}</text>',
            ]
        apart = max(1, int(_nice(self.last / 8)))
        for number in range(0, self.last + 1, apart):
            parts.append(
                f'<text x="{self.x(number):.1f}" y="{bottom + 20}" text-anchor="middle">{number}</text>'
            )
        parts.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
        parts.append(f'<text x="{right + 10}" y="{bottom + 20}">trial</text>')
        return parts


def _nice(step: float) -> float:
    """Return the step of 1, 2 or 5 times a power of ten that is nearest to a width."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(nice * power for nice in (1.0, 2.0, 5.0, 10.0) if step <= nice * power * 1.0001)


def _dot(trial: Trial, axes: _Axes) -> str:
    assert trial.value is not None
    x, y = axes.x(trial.number), axes.y(trial.value)
    said = ", ".join(f"{key.split('.')[1]} {_short(value)}" for key, value in trial.values.items())
    title = f"<title>{escape(f'trial {trial.number}: {trial.value:.4f}; {said}')}</title>"
    if axes.holds(trial.value):
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4">{title}</circle>'
    tip = 6 if y > _HEIGHT / 2 else -6  # points towards the true value
    corners = f"M{x - 4:.1f} {y:.1f} L{x + 4:.1f} {y:.1f} L{x:.1f} {y + tip:.1f} Z"
    return f'<path class="low" d="{corners}">{title}</path>'


def _pruned(trials: Sequence[Trial], axes: _Axes) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    return [
        f'<line class="pruned" x1="{axes.x(t.number):.1f}" x2="{axes.x(t.number):.1f}" y1="{bottom - 4}" '
        f'y2="{bottom + 4}"><title>{escape(f"trial {t.number}: {t.state}, {t.note}")}</title></line>'
        for t in trials
        if t.state != "complete"
    ]


def _given(first: Trial, axes: _Axes) -> list[str]:
    assert first.value is not None
    y = axes.y(first.value)
    return [
        f'<line class="given" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
        f'<text x="{_WIDTH - _RIGHT + 10}" y="{y + 4:.1f}">original {first.value:.4f}</text>',
    ]


def _line(done: Sequence[Trial], so_far: np.ndarray, axes: _Axes) -> list[str]:
    """Draw the best value so far as a step line up to the last trial."""
    points = [f"M{axes.x(done[0].number):.1f} {axes.y(so_far[0]):.1f}"]
    for trial, value in zip(done[1:], so_far[1:], strict=True):
        points.append(f"H{axes.x(trial.number):.1f} V{axes.y(value):.1f}")
    points.append(f"H{axes.x(axes.last):.1f}")
    return [f'<path class="best" d="{" ".join(points)}"/>']


def _beside(text: str, value: float, axes: _Axes, first: Trial) -> str:
    """Write the best value at the right, clear of the original one's."""
    assert first.value is not None
    y, given = axes.y(value), axes.y(first.value)
    if abs(y - given) < 16:
        y = given - 16 if y <= given else given + 16
    return f'<text x="{_WIDTH - _RIGHT + 10}" y="{y + 4:.1f}">{text}</text>'


def _legend(pruned: bool, outside: bool) -> list[str]:
    y = _HEIGHT - 16
    parts = [
        f'<circle class="dot" cx="{_LEFT + 8}" cy="{y - 4}" r="4"/>'
        f'<text x="{_LEFT + 20}" y="{y}">trial</text>',
        f'<path class="best" d="M{_LEFT + 100} {y - 4} h24"/>'
        f'<text x="{_LEFT + 130}" y="{y}">best so far</text>',
        f'<line class="given" x1="{_LEFT + 230}" x2="{_LEFT + 254}" y1="{y - 4}" y2="{y - 4}"/>'
        f'<text x="{_LEFT + 260}" y="{y}">original config</text>',
    ]
    if pruned:
        parts.append(
            f'<line class="pruned" x1="{_LEFT + 400}" x2="{_LEFT + 400}" y1="{y - 8}" y2="{y}"/>'
            f'<text x="{_LEFT + 410}" y="{y}">stopped early</text>'
        )
    if outside:
        x = _LEFT + 540
        parts.append(
            f'<path class="low" d="M{x - 4} {y - 1} L{x + 4} {y - 1} L{x} {y - 7} Z"/>'
            f'<text x="{x + 10}" y="{y}">outside the axes</text>'
        )
    return parts


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""`Callback`: called by the training loop, for progress bars, logs and stopping early."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from twotower.errors import ConfigError, TwoTowerWarning, nearest

Record = dict[str, Any]
"""One line of ``history.jsonl``: phase, epoch, seconds, losses, validation metrics, learning rate, pairs per
second; with ``model.kind = "auto"`` the kind."""


class Callback:
    """Receives the events of a training run; subclass it and override what you need.

    The order is: phase start, (steps, epoch end) for each epoch, phase end. A run has the phases ``"train"``
    and, unless ``refit=False``, ``"refit"``. A phase ``"posterior"`` of one pass without epochs may follow
    each.

    >>> class Losses(Callback):
    ...     def __init__(self):
    ...         self.seen = []
    ...     def on_epoch_end(self, record):
    ...         self.seen.append(record["train_loss"])
    """

    _stop_reason: str | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in vars(cls):
            if name.startswith("on_") and not hasattr(Callback, name):
                hooks = [hook for hook in vars(Callback) if hook.startswith("on_")]
                warnings.warn(
                    f"{cls.__name__}.{name} is never called; a callback has {', '.join(hooks)}."
                    f"{nearest(name, hooks)}",
                    TwoTowerWarning,
                    stacklevel=2,
                )

    def on_kind(self, *, kind: str) -> None:
        """With ``model.kind = "auto"``: the phases that follow train towers of this kind.

        Args:
            kind: such as ``"linear"``; the records of its epochs have it too.
        """

    def on_choice(self, *, line: str) -> None:
        """Settings that were "auto" have been chosen on the validation set, before the first phase.

        Args:
            line: what was chosen and why.
        """

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """A phase begins.

        Args:
            phase: ``"train"``, ``"posterior"`` or ``"refit"``.
            epochs: the largest number of epochs.
            first_epoch: the epoch it begins with: above 1 after a resume.
            pairs: number of training pairs.
        """

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """A step is done.

        Args:
            epoch: counted from 1.
            pairs_done: pairs used so far in this epoch.
            loss: mean over these pairs; nan in a posterior phase.
        """

    def on_epoch_end(self, record: Record) -> None:
        """An epoch is done and measured; its checkpoint is written after this.

        Args:
            record: ``phase``, ``epoch``, ``seconds``, ``train_loss``, ``learning_rate``, ``pairs_per_second``
                and, in phase ``"train"``, the ``validation_`` metrics and ``best`` (whether it is the best
                epoch so far).
        """

    def on_phase_end(self, *, reason: str) -> None:
        """A phase is over.

        Args:
            reason: ``"all epochs"``, ``"early stopping"``, ``"interrupted"`` or what was given to `stop`; of
                a posterior phase whether its result was better on validation.
        """

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End the phase after this epoch; the best epoch's weights are kept, as with early stopping."""
        self._stop_reason = reason


class CallbackList(Callback):
    """Several callbacks as one: each is called in turn, and any of them can stop training.

    Args:
        callbacks: called in this order.
        advice: added to an exception that one of them raises, such as how to resume.

    Raises:
        ConfigError: one of them is not a `Callback`.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), advice: str = "") -> None:
        if isinstance(callbacks, Callback):
            raise ConfigError(
                f"callbacks is a list, got one {type(callbacks).__name__}; write callbacks=[...] around it"
            )
        for callback in callbacks:
            if not isinstance(callback, Callback):
                shown = f"the class {callback.__name__}" if isinstance(callback, type) else repr(callback)
                raise ConfigError(
                    f"callbacks must be objects of subclasses of twotower.Callback, got {shown}; "
                    "derive the class from twotower.Callback and pass an object of it"
                )
        self.callbacks, self.advice = list(callbacks), advice

    @property
    def stop_reason(self) -> str | None:
        """What the first callback that stopped training gave as its reason; None while none has."""
        return next((of._stop_reason for of in self.callbacks if of._stop_reason is not None), None)

    def on_kind(self, *, kind: str) -> None:
        """Call each."""
        self._call("on_kind", kind=kind)

    def on_choice(self, *, line: str) -> None:
        """Call each."""
        self._call("on_choice", line=line)

    def on_phase_start(self, *, phase: str, epochs: int, first_epoch: int, pairs: int) -> None:
        """Call each, and forget what stopped the phase before."""
        for callback in self.callbacks:
            callback._stop_reason = None
        self._call("on_phase_start", phase=phase, epochs=epochs, first_epoch=first_epoch, pairs=pairs)

    def on_step_end(self, *, epoch: int, pairs_done: int, loss: float) -> None:
        """Call each."""
        self._call("on_step_end", epoch=epoch, pairs_done=pairs_done, loss=loss)

    def on_epoch_end(self, record: Record) -> None:
        """Call each."""
        self._call("on_epoch_end", record)

    def on_phase_end(self, *, reason: str) -> None:
        """Call each."""
        self._call("on_phase_end", reason=reason)

    def _call(self, event: str, *args: Any, **details: Any) -> None:
        for callback in self.callbacks:
            try:
                getattr(callback, event)(*args, **details)
            except Exception as error:
                error.add_note(f"Raised by the callback {type(callback).__name__} in {event}.{self.advice}")
                raise


class ListenerCallback(Callback):
    """Passes events on to an object with the methods ``start``, ``step``, ``epoch`` and ``end``.

    Only for the deprecated ``fit(listener=...)``.
    """

    def __init__(self, listener: Any) -> None:
        self.on_phase_start, self.on_step_end = listener.start, listener.step  # type: ignore[method-assign]
        self.on_epoch_end, self.on_phase_end = listener.epoch, listener.end  # type: ignore[method-assign]

"""What a command's exceptions become: one line on stderr and an exit code."""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TextIO, TypeVar

import typer

from twotower.cli.lines import fitted
from twotower.errors import TwoTowerError, TwoTowerWarning

DONE, OURS, YOURS, INTERRUPTED = 0, 1, 2, 130
"""Exit codes: done, our fault, the input is wrong, Ctrl-C."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

P = ParamSpec("P")
R = TypeVar("R")


def guarded(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command so that every exception becomes a message and an exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with warnings_as_notes():
                answer = command(*args, **kwargs)
            sys.stdout.flush()  # while a full disk or a closed pipe can still be reported
            return answer
        except TwoTowerError as error:
            if _is_interruption(error):
                raise _stop(str(error), INTERRUPTED) from None
            if _debugging():
                traceback.print_exc()
            raise _stop(f"error: {error}", YOURS) from None
        except KeyboardInterrupt:
            raise _stop("interrupted", INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise  # handled by `Commands`
        except BrokenPipeError:
            forget(sys.stdout)  # a reader such as `head` has closed the pipe
            raise typer.Exit(DONE) from None
        except MemoryError:
            raise _stop(
                "error: out of memory; use a smaller model.dim, or a machine with more memory", OURS
            ) from None
        except OSError as error:
            # Other libraries write files too, such as a cache of compiled kernels.
            if error.errno not in _FULL:
                raise _internal(error) from None
            _forget_unwritable(sys.stdout)  # or flushing it at exit would raise the error again
            where = f" ({error.filename})" if error.filename else ""
            raise _stop(f"error: the disk is full{where}: {error.strerror}; free some space", YOURS) from None
        except Exception as error:
            raise _internal(error) from None

    return wrapped


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print every `TwoTowerWarning` once, as a line on stderr, and leave other warnings to Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", TwoTowerWarning)
        shown, printed = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if not issubclass(category, TwoTowerWarning):
                shown(message, category, *rest, **more)
                return
            if str(message) in printed:
                return
            printed.add(str(message))
            try:
                print(fitted(f"note: {message}", sys.stderr), file=sys.stderr, flush=True)
            except BrokenPipeError:
                forget(sys.stderr)

        warnings.showwarning = show
        yield


def forget(stream: TextIO) -> None:
    """Discard further output to a stream whose reader has closed it."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):  # a stream without a file descriptor
        return


def _forget_unwritable(stream: TextIO) -> None:
    """Discard the stream's buffer if it can't be written."""
    try:
        stream.flush()
    except (OSError, ValueError):
        forget(stream)


def _internal(error: Exception) -> typer.Exit:
    if _debugging():
        traceback.print_exc()
    reason = str(error).split("\n", 1)[0]
    hint = "" if _debugging() else "; run again with TWOTOWER_DEBUG=1 and report the traceback"
    return _stop(f"internal error: {type(error).__name__}: {reason}{hint}", OURS)


def _stop(line: str, code: int) -> typer.Exit:
    print(fitted(line, sys.stderr), file=sys.stderr, flush=True)
    return typer.Exit(code)


def _debugging() -> bool:
    return os.environ.get("TWOTOWER_DEBUG", "") not in ("", "0")


def _is_interruption(error: TwoTowerError) -> bool:
    # Importing the training package would load torch; if it is not loaded, nothing was training.
    training = sys.modules.get("twotower.training")
    return training is not None and isinstance(error, training.Interrupted)

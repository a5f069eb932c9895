"""`Commands`: the group of all commands. Usage errors are printed on one line, like other errors."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from twotower.cli.errors import DONE, INTERRUPTED, YOURS, guarded
from twotower.errors import nearest

# Depending on its version, Typer uses click or its own copy: take the exceptions from the same module.
_click: Any = sys.modules[typer.BadParameter.__module__]


KEPT = "\b\n"
"""Marks text that help must not wrap, so that an example can be copied from a narrow terminal."""


class Commands(TyperGroup):
    """Ends with our exit codes, and prints errors in our format."""

    def main(self, *args: Any, **more: Any) -> Any:
        """Run a command and end the process with its exit code; without ``standalone_mode`` as typer does."""
        if not more.get("standalone_mode", True):
            return super().main(*args, **more)
        try:
            # printing help can meet a full disk or a closed pipe too
            code = guarded(self._code)(*args, **{**more, "standalone_mode": False})
        except typer.Exit as stop:
            code = stop.exit_code
        sys.exit(code)

    def _code(self, *args: Any, **more: Any) -> int:
        try:
            return int(super().main(*args, **more) or DONE)
        except _click.NoArgsIsHelpError as error:
            error.show()
            return YOURS
        except _click.UsageError as error:
            print(f"error: {_message(error)}", file=sys.stderr)
            return YOURS
        except SystemExit:  # how typer handles a closed pipe
            raise BrokenPipeError from None
        except typer.Abort:  # Ctrl-C or end of input at a prompt
            print("interrupted", file=sys.stderr)
            return INTERRUPTED

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or suggest the nearest."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise _click.UsageError(f"unknown command {args[0]!r}.{nearest(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each command with its whole first sentence."""
        rows = [(name, self.commands[name].get_short_help_str(limit=200)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class Command(TyperCommand):
    """A command with a plain usage line."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line, without the braces that newer versions of typer add."""
        return [piece.replace("{", "").replace("}", "") for piece in super().collect_usage_pieces(ctx)]


def _message(error: Any) -> str:
    """Return the error, the nearest option, and where to read more."""
    message = error.format_message()
    if isinstance(error, _click.NoSuchOption):
        options = [
            name
            for param in error.ctx.command.get_params(error.ctx)
            for name in (*param.opts, *param.secondary_opts)
        ]
        message = f"unknown option {error.option_name}.{nearest(error.option_name, options)}"
    elif isinstance(error, typer.BadParameter) and not isinstance(error, _click.MissingParameter):
        named = "" if error.param is None else f"{error.param.get_error_hint()} "
        message = f"{named.replace(chr(39), '')}{error.message}"
    message = message[:1].lower() + message[1:]
    end = "" if message.endswith((".", "?")) else "."
    place = error.ctx.command_path if error.ctx is not None else "twotower"
    return f"{message}{end} `{place} --help` says more"

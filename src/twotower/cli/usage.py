"""`Commands`: the group of all commands. Usage errors are printed on one line, like other errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from twotower.cli.errors import DONE, INTERRUPTED, YOURS, guarded
from twotower.cli.lines import fitted
from twotower.errors import ConfigError, nearest

# Depending on its version, Typer uses click or its own copy: take the exceptions from the same module.
_click: Any = sys.modules[typer.BadParameter.__module__]


KEPT = "\b\n"
"""Marks text that help must not wrap, so that an example can be copied from a narrow terminal."""


PREFIX = "TWOTOWER"
"""Of the variables that set options."""
_SWITCH = ("true", "false", "yes", "no", "on", "off", "1", "0", "t", "f", "y", "n")
"""Values of a variable of a switch."""
_OTHERS = ("DEBUG", "MILVUS_TOKEN", "MILVUS_TOKEN_FILE")
"""Names of variables that are read elsewhere."""


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
            print(fitted(f"error: {_message(error)}", sys.stderr), file=sys.stderr)
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


class FromEnvironment(Command):
    """A command whose options can all be given by ``TWOTOWER_NAME``, or by a file that ``TWOTOWER_NAME_FILE``
    names, which keeps a secret out of the environment."""

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Read the environment before the command line, which wins."""
        self._check_variables()
        extra |= {"auto_envvar_prefix": PREFIX, "default_map": self._from_files()}
        return super().make_context(info_name, args, parent, **extra)

    def _check_variables(self) -> None:
        """Refuse a switch that is neither on nor off, and note variables that set nothing, by a slip of the
        pen; others, such as those that Kubernetes sets for services, are not ours."""
        known: dict[str, Any] = {_variable(one).removeprefix(f"{PREFIX}_"): one for one in self.params}
        names = {*known, *(f"{name}_FILE" for name in known), *_OTHERS}
        for variable, text in sorted(os.environ.items()):
            name = variable.removeprefix(f"{PREFIX}_")
            if name == variable or not text:
                continue
            if name in known:
                switch = known[name].param_type_name == "option" and known[name].is_flag
                if switch and text.strip().lower() not in _SWITCH:
                    raise ConfigError(f"{variable} must be true or false, got {text!r}")
            others = name in names or "_SERVICE_" in name or "_TCP" in name
            if not others and (near := nearest(name, sorted(names))):
                near = near.replace("'", f"'{PREFIX}_", 1)
                print(fitted(f"note: {variable} sets nothing.{near}", sys.stderr), file=sys.stderr)

    def _from_files(self) -> dict[str, Any]:
        own = {_variable(param): param for param in self.params if param.param_type_name == "option"}
        found: dict[str, Any] = {}
        for variable, param in own.items():
            file = f"{variable}_FILE"
            if file in own or not os.environ.get(file):  # TWOTOWER_TOKEN_FILE is an option of its own
                continue
            if os.environ.get(variable):
                raise ConfigError(f"{variable} and {file} are both set; unset one of them")
            try:
                text = Path(os.environ[file]).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"{file} must name a text file that can be read; {error}") from None
            if not text:
                raise ConfigError(f"{file} names an empty file; write the value into it")
            found[str(param.name)] = text.split() if param.multiple else text
        return found


def _variable(param: Any) -> str:
    return str(param.envvar or f"{PREFIX}_{param.name}".upper())


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
    if not message[1:2].isupper():  # a name such as CONFIG stays
        message = message[:1].lower() + message[1:]
    end = "" if message.endswith((".", "?")) else "."
    place = error.ctx.command_path if error.ctx is not None else "twotower"
    return f"{message}{end} `{place} --help` says more"

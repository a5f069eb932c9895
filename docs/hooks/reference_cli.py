"""The command line's reference, made from the Typer application itself."""

from __future__ import annotations

from typing import Any

import typer

from twotower.cli import app
from twotower.cli.usage import KEPT

_TOP = """# Command line

Every command with its arguments, options and defaults, generated from the code. `twotower COMMAND --help`
prints the same.

Results go to stdout, everything else to stderr. `--json` prints a single JSON object on stdout. Exit codes: 0
success, 2 wrong input (one message that says how to fix it), 1 a bug in twotower, 130 Ctrl-C. With `--debug`
before the command, or `TWOTOWER_DEBUG=1`, an error shows its traceback. `NO_COLOR` switches colours off;
piped output has none.
"""


def cli_page() -> str:
    """Return the page's Markdown."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("twotower", [], resilient_parsing=True)
    names = list(group.commands)
    listed = "\n".join(f"| [`{name}`](#{name}) | {_first_line(group.commands[name])} |" for name in names)
    parts = [_TOP, f"| command | what it does |\n| --- | --- |\n{listed}"]
    parts += [_command(name, group.commands[name], context) for name in names]
    return "\n\n".join(parts) + "\n"


def _command(name: str, command: Any, parent: Any) -> str:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    needed = [_shown(one, context).replace("`", "") for one in command.params if one.required]
    usage = " ".join(["twotower", name, *needed, "[OPTIONS]"])
    rows = [_row(parameter, context) for parameter in command.params]
    parts = [
        f"## {name}",
        _plain(command.help or ""),
        f"```text\n{usage}\n```",
        "| argument or option | default | what it is |\n| --- | --- | --- |\n" + "\n".join(rows),
    ]
    if command.epilog:
        parts.append(f"Example:\n\n```sh\n{command.epilog.removeprefix(KEPT).removeprefix('Example: ')}\n```")
    return "\n\n".join(parts)


def _row(parameter: Any, context: Any) -> str:
    text = _plain(parameter.help or "").replace("\n", " ")
    if parameter.envvar:
        text += f" Also from the environment: `{parameter.envvar}`."
    return f"| {_shown(parameter, context)} | {_default(parameter)} | {text} |"


def _shown(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag:
        return names
    kind = parameter.get_help_record(context)[0].rsplit("<", 1)[-1].split(">")[0]
    metavar = parameter.metavar or {"int": "N", "float": "X"}.get(kind.split(" ")[0], "TEXT")
    return f"{names} `{metavar}`"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value in (None, ()) or getattr(parameter, "is_flag", False):
        return ""
    return f"`{value}`"


def _first_line(command: Any) -> str:
    return _plain((command.help or "").split("\n\n")[0]).replace("\n", " ")


def _plain(text: str) -> str:
    return text.replace("\f", "").replace("|", "\\|").strip()

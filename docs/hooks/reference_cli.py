"""The command line's reference, made from the Typer application itself."""

from __future__ import annotations

from typing import Any

import typer

from twotower.cli import app

_TOP = """# Command line

Every command with its arguments, options and defaults, as the installed version has them. `twotower COMMAND --help`
prints the same.

Results go to stdout, everything else to stderr. `--json` prints one JSON object alone on stdout. Exit code 0 is done,
2 is wrong input (one message that says what to mend), 1 is our fault, 130 is Ctrl-C. With `--debug` before the command,
or `TWOTOWER_DEBUG=1`, an error shows its traceback. `NO_COLOR` switches colours off; what is piped has none.
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
    usage = " ".join(["twotower", name, *command.collect_usage_pieces(context)])
    parts = [f"## {name}", _plain(command.help or ""), f"```text\n{usage}\n```"]
    rows = [_parameter(parameter, context) for parameter in command.params]
    parts.append("| argument or option | default | what it is |\n| --- | --- | --- |\n" + "\n".join(rows))
    if command.epilog:
        parts.append(f"Example:\n\n```sh\n{command.epilog.removeprefix('Example: ')}\n```")
    return "\n\n".join(parts)


def _parameter(parameter: Any, context: Any) -> str:
    help_text = _plain(getattr(parameter, "help", None) or "").replace("\n", " ")
    if parameter.param_type_name == "argument":
        shown = f"`{parameter.make_metavar(context)}`"
    else:
        shown = "<br>".join(f"`{name}`" for name in parameter.opts)
        if not parameter.is_flag:
            shown += f" `{parameter.make_metavar(context)}`"
        if parameter.envvar:
            help_text += f" Also from the environment: `{parameter.envvar}`."
    return f"| {shown} | {_default(parameter)} | {help_text} |".replace("...`", "…`")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    value = parameter.default
    if value is None or value == () or getattr(parameter, "is_flag", False) or repr(value).startswith("Sentinel"):
        return ""
    return f"`{value}`"


def _first_line(command: Any) -> str:
    return _plain((command.help or "").split("\n\n")[0]).replace("\n", " ")


def _plain(text: str) -> str:
    return text.replace("\f", "").replace("|", "\\|").strip()

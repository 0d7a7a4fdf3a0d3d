"""The command line, from the command itself."""

from __future__ import annotations

import click

from lambda_extension.cli._commands import commands


def command() -> str:
    """Return a section for each command: what it does, its arguments and its options."""
    context = click.Context(commands, info_name="lambda-extension")
    return "\n".join(_section(commands.commands[name], context) for name in commands.list_commands(context))


def _section(command: click.Command, parent: click.Context) -> str:
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = command.get_usage(context).removeprefix("Usage: ")
    lines = [f"## {command.name}", "", "```text", usage, "```", "", _text(command.help or ""), ""]
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    lines += ["| Option | Meaning |", "|---|---|"]
    for option in options:
        record = option.get_help_record(context)
        if record is not None:
            spelled, meaning = record
            lines.append(f"| `{_cell(spelled)}` | {_cell(_text(meaning))} |")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.replace("\b", "").split("\n\n"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")

"""The reference of the command line, from the commands themselves: a page for each command."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache

import click

from windtunnel.cli.main import cli

FOLDER = "reference/commands"
_ESCAPED = re.compile(r"([\\`*_<>|])")


@cache
def pages() -> dict[str, str]:
    """The pages of all commands: place on the site to Markdown."""
    context = click.Context(cli, info_name="windtunnel")
    overview = ["# The command line", "", *_help(cli), "", "| command | |", "|---|---|"]
    found = {}
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is None or command.hidden:
            continue
        overview.append(f"| [`{name}`]({name}.md) | {_escaped(command.get_short_help_str(limit=200))} |")
        found[f"{FOLDER}/{name}.md"] = "\n".join(_command(command, context, name, level=1)) + "\n"
    return {f"{FOLDER}/index.md": "\n".join(overview) + "\n", **found}


def _command(command: click.Command, parent: click.Context, name: str, level: int) -> Iterator[str]:
    """The lines of a command, and of the commands below it."""
    context = click.Context(command, info_name=name, parent=parent)
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield "```text"
    yield " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield "```"
    yield ""
    yield from _help(command)
    yield from _options(command, context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from _command(found, context, below, level + 1)


def _help(command: click.Command) -> Iterator[str]:
    """The help text; blocks that must not be wrapped are code."""
    text = inspect.cleandoc((command.help or "").split("\f")[0])
    for block in re.split(r"\n\s*\n", text):
        lines = block.splitlines()
        if lines and lines[0].strip() == "\b":
            yield from ("```text", *lines[1:], "```", "")
        else:
            yield from (*map(_escaped, lines), "")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [one for one in command.get_params(context) if isinstance(one, click.Option) and not one.hidden]
    records = filter(None, (one.get_help_record(context) for one in options))
    rows = [f"| `{names}` | {_escaped(text)} |" for names, text in records]
    if rows:
        yield from ("| option | |", "|---|---|", *rows, "")


def _escaped(text: str) -> str:
    return _ESCAPED.sub(r"\\\1", text)

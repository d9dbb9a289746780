"""`windtunnel deadletters`: messages that no service could process."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from windtunnel.cli.commands.completion import complete_dead_letters
from windtunnel.cli.io.console import json_option, print_json, run_async, say

if TYPE_CHECKING:
    from windtunnel.bus import Bus, DeadLetter


@click.group()
def deadletters() -> None:
    """Shows messages that no service could process, sends them again, or deletes them.

    \b
    windtunnel deadletters list
    windtunnel deadletters replay 3
    windtunnel deadletters delete 4
    """


@deadletters.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Lists all dead letters, oldest first.

    \b
    windtunnel deadletters list --json | jq -r .[].reason
    """
    letters = run_async(_list())
    if as_json:
        print_json([_to_json(letter) for letter in letters])
        return
    for letter in letters:
        click.echo(f"{letter.id:>6}  {letter.at:%Y-%m-%d %H:%M:%S}  {letter.subject}  {letter.reason}")
    if not letters:
        say("no dead letters")


async def _list() -> list[DeadLetter]:
    from windtunnel.client import AsyncClient

    async with AsyncClient() as client:
        return list(await (await client.bus()).dead_letters())


def _to_json(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "subject": letter.subject,
        "event_id": letter.event_id,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "at": letter.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "consumer": letter.consumer,
    }


@deadletters.command()
@click.argument("letter_id", metavar="ID", shell_complete=complete_dead_letters)
@json_option
def show(letter_id: str, as_json: bool) -> None:
    """Shows one dead letter: reason, headers and data.

    \b
    windtunnel deadletters show 3
    """
    letter = run_async(_show(letter_id))
    document = {**_to_json(letter), "headers": dict(letter.headers), "data": _readable(letter)}
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        click.echo(f"{name}: {value}")


async def _show(letter_id: str) -> DeadLetter:
    from windtunnel.client import AsyncClient

    async with AsyncClient() as client:
        return await (await client.bus()).dead_letter(letter_id)


def _readable(letter: DeadLetter) -> Any:
    """The data as JSON if it is a known message; otherwise as text with all other bytes escaped."""
    from google.protobuf.json_format import MessageToDict

    from windtunnel.bus import decode
    from windtunnel.errors import WindtunnelError

    try:
        return MessageToDict(decode(letter.subject, letter.headers, letter.data).message())
    except WindtunnelError:
        return letter.data.decode("utf-8", errors="backslashreplace")


@deadletters.command()
@click.argument("letter_ids", metavar="ID...", nargs=-1, shell_complete=complete_dead_letters)
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@json_option
def replay(letter_ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Sends dead letters again and removes them. Services that had already processed one change nothing.

    \b
    windtunnel deadletters replay 3 4
    windtunnel deadletters replay --all
    """
    _require_choice(letter_ids, every=every)
    sent = run_async(_replay(letter_ids))
    if as_json:
        print_json({"replayed": sent})


async def _replay(letter_ids: tuple[str, ...]) -> list[str]:
    from windtunnel.bus.deadletters import replay as send_again
    from windtunnel.client import AsyncClient

    async with AsyncClient() as client:
        bus = await client.bus()
        wanted = await _chosen(bus, letter_ids)
        for id in wanted:
            await send_again(bus, id)
            say(f"sent {id} again")
        return wanted


def _require_choice(letter_ids: tuple[str, ...], *, every: bool) -> None:
    if bool(letter_ids) == every:
        raise click.UsageError("give ids, or --all")


async def _chosen(bus: Bus, letter_ids: tuple[str, ...]) -> list[str]:
    """The given ids, each once; all dead letters if none is given."""
    wanted = list(dict.fromkeys(letter_ids)) or [letter.id for letter in await bus.dead_letters()]
    if not wanted:
        say("no dead letters")
    return wanted


@deadletters.command()
@click.argument("letter_ids", metavar="ID...", nargs=-1, shell_complete=complete_dead_letters)
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@json_option
def delete(letter_ids: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Deletes dead letters without sending them again.

    \b
    windtunnel deadletters delete 3 4
    windtunnel deadletters delete --all
    """
    _require_choice(letter_ids, every=every)
    deleted = run_async(_delete(letter_ids))
    if as_json:
        print_json({"deleted": deleted})


async def _delete(letter_ids: tuple[str, ...]) -> list[str]:
    from windtunnel.client import AsyncClient

    async with AsyncClient() as client:
        bus = await client.bus()
        wanted = await _chosen(bus, letter_ids)
        for id in wanted:
            await bus.forget_dead_letter(id)
            say(f"deleted {id}")
        return wanted

"""Progress of a command on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from windtunnel.isolation import Progress

_WORTH_A_WORD: Final = 32_000_000


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[Progress], None] | None]:
    """Shows a progress bar on standard error while the block runs, if that is a terminal.

    Args:
        title: what the command does now.

    Yields:
        A function that takes the progress; None if standard error is not a terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, what="")
        yield lambda now: bar.update(task, completed=now.fraction, what=now.text)


class _Tenths:
    """Prints the progress of a large transfer, ten times.

    Args:
        title: what is transferred.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._said = 0

    def reached(self, done: int, total: int) -> None:
        """Prints a line if a further tenth has been transferred.

        Args:
            done: bytes transferred so far.
            total: bytes to transfer.
        """
        tenth = 10 * done // total if total else 0
        if done >= total:
            # The next call is about another file.
            self._said = 0
        elif total >= _WORTH_A_WORD and tenth > self._said:
            self._said = tenth
            click.echo(f"{self._title}: {10 * tenth} % of {total / 1e6:.0f} MB", err=True)


@contextmanager
def progress_bytes(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """Shows a progress bar for a transfer on standard error; if that is not a terminal, a line per tenth.

    Args:
        title: what is transferred.

    Yields:
        A function that takes the bytes transferred so far and the bytes of the whole file.
    """
    if not sys.stderr.isatty():
        yield _Tenths(title).reached
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)

"""Parts of reports for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from windtunnel.cli.report.formatting import BAD, GOOD, VERDICTS, clean

# Between two columns of a table.
GAP: Final = 3


def heading(console: Console, text: str) -> None:
    """Prints a blank line and a bold one.

    Args:
        console: where it is printed.
        text: one line.
    """
    console.print()
    console.print(Text(text, style="bold"))


def line(console: Console, text: str, *, style: str = "", indent: int = 0) -> None:
    """Prints a line. If it is wrapped, further lines are indented like it.

    Args:
        console: where it is printed.
        text: one line, wrapped if it is longer than the terminal is wide.
        style: of rich; empty: plain.
        indent: spaces before it.
    """
    console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))


def bullets(texts: Sequence[object], console: Console) -> None:
    """Prints points. If one is wrapped, further lines are indented like its text.

    Args:
        texts: one per point.
        console: where they are printed.
    """
    grid = Table.grid(padding=(0, 1))
    grid.add_column()
    grid.add_column(overflow="fold")
    for text in texts:
        grid.add_row("  •", Text(clean(text)))
    if texts:
        console.print(grid)


def new_table(*columns: str, words: tuple[str, ...] = ()) -> Table:
    """A table with columns of figures, except those named in `words`.

    Args:
        *columns: the heads.
        words: heads of the columns with text, which are aligned to the left.

    Returns:
        The table, without rows.
    """
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="dim", show_edge=False, collapse_padding=True
    )
    for name in columns:
        table.add_column(name, justify="left" if name in words else "right", overflow="fold", no_wrap=name not in words)
    return table


def room_beside(width: int, *columns: Sequence[str], least: int = 12) -> int:
    """The width left for one more column in a table.

    Args:
        width: of the table, in characters.
        *columns: head and cells of the other columns.
        least: the smallest answer.

    Returns:
        The width in characters.
    """
    return max(least, width - sum(max(map(len, column)) + GAP for column in columns))


def verdict_words(verdict: str | None) -> Text:
    """A verdict with its mark and color.

    Args:
        verdict: of a report or a diagnosis; None: there is none yet.

    Returns:
        The words; one that is not known is shown as it is.
    """
    mark, words = VERDICTS.get(verdict, ("?", clean(verdict)))
    style = "bold green" if verdict in GOOD else "bold red" if verdict in BAD else "bold yellow"
    return Text(f"{mark} {words.upper()}", style=style)

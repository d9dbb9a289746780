"""A log as blocks of whole lines: flat memory for a log of any size, and its text as UTF-8."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from typing import BinaryIO

# No benchmark tool prints a longer line; matching stays cheap on a hostile file.
MAX_LINE = 16_384
BLOCK_BYTES = 1 << 20

# Opens a log from its beginning; a log is read twice.
Opens = Callable[[], BinaryIO]


def opens(data: str | bytes) -> Opens:
    """A log in memory as one that can be opened.

    Args:
        data: text, or bytes as a tool or PowerShell wrote them.

    Returns:
        Opens it from its beginning.
    """
    content = data.encode("utf-8", errors="replace") if isinstance(data, str) else data
    return lambda: io.BytesIO(content)


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """The content of a log.

    Args:
        stream: at its beginning. A byte order mark of UTF-16 is obeyed.

    Yields:
        Whole lines with their line feeds, in UTF-8; only the last block may end without one. Of a line longer than
        `MAX_LINE` the first bytes are kept.
    """
    rest = b""
    cut = False
    for piece in _utf8(stream):
        if cut:
            # Inside a line whose beginning is kept in `rest`.
            end = piece.find(b"\n")
            if end < 0:
                continue
            piece, cut = piece[end:], False
        data = rest + piece
        end = data.rfind(b"\n") + 1
        if end:
            yield data[:end]
        rest = data[end:]
        if len(rest) > MAX_LINE:
            rest, cut = rest[:MAX_LINE], True
    if rest:
        yield rest


def _utf8(stream: BinaryIO) -> Iterator[bytes]:
    first = stream.read(BLOCK_BYTES)
    if not first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield first.removeprefix(codecs.BOM_UTF8)
        while piece := stream.read(BLOCK_BYTES):
            yield piece
        return
    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
    while first:
        yield decoder.decode(first).encode("utf-8", errors="replace")
        first = stream.read(BLOCK_BYTES)
    yield decoder.decode(b"", final=True).encode("utf-8", errors="replace")

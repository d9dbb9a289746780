"""The file next to a download's target with the bytes received so far. One download at a time uses it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from windtunnel.errors import Conflict
from windtunnel.output_files import locked_part


@contextmanager
def held_part(part: Path, size_bytes: int) -> Iterator[BinaryIO]:
    """Opens the part of a download at its end and locks it.

    Args:
        part: the file.
        size_bytes: of the complete download; a larger part is emptied.

    Yields:
        The file.

    Raises:
        Conflict: another download writes it.
        InvalidInput: it is not a regular file, or cannot be written.
    """
    busy = Conflict(f"another download is writing {part} right now", hint="wait until it is done, or name another file")
    with locked_part(part, busy) as file:
        if os.fstat(file.fileno()).st_size > size_bytes:
            file.truncate(0)
        file.seek(0, os.SEEK_END)
        try:
            yield file
        finally:
            # No bytes arrived: nothing to keep. A complete file has already been renamed.
            with suppress(OSError):
                if not os.fstat(file.fileno()).st_size and not part.stat().st_size:
                    part.unlink()

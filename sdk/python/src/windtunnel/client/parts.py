"""The file beside a download's target that holds what has arrived: of one download at a time, and never another's."""

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
    """The file `part`, at its end, for this download alone; a leftover of more than `size_bytes` bytes is emptied.

    Raises: Conflict while another download writes it; InvalidInput where it is not a regular file, or cannot be
        written.
    """
    busy = Conflict(f"another download is writing {part} right now", hint="wait until it is done, or name another file")
    with locked_part(part, busy) as file:
        if os.fstat(file.fileno()).st_size > size_bytes:
            file.truncate(0)
        file.seek(0, os.SEEK_END)
        try:
            yield file
        finally:
            # Nothing arrived, and nothing need be kept. Under its final name it is not here any more.
            with suppress(OSError):
                if not os.fstat(file.fileno()).st_size and not part.stat().st_size:
                    part.unlink()

"""The file beside a download's target that holds what has arrived: of one download at a time, and never another's."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from windtunnel.errors import Conflict
from windtunnel.output_files import not_written, open_part


@contextmanager
def held_part(part: Path, size_bytes: int) -> Iterator[BinaryIO]:
    """The file `part`, at its end, for this download alone; a leftover of more than `size_bytes` bytes is emptied.

    Raises: Conflict while another download writes it; InvalidInput where it is not a regular file, or cannot be
        written.
    """
    with _locked(part) as file:
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


def _locked(part: Path) -> BinaryIO:
    while True:
        file = open_part(part)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The download that had it may have given the file its name meanwhile.
            if os.fstat(file.fileno()).st_ino == part.stat().st_ino:
                return file
        except BlockingIOError:
            file.close()
            raise Conflict(
                f"another download is writing {part} right now", hint="wait until it is done, or name another file"
            ) from None
        except FileNotFoundError:
            pass
        except OSError as error:
            file.close()
            raise not_written(part, error) from error
        file.close()

"""The file beside a download's target that holds what has arrived: of one download at a time, and never another's."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from windtunnel.errors import Conflict, InvalidInput

# A link would lead to a file of somebody else's, and a FIFO would hold the call for ever.
_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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
        file = _opened(part)
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


def _opened(part: Path) -> BinaryIO:
    try:
        descriptor = os.open(part, _FLAGS, 0o666)
    except OSError as error:
        if part.is_symlink():
            raise _not_regular(part) from error
        raise not_written(part, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(part)
    return os.fdopen(descriptor, "ab")


def not_written(path: Path, error: OSError) -> InvalidInput:
    """The error for a file that cannot be written."""
    hint = "choose a folder that can be written, with room on its disk"
    return InvalidInput(f"{path} cannot be written: {error.strerror or error}", hint=hint)


def _not_regular(part: Path) -> InvalidInput:
    return InvalidInput(f"{part}, where the download is kept, is not a regular file", hint="remove it")

"""Files that a user names for an output: which file that is, and how a whole one gets its name."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO, Final

from windtunnel.errors import Conflict, InvalidInput

_MOST_LINKS: Final = 40
# As many bytes leave room, in the 255 that a name may have, for what is put before and after it.
_MOST_NAME: Final = 100
# What lies below is not a file of its own but an open stream of a process: /dev/stdout leads there.
_STREAMS: Final = ("/proc", "/dev/fd")

# A link would lead to a file of somebody else's, and a FIFO would hold the call for ever.
_APPEND: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def output_target(path: Path) -> Path:
    """The file that an output named `path` makes or replaces: a link is followed, and stays.

    Returns: an absolute path, which is not a link; nothing needs to be there.
    Raises: Conflict where it is a device, a FIFO, or an open stream such as /dev/stdout; InvalidInput for a folder,
        links without an end, and what cannot be looked up.
    """
    target = _without_links(path)
    try:
        if target.is_dir():
            raise InvalidInput(f"{path} is a folder", hint="name a file")
        if target.exists() and not target.is_file():
            raise not_a_plain_file(path)
    except OSError as error:
        raise _not_looked_up(path, error) from error
    return target


def not_a_plain_file(path: Path) -> Conflict:
    """The error for a name that leads to a device or a stream."""
    return Conflict(f"{path} is no plain file, and is not replaced", hint="give the name of a file")


def _without_links(path: Path) -> Path:
    """Follows one link at a time: the whole of them at once would hide that they lead through an open stream."""
    target = path.absolute()
    try:
        for _ in range(_MOST_LINKS):
            folder = os.path.realpath(target.parent)
            is_link = target.is_symlink()
            if is_link and f"{folder}/".startswith(tuple(f"{stream}/" for stream in _STREAMS)):
                raise not_a_plain_file(path)
            target = Path(folder, target.name)
            if not is_link:
                return target
            target = target.parent / target.readlink()
    except OSError as error:
        raise _not_looked_up(path, error) from error
    raise _not_looked_up(path, OSError(errno.ELOOP, os.strerror(errno.ELOOP)))


def put_in_place(made: Path, path: Path, *, force: bool) -> None:
    """Gives the whole file `made` the name of the output `path`, on the same file system.

    Raises: Conflict where that is taken and not `force`, or may never be replaced; InvalidInput; OSError.
    """
    target = output_target(path)
    if not force:
        try:
            os.link(made, target)
        except FileExistsError as error:
            raise taken(path) from error
        except OSError:
            # A file system without hard links.
            if target.exists():
                raise taken(path) from None
        else:
            made.unlink()
            return
    made.replace(target)


def taken(path: Path) -> Conflict:
    """The error for an output that exists and may not be replaced."""
    return Conflict(f"{path} exists already", hint="give another name, or --force to replace it")


def open_part(part: Path) -> BinaryIO:
    """The file in which an output grows, opened to append to it; it is made where it is not there.

    Raises: InvalidInput where it is not a regular file, as a link or a FIFO is, or cannot be written.
    """
    try:
        descriptor = os.open(part, _APPEND, 0o666)
    except OSError as error:
        raise (_not_regular(part) if part.is_symlink() else not_written(part, error)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _not_regular(part)
    return os.fdopen(descriptor, "ab")


def locked_part(part: Path, busy: Conflict) -> BinaryIO:
    """The file `part`, opened by `open_part` and held against every other process until it is closed.

    Args:
        busy: raised where another process holds it.

    Raises: `busy`; InvalidInput where it is not a regular file, or cannot be written.
    """
    while True:
        file = open_part(part)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Who had it may have given the file its name meanwhile.
            if os.fstat(file.fileno()).st_ino == part.stat().st_ino:
                return file
        except BlockingIOError:
            file.close()
            raise busy from None
        except FileNotFoundError:
            pass
        except OSError as error:
            file.close()
            raise not_written(part, error) from error
        file.close()


def not_written(path: Path, error: OSError) -> InvalidInput:
    """The error for a file that cannot be written."""
    hint = "choose a folder that can be written, with room on its disk"
    return InvalidInput(f"{path} cannot be written: {error.strerror or error}", hint=hint)


def _not_regular(part: Path) -> InvalidInput:
    return InvalidInput(f"{part}, where the unfinished output is kept, is not a regular file", hint="remove it")


def safe_file_name(text: str) -> str:
    """A file name made of `text` for a folder of ours: ASCII, at most 100 bytes, without a dot at its beginning."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:_MOST_NAME]
    return re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), name) or "_"


def _not_looked_up(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{path} cannot be looked up: {error.strerror or error}", hint="check the path")

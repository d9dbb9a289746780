"""Output files that a user names: which file a path means, and how a complete file gets its name."""

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
# A name may have 255 bytes: this leaves room for prefixes and suffixes.
_MOST_NAME: Final = 100
# Entries below are not files but open streams of a process: /dev/stdout points there.
_STREAMS: Final = ("/proc", "/dev/fd")

# A link could point to another user's file, and opening a FIFO would block forever.
_APPEND: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def output_target(path: Path) -> Path:
    """The file that an output named `path` creates or replaces. A link is followed, and kept.

    Args:
        path: the name that the user gave.

    Returns:
        An absolute path that is not a link. It need not exist.

    Raises:
        Conflict: it is a device, a FIFO, or an open stream such as /dev/stdout.
        InvalidInput: it is a folder or a loop of links, or cannot be accessed.
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
    """The error for a path that is a device or a stream.

    Args:
        path: the name that the user gave.

    Returns:
        The error, to raise.
    """
    return Conflict(f"{path} is not a regular file, and is not replaced", hint="give the name of a file")


def _without_links(path: Path) -> Path:
    """Follows one link at a time: resolving all at once would hide that they pass through an open stream."""
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
    """Renames the complete file `made` to the output `path`, on the same file system.

    Args:
        made: the complete file, in the folder of the output.
        path: the name that the user gave.
        force: replace a file that exists.

    Raises:
        Conflict: `path` exists and `force` is not set, or it may never be replaced.
        InvalidInput, OSError: as `output_target` and the file system raise them.
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
    """The error for an output that exists and may not be replaced.

    Args:
        path: the name that the user gave.

    Returns:
        The error, to raise.
    """
    return Conflict(f"{path} already exists", hint="give another name, or --force to replace it")


def open_part(part: Path) -> BinaryIO:
    """Opens the file in which an output grows, to append to it. Creates it if it does not exist.

    Args:
        part: its path.

    Returns:
        The open file, at its end.

    Raises:
        InvalidInput: it is not a regular file but, for example, a link or a FIFO, or it cannot be written.
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
    """Opens the file `part` with `open_part` and locks it until it is closed.

    Args:
        part: its path.
        busy: raised if another process has locked it.

    Returns:
        The open file, at its end; closing it releases the lock.

    Raises:
        Conflict: `busy`, if another process has locked it.
        InvalidInput: it is not a regular file, or cannot be written.
    """
    while True:
        file = open_part(part)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process that had the lock may have renamed the file in the meantime.
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
    """The error for a file that cannot be written.

    Args:
        path: the name that the user gave.
        error: what the system reports.

    Returns:
        The error, to raise.
    """
    hint = "choose a folder with write permission and free disk space"
    return InvalidInput(f"{path} cannot be written: {error.strerror or error}", hint=hint)


def _not_regular(part: Path) -> InvalidInput:
    return InvalidInput(f"{part}, where the unfinished output is kept, is not a regular file", hint="remove it")


def safe_file_name(text: str) -> str:
    """A safe file name made from any text.

    Args:
        text: for example the name of a model.

    Returns:
        ASCII, at most 100 bytes, without a leading dot.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:_MOST_NAME]
    return re.sub(r"^\.+", lambda dots: "_" * len(dots[0]), name) or "_"


def _not_looked_up(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(f"{path} cannot be accessed: {error.strerror or error}", hint="check the path")

"""Errors of the operating system as messages: what happened, to which file or folder, and what to do."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile

from windtunnel.errors import JobFailed, WindtunnelError

_FULL = os.strerror(errno.ENOSPC)


def os_error_message(error: OSError) -> tuple[str, str]:
    """An unexpected error of the operating system in words.

    Args:
        error: of any operation on files, memory or sockets.

    Returns:
        The message, and the hint what to do.
    """
    what = error.strerror or str(error) or type(error).__name__
    names = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    hint = _room() if error.errno == errno.ENOSPC else "check the path and its permissions" if names else ""
    return (f"{names}: {what}" if names else what), hint or "WINDTUNNEL_DEBUG=1 shows where"


def error_message(error: WindtunnelError) -> tuple[str, str]:
    """An error in words. If a child process ran out of disk space, they say where.

    Args:
        error: what a command raised.

    Returns:
        The message, and the hint what to do.
    """
    if isinstance(error, JobFailed) and _FULL in error.message:
        return "there was no disk space for temporary files", _room()
    if isinstance(error, JobFailed) and not error.hint and "SIGBUS" in error.message:
        return error.message, f"a file was truncated while it was read, or there was no disk space for it: {_room()}"
    return error.message, error.hint


def _room() -> str:
    folder = tempfile.gettempdir()
    try:
        free = f" ({shutil.disk_usage(folder).free / 1e6:.0f} MB are free now)"
    except OSError:
        free = ""
    return f"free disk space in {folder}{free}, or set TMPDIR to another folder"

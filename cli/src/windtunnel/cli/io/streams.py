"""Standard output and error of a command. A reader that has gone, or a full disk, must not look like a failed model."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class ReaderGone(Exception):
    """The reader of standard output or error has gone. Not an OSError: click and rich would exit with code 1."""


class Unwritable(Exception):
    """Standard output cannot be written for another reason, which is in the message."""


def guard_streams() -> None:
    """Makes writes to standard output and error raise `ReaderGone` or `Unwritable`, and accept every character.

    Streams that a test or an embedding program has replaced are not changed.
    """
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _guarded(sys.stdout, _Output(sys.stdout.fileno(), "w", closefd=False))
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _guarded(sys.stderr, _Errors(sys.stderr.fileno(), "w", closefd=False))


def silence_output() -> None:
    """Discards what could not be written, so that the interpreter prints no error when it flushes at exit."""
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper):
            continue
        try:
            stream.flush()
        except (ReaderGone, Unwritable):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class _Output(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderGone from error
        except BlockingIOError:
            raise
        except OSError as error:
            raise Unwritable(f"standard output cannot be written: {error.strerror or error}") from error


class _Errors(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderGone from error
        except OSError:
            # Messages that cannot be written must not lose the result.
            return len(data)


def _guarded(stream: TextIO, raw: io.FileIO) -> io.TextIOWrapper:
    stream.flush()
    # On a terminal that is not UTF-8, a character of the report must not end the command.
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.isatty() or isinstance(raw, _Errors),
    )

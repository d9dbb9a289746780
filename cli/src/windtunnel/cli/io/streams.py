"""Standard output and error of a command: a reader that goes, or a disk that is full, is no verdict on a model."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class ReaderGone(Exception):
    """Whoever read standard output or error has gone. No OSError: click and rich would make exit code 1 of it."""


class Unwritable(Exception):
    """Standard output cannot be written for another reason, which the text says."""


def guard_streams() -> None:
    """Makes writes to standard output and error fail as `ReaderGone` or `Unwritable`, and take every character.

    What a test or an embedding program has put in their place stays as it is.
    """
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        sys.stdout = _guarded(sys.stdout, _Output(sys.stdout.fileno(), "w", closefd=False))
    if sys.stderr is sys.__stderr__ and sys.stderr is not None:
        sys.stderr = _guarded(sys.stderr, _Errors(sys.stderr.fileno(), "w", closefd=False))


def silence_output() -> None:
    """Leaves what could not be written behind: the interpreter must not complain when it flushes at its end."""
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
            # Words that cannot be written are no reason to lose the result.
            return len(data)


def _guarded(stream: TextIO, raw: io.FileIO) -> io.TextIOWrapper:
    stream.flush()
    # A terminal that is not UTF-8 must not end a run by a character of its report.
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.isatty() or isinstance(raw, _Errors),
    )

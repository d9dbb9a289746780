"""The use case: what a farm or a tool left, a log, a folder or an archive, becomes the runs that it speaks of."""

from __future__ import annotations

import codecs
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from windtunnel.artifacts.archives.unpack import unpack
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.log_parser.domain.log import SCHEMA, Log
from windtunnel.log_parser.domain.merged_runs import FoundRun, merged
from windtunnel.log_parser.use_cases.parse_log import read_log

# What an archive may unpack to. A logcat of a day has less.
MAX_UNPACKED_BYTES: Final = 4 * 1024**3
MAX_UNPACKED_FILES: Final = 20_000
_SNIFFED = 8192
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b")
# An archive in an archive is opened, one in that is not.
_MOST_NESTED = 2

# Takes the file, the number of a line, from 1, and its text. False: no more of them are wanted.
Unrecognized = Callable[[str, int, str], bool]


@dataclass(frozen=True, slots=True)
class Results:
    """The runs of a log, or of all logs and reports of a folder or archive."""

    runs: tuple[FoundRun, ...]
    unrecognized_lines: int
    of_folder: bool

    def to_json(self) -> dict[str, Any]:
        """The public form, `windtunnel.log/1`; each run of a folder or archive also says its `file`."""
        document = Log(tuple(one.run for one in self.runs), self.unrecognized_lines).to_json()
        if self.of_folder:
            for run, one in zip(document["runs"], self.runs, strict=True):
                run["file"] = one.file
        assert document["schema"] == SCHEMA
        return document


def read_results(path: Path, unrecognized: Unrecognized | None = None) -> Results:
    """Reads a log, a report, or a folder or archive of them: Test Lab results, AWS customer artifacts.

    Args:
        path: file, folder, or archive (zip, tar, tar.gz), recognized by its content.
        unrecognized: receives each line, not blank, that no rule knew; None: they are only counted.

    Returns:
        Its runs; a run that several files speak of comes once.

    Raises:
        NotFound: it does not exist.
        InvalidInput: it cannot be read. Or it is an archive that is damaged, too large, or not safe to open.
    """
    if not path.exists():
        raise NotFound(f"there is no benchmark log {path}", hint="check the path")
    found: list[FoundRun] = []
    count = 0
    of_folder = path.is_dir() or _is_archive(path)
    with tempfile.TemporaryDirectory(prefix="windtunnel-results-") as room:
        for name, file in _files(path, Path(room)):
            log = _read(file, name, unrecognized)
            found += [FoundRun(name, run) for run in log.runs]
            count += log.unrecognized_lines
    runs = merged(found) if of_folder else tuple(found)
    return Results(runs, count, of_folder)


def _read(file: Path, name: str, unrecognized: Unrecognized | None) -> Log:
    try:
        if unrecognized is None:
            return read_log(lambda: file.open("rb"))
        return read_log(lambda: file.open("rb"), lambda number, text: unrecognized(name, number, text))
    except OSError as error:
        raise InvalidInput(
            f"benchmark log {name} cannot be read: {error.strerror or error}", hint="give the path of a file"
        ) from error


def _files(path: Path, room: Path, name: str = "", nested: int = 0) -> Iterator[tuple[str, Path]]:
    """The logs of a folder or archive with their names in it; a log itself."""
    if path.is_dir():
        for folder, folders, files in os.walk(path):
            folders.sort()
            for file in sorted(files):
                inner = Path(folder, file)
                inner_name = "/".join(part for part in (name, inner.relative_to(path).as_posix()) if part)
                if not inner.is_symlink() and inner.is_file():
                    yield from _files(inner, room, inner_name, nested)
    elif _is_archive(path) and nested < _MOST_NESTED:
        yield from _files(_unpacked(path, room), room, name, nested + 1)
    elif not name or _is_text(path):
        yield name or path.name, path


def _unpacked(archive: Path, room: Path) -> Path:
    target = Path(tempfile.mkdtemp(dir=room), "content")
    try:
        return unpack(archive, target, max_bytes=MAX_UNPACKED_BYTES, max_files=MAX_UNPACKED_FILES)
    except InvalidInput as error:
        raise InvalidInput(
            error.message, hint="unpack it yourself if you trust it, and give the folder or the log", code=error.code
        ) from error


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_SNIFFED)
    except OSError as error:
        raise InvalidInput(
            f"benchmark log {path} cannot be read: {error.strerror or error}", hint="give the path of a file"
        ) from error


def _is_archive(path: Path) -> bool:
    if not path.is_file():
        return False
    head = _head(path)
    return head.startswith(_ARCHIVES) or head[257:262] == b"ustar"


def _is_text(path: Path) -> bool:
    """Whether a file of a folder may be a log: a video, a database or a screenshot has zeros."""
    head = _head(path)
    return b"\0" not in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))

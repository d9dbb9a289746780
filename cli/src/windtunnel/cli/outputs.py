"""Files that commands read and write, and progress on the terminal."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from windtunnel.errors import InvalidInput, NotFound
from windtunnel.output_files import not_written, output_target, put_in_place, taken

if TYPE_CHECKING:
    from windtunnel.isolation import Progress

_PREFIX: Final = ".windtunnel-"
MAX_LOG_BYTES: Final = 512 * 1024**2
_MOST_JSON: Final = 64 * 1024**2
_WORTH_A_WORD: Final = 32_000_000
_CHECKPOINT: Final = (".index", ".meta", ".data-*")

force_option = click.option("--force", is_flag=True, help="Replace an output file that exists.")


def require_file(path: Path, what: str) -> Path:
    """The path of a file or folder, absolute. Raises NotFound where there is nothing."""
    if not is_there(path):
        raise NotFound(f"there is no {what} {path}", hint="check the path")
    return path.absolute()


def is_there(path: Path) -> bool:
    """Whether there is something. Raises InvalidInput where one cannot look: a name too long, a closed folder."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InvalidInput(f"{path} cannot be looked up: {error.strerror or error}", hint="check the path") from error
    return True


def read_bytes(path: Path, what: str, *, most: int) -> bytes:
    """The content of a file of at most `most` bytes. Raises NotFound, and InvalidInput where it cannot be read."""
    require_file(path, what)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InvalidInput(f"{what} {path} cannot be read: {error.strerror}", hint="give the path of a file") from error
    if len(content) > most:
        raise InvalidInput(f"{path} is larger than {most} bytes", hint=f"is it a {what}?")
    return content


def require_outputs(outputs: Sequence[Path | None], *, inputs: Sequence[Path | None], force: bool) -> None:
    """The one guard of every command that writes files: none replaces an input, another one, or a file unasked.

    Args:
        inputs: every file and folder that the command reads.

    Ask before the work begins: an hour of it must not end in a refusal. Raises UsageError, and as `require_free`.
    """
    require_distinct(outputs, inputs)
    for path in outputs:
        require_free(path, force=force)


def require_free(path: Path | None, *, force: bool) -> None:
    """Raises Conflict where `path` exists and may not be replaced, NotFound where its folder does not exist.

    A link stands for the file that it leads to. Raises as `output_target`, and InvalidInput where nothing can be
    written beside the file.
    """
    if path is None:
        return
    target = output_target(path)
    if is_there(target) and not force:
        raise taken(path)
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent}", hint="create it first")
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=_PREFIX)
    except OSError as error:
        raise not_written(path, error) from error
    os.close(descriptor)
    Path(name).unlink()


def require_distinct(outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
    """Raises UsageError where two outputs are one file, or an output would replace an input, however it is spelled.

    What lies in a folder that is read is an input too.
    """
    read = [path for path in inputs if path is not None]
    written: list[Path] = []
    for path in outputs:
        if path is None:
            continue
        if any(_is_same(path, other) or _lies_in(path, other) for other in (*read, *_checkpoints(read))):
            raise click.UsageError(f"{path} is an input of this command: every output needs a file of its own")
        if any(_is_same(path, other) for other in written):
            raise click.UsageError(f"{path} is named twice: every output needs a file of its own")
        written.append(path)


def _is_same(one: Path, other: Path) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        # One of them is not there.
        return False


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether a file that is there lies in a folder that is read."""
    real = Path(os.path.realpath(path))
    return is_there(path) and is_there(folder) and folder.is_dir() and Path(os.path.realpath(folder)) in real.parents


def _checkpoints(inputs: Sequence[Path]) -> list[Path]:
    """The files of checkpoints, which are named by their prefix."""
    prefixes = [path for path in inputs if path.name and not is_there(path)]
    return [file for path in prefixes for end in _CHECKPOINT for file in path.parent.glob(escape(path.name) + end)]


def create_folder(path: Path) -> None:
    """Creates a folder and those above it where they are missing. Raises InvalidInput where it cannot."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"folder {path} cannot be made: {error.strerror or error}", hint="choose a folder that can be written"
        ) from error


def write_whole(path: Path, content: bytes, *, force: bool = True) -> None:
    """Writes a file that is there whole or not at all.

    Without `force` a file that somebody put there meanwhile stays: Conflict. Raises InvalidInput where it cannot be
    written.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=output_target(path).parent, prefix=_PREFIX)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).chmod(0o666 & ~_umask())
            put_in_place(Path(name), path, force=force)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise not_written(path, error) from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def read_json(path: Path | None, what: str) -> Any:
    """The content of a JSON file; None for no path. Raises NotFound and InvalidInput."""
    if path is None:
        return None
    content = read_bytes(path, what, most=_MOST_JSON)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} {path} is not JSON: {error}") from error


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[Progress], None] | None]:
    """A bar on standard error while the block runs; nothing where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[what]}"), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, what="")
        yield lambda now: bar.update(task, completed=now.fraction, what=now.text)


class _Tenths:
    """Says how far a large transfer is, ten times in all."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._said = 0

    def reached(self, done: int, total: int) -> None:
        """`done` of `total` bytes have been transferred."""
        tenth = 10 * done // total if total else 0
        if done >= total:
            # The next file is another one.
            self._said = 0
        elif total >= _WORTH_A_WORD and tenth > self._said:
            self._said = tenth
            click.echo(f"{self._title}: {10 * tenth} % of {total / 1e6:.0f} MB", err=True)


@contextmanager
def progress_bytes(title: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on standard error for bytes that are sent or received; where that is not a terminal, a line per tenth."""
    if not sys.stderr.isatty():
        yield _Tenths(title).reached
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)

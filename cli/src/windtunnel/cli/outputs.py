"""Files that commands read and write, and progress on the terminal."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from windtunnel.errors import Conflict, InvalidInput, NotFound

if TYPE_CHECKING:
    from windtunnel.isolation import Progress

force_option = click.option("--force", is_flag=True, help="Replace an output file that exists.")


def require_file(path: Path, what: str) -> Path:
    """The path, absolute. Raises NotFound where there is nothing."""
    if not path.exists():
        raise NotFound(f"there is no {what} {path}", hint="check the path")
    return path.absolute()


def require_free(path: Path | None, *, force: bool) -> None:
    """Raises Conflict where `path` exists and may not be replaced, NotFound where its folder does not exist.

    Ask before the work begins: an hour of it must not end in a refusal.
    """
    if path is None:
        return
    if path.is_dir():
        raise InvalidInput(f"{path} is a folder", hint="name a file")
    if path.exists() and not path.is_file():
        raise Conflict(f"{path} is no plain file, and is not replaced", hint="give the name of a file")
    if path.exists() and not force:
        raise Conflict(f"{path} exists already", hint="give another name, or --force to replace it")
    if not path.absolute().parent.is_dir():
        raise NotFound(f"there is no folder {path.absolute().parent}", hint="create it first")


def require_distinct(outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
    """Raises UsageError where two outputs are one file, or an output would replace an input."""
    taken = {path.resolve() for path in inputs if path is not None}
    for path in outputs:
        if path is not None and path.resolve() in taken:
            raise click.UsageError(f"{path} is named twice: every output needs a file of its own, and no input's")
        taken |= set() if path is None else {path.resolve()}


def create_folder(path: Path) -> None:
    """Creates a folder and those above it where they are missing. Raises InvalidInput where it cannot."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"folder {path} cannot be made: {error.strerror or error}", hint="choose a folder that can be written"
        ) from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or not at all. Raises InvalidInput where it cannot be written."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.absolute().parent, prefix=".windtunnel-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error}") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def read_json(path: Path | None, what: str) -> Any:
    """The content of a JSON file; None for no path. Raises NotFound and InvalidInput."""
    if path is None:
        return None
    require_file(path, what)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"{what} {path} cannot be read: {error}") from error
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

"""Checks of output files before a command works: none may replace an input, another output, or an existing file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from windtunnel.cli.io.files import TEMPORARY_PREFIX, is_there
from windtunnel.errors import NotFound
from windtunnel.output_files import not_written, output_target, taken

if TYPE_CHECKING:
    pass

_CHECKPOINT: Final = (".index", ".meta", ".data-*")
force_option = click.option("--force", is_flag=True, help="Replace an output file that exists.")


def require_outputs(outputs: Sequence[Path | None], *, inputs: Sequence[Path | None], force: bool) -> None:
    """Checks the outputs of a command before it works, so that an hour of work does not end with an error.

    Args:
        outputs: every file that the command writes; None for one that was not requested.
        inputs: every file and folder that the command reads.
        force: existing files may be replaced.

    Raises:
        UsageError: an output would replace an input or another output.
        Conflict, NotFound, InvalidInput: as `require_free`.
    """
    require_distinct(outputs, inputs)
    for path in outputs:
        require_free(path, force=force)


def require_free(path: Path | None, *, force: bool) -> None:
    """Checks that a file can be written. A link means the file that it points to.

    What `output_target` raises is raised too.

    Args:
        path: where the command will write; None is always free.
        force: an existing file may be replaced.

    Raises:
        Conflict: the file exists and may not be replaced.
        NotFound: its folder does not exist.
        InvalidInput: the folder cannot be written.
    """
    if path is None:
        return
    target = output_target(path)
    if is_there(target) and not force:
        raise taken(path)
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent}", hint="create it first")
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=TEMPORARY_PREFIX)
    except OSError as error:
        raise not_written(path, error) from error
    os.close(descriptor)
    Path(name).unlink()


def require_distinct(outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
    """Checks that no two outputs are the same file, and that no output would replace an input.

    Paths that are spelled differently may be the same file. Files in a folder that is read are inputs too.

    Args:
        outputs: what the command will write; None is skipped.
        inputs: what it reads, files and folders; None is skipped.

    Raises:
        UsageError: two paths are the same file.
    """
    read = [path for path in inputs if path is not None]
    written: list[Path] = []
    for path in outputs:
        if path is None:
            continue
        if any(_is_same(path, other) or _lies_in(path, other) for other in (*read, *_checkpoints(read))):
            raise click.UsageError(f"{path} is an input of this command: choose another file")
        if any(_is_same(path, other) for other in written):
            raise click.UsageError(f"{path} is named twice: choose another file")
        written.append(path)


def _is_same(one: Path, other: Path) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        # One of them does not exist.
        return False


def _lies_in(path: Path, folder: Path) -> bool:
    """Whether an existing file is in a folder that is read."""
    real = Path(os.path.realpath(path))
    return is_there(path) and is_there(folder) and folder.is_dir() and Path(os.path.realpath(folder)) in real.parents


def _checkpoints(inputs: Sequence[Path]) -> list[Path]:
    """The files of checkpoints, which are named by their prefix."""
    prefixes = [path for path in inputs if path.name and not is_there(path)]
    return [file for path in prefixes for end in _CHECKPOINT for file in path.parent.glob(escape(path.name) + end)]

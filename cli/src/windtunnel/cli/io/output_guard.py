"""The one guard of every command that writes files: no output replaces an input, another output, or a file unasked."""

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
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=TEMPORARY_PREFIX)
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

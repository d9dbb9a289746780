"""Files that commands read and write."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windtunnel.errors import InvalidInput, NotFound
from windtunnel.output_files import not_written, output_target, put_in_place

if TYPE_CHECKING:
    pass

TEMPORARY_PREFIX: Final = ".windtunnel-"
MAX_LOG_BYTES: Final = 512 * 1024**2
_MOST_JSON: Final = 64 * 1024**2


def require_file(path: Path, what: str) -> Path:
    """The absolute path of a file or folder that must exist.

    Args:
        path: as the user gave it.
        what: what it is, for the message: "model".

    Returns:
        The absolute path.

    Raises:
        NotFound: it does not exist.
    """
    if not is_there(path):
        raise NotFound(f"there is no {what} {path}", hint="check the path")
    return path.absolute()


def is_there(path: Path) -> bool:
    """Whether a file or folder exists.

    Args:
        path: as the user gave it.

    Raises:
        InvalidInput: that cannot be checked: the name is too long, or a permission is missing.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InvalidInput(f"{path} cannot be accessed: {error.strerror or error}", hint="check the path") from error
    return True


def read_bytes(path: Path, what: str, *, most: int) -> bytes:
    """The content of a file.

    Args:
        path: as the user gave it.
        what: what it is, for messages.
        most: its largest size in bytes.

    Returns:
        All bytes.

    Raises:
        NotFound: it does not exist.
        InvalidInput: it is larger, or cannot be read.
    """
    require_file(path, what)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InvalidInput(f"{what} {path} cannot be read: {error.strerror}", hint="give the path of a file") from error
    if len(content) > most:
        raise InvalidInput(f"{path} is larger than {most} bytes", hint=f"is it a {what}?")
    return content


def read_json(path: Path | None, what: str) -> Any:
    """The content of a JSON file.

    Args:
        path: as the user gave it, or None.
        what: what it is, for messages.

    Returns:
        The document; None for no path.

    Raises:
        NotFound: it does not exist.
        InvalidInput: it cannot be read, or is not JSON.
    """
    if path is None:
        return None
    content = read_bytes(path, what, most=_MOST_JSON)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{what} {path} is not JSON: {error}") from error


def read_pipeline(path: Path | None) -> Any:
    """The content of a pipeline.json; the files that it names are relative to it.

    Args:
        path: as the user gave it, or None.

    Returns:
        The document, with whole paths; None for no path.

    Raises:
        NotFound: it, or a file that it names, does not exist.
        InvalidInput: it cannot be read, or is not JSON.
    """
    if path is None:
        return None
    from windtunnel.pipeline.pipeline_files import beside, named_files, place_words

    pipeline = beside(read_json(path, "pipeline"), path.parent)
    for place, named in named_files(pipeline) if isinstance(pipeline, Mapping) else ():
        if not Path(named).is_file():
            raise NotFound(
                f"pipeline {path}: {place_words(place)}: there is no file {named}",
                hint="the path is relative to the pipeline",
            )
    return pipeline


def create_folder(path: Path) -> None:
    """Creates a folder and its parents; it may exist.

    Args:
        path: as the user gave it.

    Raises:
        InvalidInput: it cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"folder {path} cannot be created: {error.strerror or error}", hint="choose a folder with write permission"
        ) from error


def write_whole(path: Path, content: bytes, *, force: bool = True) -> None:
    """Writes a file completely or not at all.

    Args:
        path: the file to write.
        content: all bytes of it.
        force: replace a file that exists.

    Raises:
        Conflict: another process has created the file in the meantime, and `force` is not set.
        InvalidInput: it cannot be written.
    """
    write_file_whole(path, lambda made: made.write_bytes(content), force=force)


def write_file_whole(path: Path, write: Callable[[Path], object], *, force: bool = True) -> None:
    """Writes a file completely or not at all, as `write_whole` does, without its content in memory.

    Args:
        path: the file to write.
        write: writes the content to the empty temporary file that it is given.
        force: replace a file that exists.

    Raises:
        Conflict: another process has created the file in the meantime, and `force` is not set.
        InvalidInput: it cannot be written.
    """
    try:
        descriptor, name = tempfile.mkstemp(dir=output_target(path).parent, prefix=TEMPORARY_PREFIX)
        os.close(descriptor)
        try:
            write(Path(name))
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

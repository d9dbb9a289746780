"""The members of a run's zip, read with limits: a hostile or damaged file ends in a clear error."""

from __future__ import annotations

import io
import json
import math
import re
import stat
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.comparison.run_codec import SCHEMA
from windtunnel.errors import InvalidInput, NotFound

RUN_MEMBER, SUMS_MEMBER, MODEL_MEMBER = "run.json", "sums.npz", "models/{}.tflite"
COMMAND_MEMBER: Final = "command.json"
_MODEL_NAME: Final = re.compile(r"models/([0-9a-f]{64})\.tflite")
# Bytes after unpacking: of the texts, of the arrays, and of each model.
_MOST: Final = {RUN_MEMBER: 256 * 2**20, COMMAND_MEMBER: 64 * 2**20, SUMS_MEMBER: 512 * 2**20}
_MOST_MODEL: Final = 256 * 2**20
_MOST_MEMBERS: Final = 5
# Of the file: all members without compression, and as much again as their headers can have.
_MOST_PACKED: Final = sum(_MOST.values()) + 2 * _MOST_MODEL + 2**20
_AGAIN: Final = "run diff with --save again, or copy the file again"


@dataclass(frozen=True, slots=True)
class Members:
    """What a run's file holds; `models` by SHA-256, `command` is None if no command added it."""

    run: dict[str, Any]
    sums: bytes
    models: Mapping[str, bytes]
    command: dict[str, Any] | None


def read_members(path: Path) -> Members:
    """Reads a run's file.

    Args:
        path: of the file.

    Returns:
        The content of each member.

    Raises:
        NotFound: it does not exist.
        InvalidInput: it is not a run, is damaged, or is of another format.
    """
    if not path.exists():
        raise NotFound(f"the run {path} does not exist", hint="write one with diff --save")
    # A FIFO would block, and a device would never end.
    if not path.is_file():
        raise InvalidInput(f"the run {path} is not a regular file", hint="give the file that diff --save wrote")
    if path.stat().st_size > _MOST_PACKED:
        size = f"{path.stat().st_size} bytes, and a run of diff --save has at most {_MOST_PACKED}"
        raise InvalidInput(f"{path} has {size}", hint="give the file that diff --save wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            contents = {one.filename: archive.read(one) for one in _checked(archive, path)}
    except zipfile.BadZipFile as error:
        raise InvalidInput(f"{path} is not a run of diff --save, or is cut off: {error}", hint=_AGAIN) from error
    except (OSError, EOFError, RuntimeError, NotImplementedError, zlib.error) as error:
        raise InvalidInput(f"{path} cannot be read: {error}", hint=_AGAIN) from error
    for name in (RUN_MEMBER, SUMS_MEMBER):
        if name not in contents:
            raise InvalidInput(f"{path} has no {name}: it is not a complete run of diff --save", hint=_AGAIN)
    run = _document(contents[RUN_MEMBER], RUN_MEMBER, path)
    if run.get("schema") != SCHEMA:
        raise InvalidInput(
            f"the format of {path} is {run.get('schema')!r}, and this version reads {SCHEMA!r}",
            hint="judge it with the version of Windtunnel that wrote it, or run diff again with the models",
        )
    command = _document(contents[COMMAND_MEMBER], COMMAND_MEMBER, path) if COMMAND_MEMBER in contents else None
    models = {found.group(1): contents[name] for name in contents if (found := _MODEL_NAME.fullmatch(name))}
    return Members(run, contents[SUMS_MEMBER], models, command)


def read_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Reads the arrays of an .npz, without pickles.

    Args:
        content: of the .npz.

    Returns:
        By name.

    Raises:
        ValueError: it is not one, or takes too much memory.
    """
    found, left = {}, _MOST[SUMS_MEMBER]
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for one in archive.infolist():
                left -= one.file_size
                if left < 0:
                    raise ValueError(f"its arrays take more than {_MOST[SUMS_MEMBER]} bytes")
                found[one.filename.removesuffix(".npy")] = _array(archive.read(one))
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, zlib.error) as error:
        raise ValueError(f"its arrays cannot be read: {error}") from error
    return found


def _array(content: bytes) -> NDArray[Any]:
    """An array whose header states no more bytes than there are.

    Raises:
        ValueError: the header states more.
    """
    file = io.BytesIO(content)
    major, _ = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError("an array has another size than it states")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _checked(archive: zipfile.ZipFile, path: Path) -> list[zipfile.ZipInfo]:
    """The members, each expected, once, and within its limit.

    Raises:
        InvalidInput: one is not.
    """
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS or len({one.filename for one in members}) < len(members):
        raise InvalidInput(f"{path} has {len(members)} members, some twice or too many: it is not a run", hint=_AGAIN)
    for one in members:
        most = _MOST_MODEL if _MODEL_NAME.fullmatch(one.filename) else _MOST.get(one.filename)
        if most is None or stat.S_ISLNK(one.external_attr >> 16):
            raise InvalidInput(f"{path} has a member {one.filename!r}, which a run does not have", hint=_AGAIN)
        if one.file_size > most:
            size = f"{one.file_size} bytes, and at most {most} are read"
            raise InvalidInput(f"the member {one.filename} of {path} has {size}", hint=_AGAIN)
    return members


def _document(content: bytes, name: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(content.decode(), parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the {name} of {path} is not JSON: {error}", hint=_AGAIN) from error
    if not isinstance(found, dict):
        raise InvalidInput(f"the {name} of {path} is not a JSON object", hint=_AGAIN)
    return found


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")

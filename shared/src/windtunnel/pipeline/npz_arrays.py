"""Arrays of an .npz file, read in place where they are stored uncompressed, and never believed beyond the file."""

from __future__ import annotations

import math
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput

MAX_UNPACKED = 8 * 1024**3
_CHUNK = 64 * 1024
_KINDS = "buifSU"
# Deflate cannot do better than 1032 to 1 (RFC 1951); a claim beyond that is a lie.
_DEFLATE_RATIO = 1032
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    MemoryError,
)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an .npz file. Stored members are memory-mapped; compressed ones are read.

    Args:
        path: the file.

    Returns:
        The arrays by name.

    Raises:
        InvalidInput: damage, object arrays, headers that claim more than the file holds, or a compressed array of more
            than MAX_UNPACKED bytes.
    """
    try:
        with path.open("rb") as source, zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) != len(names):
                raise InvalidInput(f"{path.name}: an array appears twice")
            return {_array_name(path, member): _read(path, source, archive, member) for member in members}
    except _BROKEN as error:
        raise InvalidInput(
            f"{path.name} is not a whole .npz file: {str(error)[:200]}", hint="write it with numpy.savez"
        ) from error


def _array_name(path: Path, member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(".npy"):
        raise InvalidInput(
            f"{path.name}: member {member.filename[:80]!r} is not an array", hint="write it with numpy.savez"
        )
    return member.filename.removesuffix(".npy")


def _read(path: Path, source: BinaryIO, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as stream:
        shape, fortran, dtype = _header(path, name, stream)
        header = stream.tell()
    size = math.prod(shape) * dtype.itemsize
    if header + size != member.file_size:
        raise InvalidInput(f"{path.name}: array {name!r} claims {size} bytes of data, not {member.file_size - header}")
    if member.compress_type == zipfile.ZIP_STORED:
        return _map(path, source, archive, member, header, size, (shape, fortran, dtype))
    if size > MAX_UNPACKED or member.file_size > member.compress_size * _DEFLATE_RATIO + 1024:
        raise InvalidInput(
            f"{path.name}: compressed array {name!r} claims {size} bytes",
            hint="numpy.savez (uncompressed) files are read in place, whatever their size",
        )
    data = bytearray(size)
    with archive.open(member) as stream:
        stream.read(header)
        _fill(stream, memoryview(data))
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def _header(path: Path, name: str, stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    major = npy.read_magic(stream)[0]
    read = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}.get(major)
    if read is None:
        raise InvalidInput(f"{path.name}: array {name!r} is of .npy version {major}, not 1 or 2")
    shape, fortran, dtype = read(stream)
    if dtype.hasobject or dtype.kind not in _KINDS:
        raise InvalidInput(
            f"{path.name}: array {name!r} is of dtype {dtype}", hint="numbers, booleans or texts, never Python objects"
        )
    if any(side < 0 for side in shape):
        raise InvalidInput(f"{path.name}: array {name!r} claims the shape {shape}")
    return shape, fortran, dtype


def _map(
    path: Path,
    source: BinaryIO,
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    header: int,
    size: int,
    form: tuple[tuple[int, ...], bool, np.dtype[Any]],
) -> NDArray[Any]:
    """Verifies the member's checksum, then maps its data, which may be larger than memory.

    Raises:
        InvalidInput: the header claims more than the file holds.
    """
    shape, fortran, dtype = form
    if header + size != member.compress_size:
        raise InvalidInput(f"{path.name}: {member.filename!r} claims more than the file holds")
    with archive.open(member) as stream:
        while stream.read(_CHUNK):
            pass
    # The local header repeats name and extra field, whose lengths may differ from the directory's (APPNOTE 4.3.7).
    source.seek(member.header_offset + 26)
    name_length, extra_length = struct.unpack("<HH", source.read(4))
    start = member.header_offset + 30 + name_length + extra_length + header
    if start + size > os.fstat(source.fileno()).st_size:
        raise InvalidInput(f"{path.name}: {member.filename!r} claims more than the file holds")
    if size == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _fill(stream: Any, into: memoryview) -> None:
    done = 0
    while done < len(into):
        count = stream.readinto(into[done : done + _CHUNK])
        if not count:
            raise EOFError("the array ends early")
        done += count
    if stream.read(1):
        raise EOFError("the array does not end")

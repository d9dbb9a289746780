"""Open .zip, .tar and .tar.gz archives from strangers.

What the archive claims is checked before a byte is written: a 10 GB claim in a header fails at once. What it has is
counted while it is written: a zip bomb fails at the limit. Nothing is written through a link.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from windtunnel.artifacts.archives.forward_reader import ForwardReader
from windtunnel.artifacts.stores.port import CHUNK
from windtunnel.errors import InvalidInput

_LINK_LIMIT = 4096
_ENTRY_LIMIT = 1024  # bytes of directory per member that a zip may use on average
_BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    struct.error,
    NotImplementedError,
    ValueError,
    OverflowError,
    RecursionError,
)


def unpack(archive: Path, target: Path, *, max_bytes: int, max_files: int) -> Path:
    """Extracts an archive into a new folder, which appears whole or not at all.

    Args:
        archive: zip, tar or tar.gz, recognized by its content.
        target: the new folder; an empty one may exist.
        max_bytes: most bytes of content.
        max_files: most members.

    Returns:
        `target`.

    Raises:
        InvalidInput: the archive is damaged, truncated or larger than allowed. Or it has encrypted members, device
            files, duplicate names, or names or links that lead out of `target`.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidInput(f"cannot unpack into {target}: it exists", hint="name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:32]}."))
    try:
        writer = _Writer(archive.name, staging / "content", max_bytes, max_files)
        with _naming(archive):
            _extract(archive, writer)
        writer.finish()
        (staging / "content").replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return target


@contextmanager
def _naming(archive: Path) -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise InvalidInput(
            f"{archive.name} is not a whole archive: {type(error).__name__}: {str(error)[:200]}",
            hint="pack it again, or upload it again",
        ) from error
    except OSError as error:
        raise InvalidInput(f"cannot unpack {archive.name}: {error.strerror or error}") from error


def _extract(archive: Path, writer: _Writer) -> None:
    with archive.open("rb") as source:
        head = source.read(512)
        source.seek(0)
        if head[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=source) as inner:
                _extract_tar(cast(BinaryIO, inner), writer)
        elif head[257:262] == b"ustar":
            _extract_tar(source, writer)
        elif head[:2] == b"PK" or zipfile.is_zipfile(source):
            _extract_zip(source, writer)
        else:
            raise InvalidInput(f"{archive.name} is no .zip, .tar or .tar.gz archive")


class _Writer:
    """Writes members below a root, under the limits.

    Args:
        archive: name, for messages.
        root: the new folder.
        max_bytes: most bytes of content.
        max_files: most members.
    """

    def __init__(self, archive: str, root: Path, max_bytes: int, max_files: int) -> None:
        self.archive = archive
        self.max_bytes = max_bytes
        self.max_files = max_files
        self._root = root
        self._members = 0
        self._bytes = 0
        self._kinds: dict[PurePosixPath, str] = {PurePosixPath(): "folder"}
        self._links: list[tuple[PurePosixPath, str]] = []
        root.mkdir()

    def folder(self, name: str) -> None:
        self._count()
        self._make_folders(self._clean(name))

    def file(self, name: str, source: BinaryIO, declared: int) -> None:
        path = self._new(name, "file")
        self.claim(declared)
        written = 0
        with (self._root / path).open("xb") as out:
            while chunk := source.read(CHUNK):
                written += len(chunk)
                self.claim(written)
                out.write(chunk)
        if written != declared:
            raise self.refuse(f"member {name[:200]!r} has {written} bytes where {declared} are declared")
        self._bytes += written

    def hard_link(self, name: str, to: str) -> None:
        path = self._new(name, "file")
        source = self._clean(to)
        if self._kinds.get(source) != "file" or source == path:
            raise self.refuse(f"link {name[:200]!r} leads to {to[:200]!r}, which is not an earlier file of the archive")
        (self._root / path).hardlink_to(self._root / source)

    def symlink(self, name: str, to: str) -> None:
        # Made at the very end: while files are written there is no link that they could go through.
        self._links.append((self._new(name, "link"), to))

    def claim(self, size: int) -> None:
        """Counts bytes, declared or real, and refuses them if they exceed the limit.

        Args:
            size: how many more bytes.
        """
        if self._bytes + size > self.max_bytes:
            raise self.refuse(f"it unpacks to more than {self.max_bytes} bytes")

    def refuse(self, why: str) -> InvalidInput:
        return InvalidInput(f"{self.archive}: {why}", hint="pack only the model's own files, as plain files")

    def finish(self) -> None:
        for path, to in self._links:
            if to.startswith("/") or "\0" in to or not to:
                raise self.refuse(f"link {str(path)!r} leads out of the archive")
            (self._root / path).symlink_to(to)
        root = self._root.resolve()
        for path, to in self._links:
            try:
                end = (self._root / path).resolve(strict=True)
            except (OSError, RuntimeError):
                raise self.refuse(f"link {str(path)!r} to {to[:200]!r} leads nowhere") from None
            if not end.is_relative_to(root):
                raise self.refuse(f"link {str(path)!r} leads out of the archive")

    def _count(self) -> None:
        self._members += 1
        if self._members > self.max_files:
            raise self.refuse(f"it has more than {self.max_files} members")

    def _clean(self, name: str) -> PurePosixPath:
        drive = len(name) > 1 and name[1] == ":"
        if name.startswith("/") or drive or "\\" in name or "\0" in name or ".." in name.split("/"):
            raise self.refuse(f"member name {name[:200]!r} could leave the target folder")
        return PurePosixPath(name)

    def _new(self, name: str, kind: str) -> PurePosixPath:
        self._count()
        path = self._clean(name)
        if path in self._kinds:
            raise self.refuse(f"the name {name[:200]!r} appears twice")
        self._make_folders(path.parent)
        self._kinds[path] = kind
        return path

    def _make_folders(self, path: PurePosixPath) -> None:
        for folder in [*reversed(path.parents), path]:
            kind = self._kinds.setdefault(folder, "folder")
            if kind != "folder":
                raise self.refuse(f"{str(folder)[:200]!r} is both a {kind} and a folder")
            (self._root / folder).mkdir(exist_ok=True)


def _extract_zip(source: BinaryIO, writer: _Writer) -> None:
    _check_directory_size(source, writer)
    with zipfile.ZipFile(source) as archive:
        members = archive.infolist()
        if len(members) > writer.max_files:
            raise writer.refuse(f"it has more than {writer.max_files} members")
        writer.claim(sum(member.file_size for member in members))
        for member in members:
            _extract_zip_member(archive, member, writer)


def _check_directory_size(source: BinaryIO, writer: _Writer) -> None:
    """Refuses a huge central directory before it is parsed (APPNOTE.TXT 4.3.16, 4.3.14 for zip64).

    Raises:
        BadZipFile: there is no end record.
    """
    size = source.seek(0, os.SEEK_END)
    start = max(0, size - 65_557 - 20 - 56)
    source.seek(start)
    tail = source.read()
    source.seek(0)
    end = tail.rfind(b"PK\x05\x06")
    if end < 0 or end + 22 > len(tail):
        raise zipfile.BadZipFile("no end record: truncated")
    (directory,) = struct.unpack_from("<L", tail, end + 12)
    zip64 = tail.rfind(b"PK\x06\x06", 0, end)
    if directory == 0xFFFFFFFF and zip64 >= 0 and zip64 + 48 <= len(tail):
        (directory,) = struct.unpack_from("<Q", tail, zip64 + 40)
    if directory > writer.max_files * _ENTRY_LIMIT + 65_536:
        raise writer.refuse(f"its directory of {directory} bytes is too large for {writer.max_files} members")


def _extract_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, writer: _Writer) -> None:
    name = member.orig_filename
    if member.flag_bits & 0x1:
        raise writer.refuse(f"member {name[:200]!r} is encrypted")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.endswith("/"):
        writer.folder(name)
    elif kind == stat.S_IFLNK:
        with archive.open(member) as source:
            to = source.read(_LINK_LIMIT + 1)
        if len(to) > _LINK_LIMIT:
            raise writer.refuse(f"link {name[:200]!r} is too long")
        writer.symlink(name, to.decode())
    elif kind in {0, stat.S_IFREG}:
        with archive.open(member) as source:
            writer.file(name, cast(BinaryIO, source), member.file_size)
    else:
        raise writer.refuse(f"member {name[:200]!r} is a device or pipe")


def _extract_tar(source: BinaryIO, writer: _Writer) -> None:
    # Headers and padding count too, so a stream of nothing but headers ends at a limit.
    reader = ForwardReader(source, limit=writer.max_bytes + 4096 * (writer.max_files + 16), refuse=writer.refuse)
    with tarfile.open(fileobj=cast(BinaryIO, reader), mode="r:") as archive:
        while (member := archive.next()) is not None:
            _extract_tar_member(archive, member, writer)
            # The members seen so far are kept for random access, without bound.
            cast(Any, archive).members.clear()
    if reader.last != bytes(512):
        raise tarfile.ReadError("no end mark: truncated")
    reader.drain()


def _extract_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo, writer: _Writer) -> None:
    name = member.name
    if member.isdir():
        writer.folder(name)
    elif member.issym():
        writer.symlink(name, member.linkname)
    elif member.islnk():
        writer.hard_link(name, member.linkname)
    elif member.isreg():
        writer.claim(member.size)
        source = archive.extractfile(member)
        if source is None:
            raise writer.refuse(f"member {name[:200]!r} cannot be read")
        with source:
            writer.file(name, cast(BinaryIO, source), member.size)
    else:
        raise writer.refuse(f"member {name[:200]!r} is a device or pipe")

"""Mach-O files: what they say of themselves, and how a code signature gets into them.

Format: mach-o/loader.h and mach-o/fat.h of Apple's XNU. A file is thin (one architecture) or fat (several). A signature
is at the end of each architecture's part, in the segment __LINKEDIT, where LC_CODE_SIGNATURE points.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_FAT: Final = b"\xca\xfe\xba\xbe"
_THIN_64, _THIN_32 = b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe"
_HEADER: Final = struct.Struct("<4s7I")
_COMMAND: Final = struct.Struct("<2I")
_SEGMENT: Final = struct.Struct("<2I16s4Q4I")
_SECTION_64: Final = struct.Struct("<16s16s2Q8I")
_FAT_ARCH: Final = struct.Struct(">5I")
_LC_SEGMENT_64, _LC_CODE_SIGNATURE, _LC_BUILD_VERSION = 0x19, 0x1D, 0x32
_LC_ENCRYPTION: Final = (0x21, 0x2C)
_EXECUTE: Final = 2
_SIMULATORS: Final = (7, 8, 9, 12)
_ARCHITECTURES: Final[Mapping[tuple[int, int], str]] = {
    (0x0100000C, 0): "arm64", (0x0100000C, 2): "arm64e", (0x01000007, 3): "x86_64", (0x01000007, 8): "x86_64h",
    (12, 9): "armv7", (12, 11): "armv7s",
}  # fmt: skip
_SUBTYPE_MASK: Final = 0x00FFFFFF
_MOST_ARCHITECTURES: Final = 16
_SIGNATURE_ALIGNMENT: Final = 16
_PAGE: Final = 0x4000
# Room that a signature may need more than it did at the first try.
_SLACK: Final = 64


class NotMachO(ValueError):
    """The bytes are not a Mach-O file, are damaged, or cannot be signed."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment: its place in the file, and where its load command is."""

    command: int
    file_offset: int
    file_size: int


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a file for one architecture.

    Attributes:
        data: its bytes.
        architecture: for example "arm64".
        is_64: whether it is a 64-bit part.
        is_executable: whether it is a program, not a library.
        simulator: made for a simulator on a Mac.
        encrypted: by FairPlay, the App Store's protection.
        segments: by name; of 64-bit parts only.
        signature: where LC_CODE_SIGNATURE is; None: there is none.
        code_limit: where the signature begins or would begin.
        commands_end: end of the load commands.
        first_section: where the first section begins: load commands may grow up to here.
    """

    data: bytes
    architecture: str
    is_64: bool
    is_executable: bool
    simulator: bool
    encrypted: bool
    segments: Mapping[str, Segment]
    signature: int | None
    code_limit: int
    commands_end: int
    first_section: int


# Given a part whose load commands are final, and where its signature begins: the signature.
MakeSignature = Callable[[Part, bytes], bytes]


def is_macho(start: bytes) -> bool:
    """Whether a file is a Mach-O file.

    Args:
        start: at least its first 8 bytes.

    Returns:
        True if it begins like one. Java's class files begin like fat ones, with an absurd number of parts.
    """
    if start[:4] in (_THIN_64, _THIN_32):
        return True
    return start[:4] == _FAT and 0 < int.from_bytes(start[4:8], "big") <= _MOST_ARCHITECTURES


def parts_of(data: bytes) -> tuple[Part, ...]:
    """The parts of a Mach-O file.

    Args:
        data: the file.

    Returns:
        One for each architecture.

    Raises:
        NotMachO: it is not a Mach-O file, or is damaged.
    """
    try:
        return tuple(_part(data[start : start + size]) for start, size, _ in _places(data))
    except struct.error as error:
        raise NotMachO(f"a damaged Mach-O file: {error}") from error


def signed(data: bytes, make: MakeSignature) -> bytes:
    """Signs every part of a Mach-O file; signatures that are there are replaced.

    Args:
        data: the file.
        make: gives the signature of a part. It is called twice for each, the first time for its size.

    Returns:
        The signed file.

    Raises:
        NotMachO: it is not a Mach-O file, is damaged, or has a part that cannot be signed.
    """
    parts = parts_of(data)
    done = [_signed_part(part, make) for part in parts]
    if data[:4] != _FAT:
        return done[0]
    out = bytearray(data[: 8 + _FAT_ARCH.size * len(parts)])
    for index, ((_, _, align), part) in enumerate(zip(_places(data), done, strict=True)):
        out += bytes(-len(out) % (1 << align))
        position = 8 + index * _FAT_ARCH.size
        kind, subtype, *_ = _FAT_ARCH.unpack_from(out, position)
        _FAT_ARCH.pack_into(out, position, kind, subtype, len(out), len(part), align)
        out += part
    return bytes(out)


def _places(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Start, size and alignment (a power of two) of each part.

    Raises:
        NotMachO: it is not a Mach-O file, or is damaged.
    """
    if not is_macho(data):
        raise NotMachO("not a Mach-O file")
    if data[:4] != _FAT:
        yield 0, len(data), 0
        return
    for index in range(int.from_bytes(data[4:8], "big")):
        _, _, start, size, align = _FAT_ARCH.unpack_from(data, 8 + index * _FAT_ARCH.size)
        if start + size > len(data) or align > 20:
            raise NotMachO("a damaged Mach-O file: an architecture lies outside of it")
        yield start, size, align


def _part(data: bytes) -> Part:
    magic, kind, subtype, file_type, count, size, *_ = _HEADER.unpack_from(data)
    is_64 = magic == _THIN_64
    if magic not in (_THIN_64, _THIN_32):
        raise NotMachO("a damaged Mach-O file: an architecture is not a Mach-O file")
    position = 32 if is_64 else 28
    end = position + size
    segments: dict[str, Segment] = {}
    signature, limit, first = None, -(-len(data) // 16) * 16, len(data)
    simulator = encrypted = False
    for _ in range(count):
        command, length = _COMMAND.unpack_from(data, position)
        if length < _COMMAND.size or position + length > min(end, len(data)):
            raise NotMachO(f"a damaged Mach-O file: a load command of {length} bytes at {position}")
        if command == _LC_SEGMENT_64:
            name, segment, sections = _segment(data, position)
            segments[name] = segment
            first = min(first, *sections) if sections else first
        elif command == _LC_CODE_SIGNATURE:
            signature, limit = position, struct.unpack_from("<I", data, position + 8)[0]
        elif command == _LC_BUILD_VERSION:
            simulator = struct.unpack_from("<I", data, position + 8)[0] in _SIMULATORS
        elif command in _LC_ENCRYPTION:
            encrypted = struct.unpack_from("<I", data, position + 16)[0] != 0
        position += length
    if limit > -(-len(data) // 16) * 16:
        raise NotMachO("a damaged Mach-O file: its signature lies outside of it")
    architecture = _ARCHITECTURES.get((kind, subtype & _SUBTYPE_MASK), f"cpu {kind:#x}")
    return Part(
        data, architecture, is_64, file_type == _EXECUTE, simulator, encrypted, segments, signature, limit, end, first
    )


def _segment(data: bytes, position: int) -> tuple[str, Segment, list[int]]:
    """Name, segment, and where its sections with bytes in the file begin.

    Raises:
        NotMachO: it is damaged.
    """
    _, length, name, _, _, offset, size, _, _, count, _ = _SEGMENT.unpack_from(data, position)
    if _SEGMENT.size + count * _SECTION_64.size > length:
        raise NotMachO("a damaged Mach-O file: a segment has more sections than room")
    fields = (_SECTION_64.unpack_from(data, position + _SEGMENT.size + n * _SECTION_64.size) for n in range(count))
    starts = [field[4] for field in fields if field[4]]
    return name.rstrip(b"\0").decode("ascii", errors="replace"), Segment(position, offset, size), starts


def _signed_part(part: Part, make: MakeSignature) -> bytes:
    if part.encrypted:
        raise NotMachO(f"its {part.architecture} code is encrypted by the App Store (FairPlay)")
    if not part.is_64:
        raise NotMachO(f"its {part.architecture} code is 32-bit, which is not signed here: keep arm64 with lipo -thin")
    # The load commands state the size of the signature and are signed themselves: learn the size first.
    tried = _with_room(part, 0)
    size = len(make(_part(tried), tried[: part.code_limit]))
    room = -(-(size + _SLACK) // _SIGNATURE_ALIGNMENT) * _SIGNATURE_ALIGNMENT
    final = _with_room(part, room)
    code = final[: part.code_limit]
    signature = make(_part(final), code)
    if len(signature) > room:
        raise NotMachO("its signature changed in size")
    return code + signature.ljust(room, b"\0")


def _with_room(part: Part, room: int) -> bytes:
    """The part with load commands for a signature of `room` bytes, and that room, empty, at its end.

    Raises:
        NotMachO: it has no segment for a signature.
    """
    linkedit = part.segments.get("__LINKEDIT")
    if linkedit is None or linkedit.file_offset > part.code_limit:
        raise NotMachO("a Mach-O file without __LINKEDIT, which is not signed here")
    out = bytearray(part.data[: part.code_limit].ljust(part.code_limit, b"\0"))
    _set_signature_command(part, out, room)
    size = part.code_limit + room - linkedit.file_offset
    struct.pack_into("<Q", out, linkedit.command + 32, -(-size // _PAGE) * _PAGE)
    struct.pack_into("<Q", out, linkedit.command + 48, size)
    return bytes(out) + bytes(room)


def _set_signature_command(part: Part, out: bytearray, room: int) -> None:
    position = part.signature
    if position is None:
        position = part.commands_end
        if position + 16 > part.first_section:
            raise NotMachO("no room for a signature in its load commands: sign it once with Xcode")
        count, size = struct.unpack_from("<2I", out, 16)
        struct.pack_into("<2I", out, 16, count + 1, size + 16)
        struct.pack_into("<2I", out, position, _LC_CODE_SIGNATURE, 16)
    struct.pack_into("<2I", out, position + 8, part.code_limit, room)

"""Programs for phones with iOS that tests put into base apps, made by the linker of LLVM 14 (ld64.lld).

    llvm-mc -triple arm64-apple-ios14.0 -filetype=obj m.s -o m.o
    ld64.lld -arch arm64 -platform_version ios 14.0 17.0 -adhoc_codesign -o signed m.o libSystem.tbd -e _main
    ld64.lld -arch arm64 -platform_version ios 14.0 17.0 -no_adhoc_codesign -o unsigned m.o libSystem.tbd -e _main
    ld64.lld -dylib -arch arm64 ... -no_adhoc_codesign -install_name @rpath/libx.dylib -o library m.o libSystem.tbd

`m.s` returns 0 from main and holds one string; `libSystem.tbd` is an empty stub.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Final


def _unpacked(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


SIGNED: Final = _unpacked(
    "eNrt3UtIVFEYwPEz1weGokYQSgTawpKm0VoNVGChqGQqPkBqcXMeOlPjWOMdfCA5VEIStWlhm2AqSgtb9Ng2SEG7MjcVLaRN0YPs"
    "QYtwkZ0zc525PiIxavX/wQf3u/ee73zn3Ls/U3OffuYIYROSJiNPXaQJMSyK1JUolFEjQ9cb91VXHapqahDL2MSfqTrv4nVaqtpa"
    "VhgfWTLAzDPM0Mzbum54+4zUa8vqVSTqZVlyzVo3ffFMuu7uMUL+YOdv6mWZ9bItuZW2wjoT+1VXW3+gqrK2JbUeVadCW7y+hdy2"
    "ZB+3yDfKV7Gvqk652UeBDGck/vmEz7yv+m4Uy3vWVvndlrKb86h9FZa9yJWh/hj5L4mycE+oLOB3lXn6Ax7z+SZzXF1dZWZr687K"
    "K/uanzS4z+/ZZY7TklXWx/tSa8iU+Ta5wuR8Fmoe50Ivlh1Mzi2jub/H8HY59jtkH35X4q0SGfkyyiOJf6TUzJ3m99hs5lGZR9ey"
    "QQAAAAAAAAAAAAAAAAAAAAAAAAAAAACwZpGmyTT9ea8/6DHCwaA3wI4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPDf2XSRIbSudn9Q"
    "FOtdPt3b53WHDa/u87Z7vCGxNV1EIrbUMfcqUdSNvPiB9omT1wvjeX6ipEicrW6zHDFfJPT4HOpIeL3HCLt0lz+oJtBXmNRibiZn"
    "UpaJilStAvO+bMF2VmjpqhnVjk9Gm/nOOtlptEiLHxO/CpHkbhwPdXdan0zVz450DBR+ON37+unGt19mvj87Y9sx4TDsbr/jx6mh"
    "DbeHJu62dT9+3zGZ/mJ6+pjW0JYxP3h/cGD41YNzNSP2sb997snZG4rFvo73Dz2896a0tPjg7OjL7I/d15wjY9knbnwr+dfzj+6O"
    "xq4Hjtpvbq8eHz554dGRvluXL30uuTofy73Yeedwzi/7bAHg"
)
UNSIGNED: Final = _unpacked(
    "eNrt3UFPE0EUwPG3CxgSDeJN4gU9oCaGVk89IZI2SGyUYJsYLxPabuwm7R7abYTbcvA7cPWb8A24ED4DFxNPHDgY3nTHdmhr5KSX"
    "/y95ad92583M69zn9OrHr3sigahQY0njp375Jqv2kaxovNUwZvfNduVzZe+DTAnk72ydi2GdWuVTbcb4bGKAyxdchO6xMWl0kI5f"
    "m6q3mddb9PLQrzt/cyZjmv20Fydf/lBv0dW76+W+cMY+835Vd96/q5R3auP92DrHE/s79nrg9/GJvlG8RV9tnaJbx0ONkuZz+tl2"
    "z+26d2V6zeEt/7dJL9w8tq/i9cKeG3ti9CxJYdDvFTpxo9A67LTc74/cuGq1vFGvvyx/vzw7qjdfN1+5ceGoyoPhuuwe7mj+THc4"
    "ms9j5yn9XovXwdHcGh8P+2nUXd9a13XEjfytNY1ljWKWn5HnLi9lAgAAAAAAAAAAAAAAAAAAAAAAAAAAAAD/WbZ3MmfOv8ZJKx0k"
    "SdShIwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/HOBkQUJu/txIo9Nt22ig6g5SCPTjvZbUU+ezkuWBeNr7m1i2Qf37dfN/Ob1lWG+"
    "nJeU/G71wLtiflXMcA57Jbzpp4OGacSJncDMmFRdAw9/X+o="
)
LIBRARY: Final = _unpacked(
    "eNrt3btKA0EUgOGz8YLiLXYRC4OFIIi3yjJIAopBRCPYDcYNuhAX2WwwKYRt8h76FLa+gZ3PIIgvYCHO7kxwcxGsLOT/4GRnZmfP"
    "XDL9PH+8f06LOKKN69Bluc+IdCQbN8mCjlcdSlVKZxUZFA2vj9nI2Galwlor/O42kK9gHhOpeiadd7R3JKUuGmHg+Zc/5Juw+ab6"
    "6l2ZvmnH69xL8pT3Dw9Kxf1K73rOZHjdsdG1rHtsyi/oPFk7j1wckSnv6Gfezvuo7xNnyHi/tWbHSfY5tRczOja779J/R3BzHl5t"
    "1L1qa91t64dtX7R9y+Vi7vR0q/jw2BlbeLtb2hYzb7Ovszrmk3mOJOdqNjlXOz3jmJVsNBtBPEocJ+1GWLte300PuCJmn7KRORur"
    "tp6LBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD+mej4aUS93Hq+GzZ9v1ZnRwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA+HOOuj73fJkc"
    "lShyxPyIucd9Li4WTLf47nUndfV8Xsx3brvuqkbYrKqq57u1oPv+C2y7Sy8="
)

_BUILD_VERSION: Final = 0x32
_ENCRYPTION_64: Final = 0x2C


def for_simulator(program: bytes = UNSIGNED) -> bytes:
    """The program as one for the simulator of a Mac."""
    changed = bytearray(program)
    struct.pack_into("<I", changed, _command(program, _BUILD_VERSION) + 8, 7)
    return bytes(changed)


def encrypted(program: bytes = UNSIGNED, cryptid: int = 1) -> bytes:
    """The program as the App Store gives it: with a load command that says how it is encrypted."""
    count, size = struct.unpack_from("<2I", program, 16)
    changed = bytearray(program)
    struct.pack_into("<2I", changed, 16, count + 1, size + 24)
    struct.pack_into("<6I", changed, 32 + size, _ENCRYPTION_64, 24, 0x4000, 0x4000, cryptid, 0)
    return bytes(changed)


def without_room(program: bytes = UNSIGNED) -> bytes:
    """The program with its load commands up to the first section: another one does not fit."""
    count, size = struct.unpack_from("<2I", program, 16)
    first = 0x4000
    for position in _commands(program):
        kind, length = struct.unpack_from("<2I", program, position)
        if kind == 0x19:
            sections = struct.unpack_from("<I", program, position + 64)[0]
            starts = [struct.unpack_from("<I", program, position + 72 + 80 * n + 48)[0] for n in range(sections)]
            first = min([first, *(start for start in starts if start)])
        assert length
    changed = bytearray(program)
    filler = first - 32 - size
    struct.pack_into("<2I", changed, 16, count + 1, size + filler)
    struct.pack_into("<2I", changed, 32 + size, 0x2A, filler)
    return bytes(changed)


def fat(*programs: bytes) -> bytes:
    """One file with several programs, as of several architectures; the second one claims to be arm64e."""
    out = bytearray(struct.pack(">2I", 0xCAFEBABE, len(programs)) + bytes(20 * len(programs)))
    for index, program in enumerate(programs):
        out += bytes(-len(out) % 0x4000)
        struct.pack_into(">5I", out, 8 + 20 * index, 0x0100000C, 2 * index, len(out), len(program), 14)
        start = len(out)
        out += program
        struct.pack_into("<I", out, start + 8, 2 * index)
    return bytes(out)


def _command(program: bytes, kind: int) -> int:
    return next(one for one in _commands(program) if struct.unpack_from("<I", program, one)[0] == kind)


def _commands(program: bytes) -> list[int]:
    found, position = [], 32
    for _ in range(struct.unpack_from("<I", program, 16)[0]):
        found.append(position)
        position += struct.unpack_from("<I", program, position + 4)[0]
    return found

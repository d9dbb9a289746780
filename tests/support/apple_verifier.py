"""Checks Apple's code signatures by the descriptions of the format (cs_blobs.h of XNU, TN3126), not by the signer."""

from __future__ import annotations

import hashlib
import plistlib
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CODE_SIGNATURE, SEGMENT_64 = 0x1D, 0x19
DIRECTORY, REQUIREMENTS, ENTITLEMENTS, DER, CMS = 0, 2, 5, 7, 0x10000


class Refused(Exception):
    """A phone would not run the code."""


@dataclass(frozen=True)
class Signature:
    """What a signature says."""

    identifier: str
    team: str
    flags: int
    exec_flags: int
    special: Mapping[int, bytes]
    blobs: Mapping[int, bytes]


def parts_of(data: bytes) -> list[bytes]:
    """The parts of a program, one for each architecture."""
    if data[:4] != b"\xca\xfe\xba\xbe":
        return [data]
    found = []
    for index in range(struct.unpack_from(">I", data, 4)[0]):
        _, _, start, size, align = struct.unpack_from(">5I", data, 8 + 20 * index)
        require(start % (1 << align) == 0, "a part is not aligned")
        found.append(data[start : start + size])
    return found


def require(holds: bool, what: str) -> None:
    """Raises if a condition does not hold."""
    if not holds:
        raise Refused(what)


def check_part(data: bytes) -> Signature:
    """Checks the signature of one part: its place, and the hash of every page.

    Raises:
        Refused: it is not right.
    """
    require(data[:4] == b"\xcf\xfa\xed\xfe", "not a 64-bit program")
    count, size = struct.unpack_from("<2I", data, 16)
    position, place, linkedit = 32, None, None
    for _ in range(count):
        kind, length = struct.unpack_from("<2I", data, position)
        if kind == CODE_SIGNATURE:
            place = struct.unpack_from("<2I", data, position + 8)
        if kind == SEGMENT_64 and data[position + 8 : position + 24].rstrip(b"\0") == b"__LINKEDIT":
            linkedit = struct.unpack_from("<4Q", data, position + 24)
        position += length
    require(position == 32 + size, "the load commands are damaged")
    require(place is not None and linkedit is not None, "not signed")
    assert place is not None and linkedit is not None
    start, room = place
    _, vm_size, offset, file_size = linkedit
    require(start + room == len(data) and offset + file_size == len(data), "the signature is not the end of the file")
    require(vm_size >= file_size, "the last segment is smaller in memory")
    return _check_blobs(data[:start], data[start:])


def _check_blobs(code: bytes, signature: bytes) -> Signature:
    magic, length, count = struct.unpack_from(">3I", signature)
    require(magic == 0xFADE0CC0 and length <= len(signature), "no signature")
    require(not signature[length:].strip(b"\0"), "bytes follow the signature")
    blobs = {}
    for index in range(count):
        slot, at = struct.unpack_from(">2I", signature, 12 + 8 * index)
        size = struct.unpack_from(">I", signature, at + 4)[0]
        blobs[slot] = signature[at : at + size]
    directory = blobs[DIRECTORY]
    (magic, size, version, flags, hashes, identifier, special, pages, limit, hash_size, hash_type, _, page_bits, _, _,
     team, _, _, _, _, exec_flags) = struct.unpack_from(">9I4B2I2I4Q", directory)  # fmt: skip
    require((magic, size) == (0xFADE0C02, len(directory)), "no code directory")
    require((hash_size, hash_type, page_bits) == (32, 2, 12), "not SHA-256 of pages of 4 KiB")
    require(version >= 0x20400 and limit == len(code) and pages == -(-limit // 4096), "not all code is covered")
    for page in range(pages):
        stated = directory[hashes + 32 * page : hashes + 32 * page + 32]
        require(hashlib.sha256(code[4096 * page : 4096 * (page + 1)]).digest() == stated, f"page {page} was changed")
    held = {slot: directory[hashes - 32 * slot : hashes - 32 * slot + 32] for slot in range(1, special + 1)}
    for slot in (REQUIREMENTS, ENTITLEMENTS, DER):
        if slot in blobs:
            require(held[slot] == hashlib.sha256(blobs[slot]).digest(), f"slot {slot} was changed")
        else:
            require(not held.get(slot, b"").strip(b"\0"), f"slot {slot} is missing")
    return Signature(
        _text(directory, identifier), _text(directory, team) if team else "", flags, exec_flags, held, blobs
    )


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()


def check_bundle(files: Mapping[str, bytes], executable: str) -> Signature:
    """Checks a bundle: its program, and that CodeResources lists every other file as it is.

    Raises:
        Refused: it is not right.
    """
    (signature, *_) = (check_part(part) for part in parts_of(files[executable]))
    resources = files["_CodeSignature/CodeResources"]
    for slot, content in ((1, files["Info.plist"]), (3, resources)):
        require(signature.special[slot] == hashlib.sha256(content).digest(), f"slot {slot} is not that of the bundle")
    document = plistlib.loads(resources)
    listed = {path: _sha256(entry) for path, entry in document["files2"].items()}
    others = {"Info.plist", "PkgInfo", "_CodeSignature/CodeResources", executable}
    omitted = (".DS_Store", ".lproj/locversion.plist")
    sealed = {path: data for path, data in files.items() if path not in others and not path.endswith(omitted)}
    require(listed.keys() == sealed.keys(), f"listed otherwise: {listed.keys() ^ sealed.keys()}")
    for path, data in sealed.items():
        require(listed[path] == hashlib.sha256(data).digest(), f"{path} was changed")
    for path, entry in document["files"].items():
        digest = entry["hash"] if isinstance(entry, dict) else entry
        require(digest == hashlib.sha1(files[path]).digest(), f"{path} was changed")
    return signature


def _sha256(entry: Any) -> bytes:
    digest = entry["hash2"]
    assert isinstance(digest, bytes)
    return digest


def cms_accepts(signature: Signature, trusted: bytes, folder: Path) -> bool:
    """Whether OpenSSL accepts the CMS signature over the code directory, with a trusted certificate (PEM)."""
    content = {"cms": signature.blobs[CMS][8:], "directory": signature.blobs[DIRECTORY], "trusted": trusted}
    for name, data in content.items():
        (folder / name).write_bytes(data)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", "cms", "-content", "directory",
               "-CAfile", "trusted", "-purpose", "any", "-out", "verified"]  # fmt: skip
    return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0

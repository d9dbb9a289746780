"""Apple's code signature of one Mach-O part: a CodeDirectory of page hashes, entitlements, and a CMS signature.

Formats: osfmk/kern/cs_blobs.h of Apple's XNU, and Apple's technical note TN3126. Blobs are big-endian. Only SHA-256 is
written, with DER entitlements in addition to the XML ones, as iOS 15 and later ask for.
"""

from __future__ import annotations

import datetime
import hashlib
import plistlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.app_builder.adapters.ios.macho import Part
from windtunnel.app_builder.adapters.keys import der
from windtunnel.app_builder.adapters.keys.cms import SIGNING_TIME, Signer, attribute, signed_data

_CODE_DIRECTORY, _SUPERBLOB, _REQUIREMENTS = 0xFADE0C02, 0xFADE0CC0, 0xFADE0C01
_ENTITLEMENTS, _DER_ENTITLEMENTS, _WRAPPER = 0xFADE7171, 0xFADE7172, 0xFADE0B01
_SLOT_INFO, _SLOT_REQUIREMENTS, _SLOT_RESOURCES = 1, 2, 3
_SLOT_ENTITLEMENTS, _SLOT_DER, _SLOT_CMS = 5, 7, 0x10000
_VERSION: Final = 0x20400
_HEADER: Final = struct.Struct(">9I4B2I2I4Q")
_PAGE_BITS: Final = 12
_SHA256: Final = 2
_MAIN_BINARY, _ALLOW_UNSIGNED = 0x1, 0x10
_CD_HASHES, _CD_HASHES_2 = "1.2.840.113635.100.9.1", "1.2.840.113635.100.9.2"
_OID_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_APPLICATION_16, _CONTEXT_16 = 0x70, 0xB0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who signs: key and certificates, the team, and the moment of signing (in UTC)."""

    signer: Signer
    team: str
    time: datetime.datetime


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a signature binds in addition to the code.

    Attributes:
        identifier: of the bundle; of a library its file name.
        info: bytes of Info.plist; None: there is none.
        resources: bytes of CodeResources; None: there is none.
        entitlements: of a program; None: it has none.
    """

    identifier: str
    info: bytes | None = None
    resources: bytes | None = None
    entitlements: Mapping[str, Any] | None = None


def signature(part: Part, code: bytes, sealed: Sealed, identity: Identity) -> bytes:
    """The signature of a part.

    Args:
        part: with its final load commands.
        code: its bytes up to the signature.
        sealed: what is bound in addition to the code.
        identity: signs.

    Returns:
        The embedded signature, a SuperBlob.
    """
    entitlements = sealed.entitlements if part.is_executable else None
    blobs = {_SLOT_REQUIREMENTS: _blob(_REQUIREMENTS, struct.pack(">I", 0))}
    if entitlements is not None:
        xml = plistlib.dumps(dict(entitlements), sort_keys=True)
        blobs[_SLOT_ENTITLEMENTS] = _blob(_ENTITLEMENTS, xml)
        blobs[_SLOT_DER] = _blob(_DER_ENTITLEMENTS, der_entitlements(entitlements))
    directory = _code_directory(part, code, sealed, identity.team, _special_hashes(sealed, blobs))
    blobs = {0: directory, **blobs, _SLOT_CMS: _blob(_WRAPPER, _cms(directory, identity))}
    return _superblob(blobs)


def der_entitlements(entitlements: Mapping[str, Any]) -> bytes:
    """Entitlements in DER.

    Args:
        entitlements: text, whole numbers, booleans, lists and dictionaries of these.

    Returns:
        Version 1 of Apple's encoding, keys sorted.

    Raises:
        ValueError: a value is of another type.
    """
    return der.tlv(_APPLICATION_16, der.integer(1) + _der_dictionary(entitlements))


def _der_dictionary(value: Mapping[str, Any]) -> bytes:
    pairs = sorted((key.encode(), item) for key, item in value.items())
    return der.tlv(_CONTEXT_16, b"".join(der.sequence(der.tlv(0x0C, key), _der_value(item)) for key, item in pairs))


def _der_value(value: Any) -> bytes:
    if isinstance(value, bool):
        return der.boolean(value)
    if isinstance(value, int):
        return der.integer(value)
    if isinstance(value, str):
        return der.utf8(value)
    if isinstance(value, Mapping):
        return _der_dictionary(value)
    if isinstance(value, list):
        return der.sequence(*map(_der_value, value))
    raise ValueError(f"an entitlement of type {type(value).__name__}")


def _special_hashes(sealed: Sealed, blobs: Mapping[int, bytes]) -> Sequence[bytes]:
    """Hashes of what is not code, from the highest slot down to 1; slots that are not used are zeros."""
    held: dict[int, bytes | None] = {**blobs, _SLOT_INFO: sealed.info, _SLOT_RESOURCES: sealed.resources}
    used = {slot: content for slot, content in held.items() if content is not None}
    return [hashlib.sha256(used[slot]).digest() if slot in used else bytes(32) for slot in range(max(used), 0, -1)]


def _code_directory(part: Part, code: bytes, sealed: Sealed, team: str, special: Sequence[bytes]) -> bytes:
    view, page = memoryview(code), 1 << _PAGE_BITS
    pages = [hashlib.sha256(view[start : start + page]).digest() for start in range(0, len(code), page)]
    name, group = sealed.identifier.encode() + b"\0", team.encode() + b"\0" if team else b""
    texts = _HEADER.size
    hashes = texts + len(name) + len(group) + 32 * len(special)
    text = part.segments.get("__TEXT")
    base, limit = (text.file_offset, text.file_size) if text is not None else (0, 0)
    header = _HEADER.pack(
        _CODE_DIRECTORY, hashes + 32 * len(pages), _VERSION, 0, hashes, texts, len(special), len(pages), len(code),
        32, _SHA256, 0, _PAGE_BITS, 0, 0, texts + len(name) if team else 0, 0, 0, base, limit, _flags(part, sealed),
    )  # fmt: skip
    return header + name + group + b"".join(special) + b"".join(pages)


def _flags(part: Part, sealed: Sealed) -> int:
    """Flags of the executable segment. Code without signature is allowed only where a debugger may attach."""
    if not part.is_executable:
        return 0
    debugged = (sealed.entitlements or {}).get("get-task-allow") is True
    return _MAIN_BINARY | (_ALLOW_UNSIGNED if debugged else 0)


def _cms(directory: bytes, identity: Identity) -> bytes:
    digest = hashlib.sha256(directory).digest()
    # Hashes of code directories are cut to 20 bytes everywhere but in the second attribute.
    listed = plistlib.dumps({"cdhashes": [digest[:20]]})
    attributes = (
        attribute(SIGNING_TIME, der.utc_time(identity.time)),
        attribute(_CD_HASHES, der.octets(listed)),
        attribute(_CD_HASHES_2, der.sequence(der.oid(_OID_SHA256), der.octets(digest))),
    )
    return signed_data(directory, identity.signer, "sha256", attributes)


def _blob(magic: int, content: bytes) -> bytes:
    return struct.pack(">2I", magic, len(content) + 8) + content


def _superblob(blobs: Mapping[int, bytes]) -> bytes:
    index, body = b"", b""
    start = 12 + 8 * len(blobs)
    for slot, blob in blobs.items():
        index += struct.pack(">2I", slot, start + len(body))
        body += blob
    return struct.pack(">3I", _SUPERBLOB, start + len(body), len(blobs)) + index + body

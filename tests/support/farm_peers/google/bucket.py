"""Google Cloud Storage's JSON API, as far as google-cloud-storage and the farms use it."""

from __future__ import annotations

import base64
import email.parser
import hashlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import google_crc32c

from support.farm_peers.google.discovery import Call
from support.farm_peers.google.google_errors import GoogleError, not_found
from support.farm_peers.google.virtual_clock import VirtualClock

# The service hands out pages of at most this many.
_PAGE = 1000


@dataclass(frozen=True)
class Stored:
    """An object."""

    data: bytes
    generation: int
    content_type: str
    created: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass
class _Session:
    """A resumable upload."""

    bucket: str
    name: str
    content_type: str
    metadata: Mapping[str, str]
    preconditions: Mapping[str, Any]
    data: bytearray = field(default_factory=bytearray)


class Buckets:
    """Buckets in memory. A bucket that is written to must exist.

    Args:
        names: of the buckets.
        clock: for the times.
    """

    def __init__(self, names: tuple[str, ...], clock: VirtualClock) -> None:
        self.objects: dict[str, dict[str, Stored]] = {name: {} for name in names}
        # (bucket, name) of every upload that was finished.
        self.uploads: list[tuple[str, str]] = []
        self.page_size = _PAGE
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._generation = 1000
        self._lock = threading.RLock()

    def put(self, bucket: str, name: str, data: bytes, content_type: str = "application/octet-stream") -> Stored:
        """Stores an object."""
        return self._store(bucket, name, data, content_type, {}, {})

    def read(self, uri: str) -> bytes | None:
        """The object of a gs:// URI; None: there is none."""
        match = re.fullmatch(r"gs://([^/]+)/(.+)", uri)
        found = self.objects.get(match[1], {}).get(match[2]) if match else None
        return None if found is None else found.data

    def answer(self, call: Call) -> Any:
        """The JSON of a call that moves no data."""
        verb = call.method.id.removeprefix("storage.")
        bucket = str(call.parameters.get("bucket", ""))
        if verb == "buckets.get":
            return {"kind": "storage#bucket", "id": bucket, "name": (self._bucket(bucket) and bucket) or bucket}
        if verb == "objects.list":
            return self._list(bucket, call.parameters)
        if verb == "objects.get":
            return self._about(bucket, str(call.parameters["object"]))
        if verb == "objects.delete":
            self.found(bucket, str(call.parameters["object"]))
            del self.objects[bucket][str(call.parameters["object"])]
            return None
        raise GoogleError("UNIMPLEMENTED", f"the peer does not offer {call.method.id}")

    def upload(self, call: Call, kind: str, headers: Mapping[str, str], body: bytes) -> Any:
        """storage.objects.insert by uploadType media or multipart."""
        bucket = str(call.parameters["bucket"])
        if kind == "media":
            about, data = {"name": call.parameters.get("name", "")}, body
        else:
            about, data = _multipart(headers.get("content-type", ""), body)
        name = str(about.get("name") or call.parameters.get("name", ""))
        if not name:
            raise GoogleError("INVALID_ARGUMENT", "Required parameter: name")
        self._check_hashes(about, data)
        self._store(bucket, name, data, str(about.get("contentType", "application/octet-stream")),
                    about.get("metadata", {}), call.parameters)  # fmt: skip
        return self._about(bucket, name)

    def begin(self, call: Call, headers: Mapping[str, str], body: bytes) -> str:
        """Starts a resumable upload. Returns its id."""
        about = json.loads(body or b"{}")
        bucket = str(call.parameters["bucket"])
        self._bucket(bucket)
        key = f"upload-{len(self._sessions) + 1}"
        self._sessions[key] = _Session(
            bucket, str(about.get("name") or call.parameters["name"]),
            headers.get("x-upload-content-type", "application/octet-stream"), about.get("metadata", {}),
            call.parameters,
        )  # fmt: skip
        return key

    def proceed(self, key: str, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], Any]:
        """Takes a piece of a resumable upload. Returns HTTP code, headers, JSON."""
        session = self._sessions.get(key)
        if session is None:
            raise not_found(f"upload {key}")
        match = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", headers.get("content-range", ""))
        if match and match[1] is not None:
            if int(match[1]) != len(session.data):
                raise GoogleError("INVALID_ARGUMENT", f"expected byte {len(session.data)}")
            session.data += body
        elif match is None:
            session.data += body
        if match and (match[3] == "*" or int(match[3]) > len(session.data)):
            range_header = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
            return 308, range_header, None
        self._store(session.bucket, session.name, bytes(session.data), session.content_type, session.metadata,
                    session.preconditions)  # fmt: skip
        return 200, {}, self._about(session.bucket, session.name)

    def found(self, bucket: str, name: str) -> Stored:
        """An object. Raises GoogleError: there is none."""
        stored = self._bucket(bucket).get(name)
        if stored is None:
            raise GoogleError("NOT_FOUND", f"No such object: {bucket}/{name}")
        return stored

    def _bucket(self, name: str) -> dict[str, Stored]:
        if name not in self.objects:
            raise GoogleError("NOT_FOUND", "The specified bucket does not exist.")
        return self.objects[name]

    def _store(
        self, bucket: str, name: str, data: bytes, content_type: str, metadata: Mapping[str, str],
        preconditions: Mapping[str, Any],
    ) -> Stored:  # fmt: skip
        with self._lock:
            objects = self._bucket(bucket)
            wanted = preconditions.get("ifGenerationMatch")
            if wanted is not None and int(wanted) != (objects[name].generation if name in objects else 0):
                raise GoogleError(
                    "FAILED_PRECONDITION", "At least one of the pre-conditions you specified did not hold.", code=412
                )
            self._generation += 1
            objects[name] = Stored(data, self._generation, content_type, self._clock.text(), metadata)
            self.uploads.append((bucket, name))
            return objects[name]

    def _about(self, bucket: str, name: str) -> dict[str, Any]:
        stored = self.found(bucket, name)
        return {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{stored.generation}",
            "name": name,
            "bucket": bucket,
            "generation": str(stored.generation),
            "metageneration": "1",
            "contentType": stored.content_type,
            "timeCreated": stored.created,
            "updated": stored.created,
            "storageClass": "STANDARD",
            "size": str(len(stored.data)),
            "md5Hash": base64.b64encode(hashlib.md5(stored.data, usedforsecurity=False).digest()).decode(),
            "crc32c": base64.b64encode(_crc32c(stored.data)).decode(),
            **({"metadata": dict(stored.metadata)} if stored.metadata else {}),
        }

    def _list(self, bucket: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        prefix, delimiter = str(parameters.get("prefix", "")), str(parameters.get("delimiter", ""))
        names = sorted(name for name in self._bucket(bucket) if name.startswith(prefix))
        start = str(parameters.get("startOffset", ""))
        names = [name for name in names if name >= start]
        if delimiter:
            folders = {
                name[: name.index(delimiter, len(prefix)) + 1] for name in names if delimiter in name[len(prefix) :]
            }
            names = [name for name in names if delimiter not in name[len(prefix) :]]
        else:
            folders = set()
        after = str(parameters.get("pageToken", ""))
        names = [name for name in names if name > after]
        size = min(int(parameters.get("maxResults", self.page_size)), self.page_size)
        answer: dict[str, Any] = {
            "kind": "storage#objects",
            "items": [self._about(bucket, name) for name in names[:size]],
        }
        if folders and not after:
            answer["prefixes"] = sorted(folders)
        if len(names) > size:
            answer["nextPageToken"] = names[size - 1]
        return answer

    def _check_hashes(self, about: Mapping[str, Any], data: bytes) -> None:
        wanted = about.get("md5Hash")
        if wanted and base64.b64decode(wanted) != hashlib.md5(data, usedforsecurity=False).digest():
            raise GoogleError("INVALID_ARGUMENT", "Provided MD5 hash does not match calculated MD5 hash.")
        wanted = about.get("crc32c")
        if wanted and base64.b64decode(wanted) != _crc32c(data):
            raise GoogleError("INVALID_ARGUMENT", "Provided CRC32C does not match calculated CRC32C.")


def _crc32c(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "big")


def _multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """The two parts of a multipart/related upload: JSON and data."""
    match = re.search(r'boundary="?([^";]+)"?', content_type)
    if match is None:
        raise GoogleError("INVALID_ARGUMENT", "an upload of type multipart needs a boundary")
    boundary = b"--" + match[1].encode()
    first = body.index(boundary) + len(boundary)
    second = body.index(b"\r\n" + boundary, first)
    last = body.rindex(b"\r\n" + boundary + b"--")
    _, _, about = body[first:second].partition(b"\r\n\r\n")
    head, _, data = body[second + len(boundary) + 4 : last].partition(b"\r\n\r\n")
    kind = email.parser.BytesParser().parsebytes(head.strip() + b"\r\n\r\n").get_content_type()
    found: dict[str, Any] = json.loads(about)
    found.setdefault("contentType", kind)
    return found, data

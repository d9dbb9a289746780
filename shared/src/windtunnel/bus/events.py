"""CloudEvents 1.0 in the NATS binding: https://github.com/cloudevents/spec, nats-protocol-binding.md.

Binary mode: attributes in `ce-` headers, percent-encoded, data as it is, its media type in `ce-datacontenttype`.
Structured mode: the whole event as JSON, with `content-type: application/cloudevents+json` or without any header.
Both are read; binary mode with protobuf data is written.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote, unquote

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from windtunnel.bus import subjects
from windtunnel.errors import InvalidInput

PROTOBUF: Final = "application/protobuf"
JSON: Final = "application/json"
STRUCTURED: Final = "application/cloudevents+json"

_PROTOBUF_TYPES = frozenset(
    (PROTOBUF, "application/x-protobuf", "application/vnd.google.protobuf", "application/octet-stream")
)
_REQUIRED = ("specversion", "id", "source", "type")
_ATTRIBUTE_NAME = re.compile(r"[a-z0-9]+\Z")
_ORDINARY_NAMES = frozenset((*_REQUIRED, "subject", "time", "datacontenttype", "dataschema", "traceparent"))
# Controls, surrogates and noncharacters: CloudEvents allows none of them, and stores choke on them.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_HEADER_SAFE = "".join(sorted(set(string.ascii_letters + string.digits + string.punctuation) - set('"%')))
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-5][0-9]:[0-6][0-9](\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-5][0-9])\Z"
)


class Malformed(InvalidInput):
    """A message on the bus is not a CloudEvent 1.0 of the type that its subject asks for."""

    code = "malformed_event"


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent. `attributes` holds every context attribute, extensions included, by its name."""

    subject: str
    attributes: Mapping[str, str]
    content_type: str
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    _message: Message | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def id(self) -> str:
        """The attribute `id`."""
        return self.attributes["id"]

    @property
    def source(self) -> str:
        """The attribute `source`."""
        return self.attributes["source"]

    @property
    def traceparent(self) -> str:
        """W3C trace context; the transport's header wins over the CloudEvents extension. Empty: none."""
        return self.headers.get("traceparent") or self.attributes.get("traceparent", "")

    def json(self) -> Any:
        """The data as JSON.

        Raises:
            Malformed: it is something else.
        """
        try:
            return json.loads(self.data, parse_constant=_refuse_constant)
        except (ValueError, UnicodeDecodeError, RecursionError) as error:
            raise Malformed(f"data is not JSON: {error}") from error

    @property
    def is_json(self) -> bool:
        """Whether the media type is JSON."""
        media_type = _media_type(self.content_type)
        return media_type == JSON or media_type.endswith("+json")

    def message(self) -> Message:
        """The data as the protobuf message that belongs to the subject. Raises Malformed.

        Read once: every caller gets the same message, and must not change it.
        """
        if self._message is None:
            object.__setattr__(self, "_message", self._read())
        assert self._message is not None
        return self._message

    def _read(self) -> Message:
        kind = subjects.MESSAGES[self.subject]
        if self.is_json:
            return self._from_json(kind)
        if _media_type(self.content_type) not in _PROTOBUF_TYPES:
            raise Malformed(f"data is {self.content_type!r}", hint=f"send {PROTOBUF} or {JSON}")
        try:
            return kind.FromString(self.data)
        except DecodeError as error:
            raise Malformed(f"data is not a {kind.DESCRIPTOR.name} message: {error}") from error

    def _from_json(self, kind: type[Message]) -> Message:
        value = self.json()
        if not isinstance(value, dict):
            raise Malformed(f"data is a JSON {type(value).__name__}, a {kind.DESCRIPTOR.name} is an object")
        try:
            return json_format.ParseDict(value, kind(), ignore_unknown_fields=True)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            raise Malformed(f"data is not a {kind.DESCRIPTOR.name}: {error}") from error


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def event_id(event_type: str, *parts: str) -> str:
    """A deterministic event id: doing a job twice publishes its events once.

    Args:
        event_type: the subject.
        *parts: the run, and what distinguishes the event from others of the run.

    Returns:
        32 hexadecimal digits; the same for the same type and parts.
    """
    return hashlib.sha256("\0".join((event_type, *parts)).encode()).hexdigest()[:32]


def encode(
    message: Message, *, id: str, source: str, run_id: str, traceparent: str = ""
) -> tuple[str, dict[str, str], bytes]:
    """Encodes an event in binary mode.

    Args:
        message: its data.
        id: it also becomes the Nats-Msg-Id.
        source: the CloudEvents source, such as /windtunnel/converter.
        run_id: the CloudEvents subject.
        traceparent: W3C trace context; empty: none.

    Returns:
        Subject, headers and data.
    """
    subject = subjects.subject_of(message)
    headers = {
        "ce-specversion": "1.0",
        "ce-id": percent_encoded(id),
        "ce-source": percent_encoded(source),
        "ce-type": subjects.type_of(subject),
        "ce-datacontenttype": PROTOBUF,
        # Not of the NATS binding, but what readers who know the HTTP binding look for.
        "content-type": PROTOBUF,
        "Nats-Msg-Id": percent_encoded(id),
    }
    if run_id:
        headers["ce-subject"] = percent_encoded(run_id)
    if traceparent:
        headers["traceparent"] = traceparent
    return subject, headers, message.SerializeToString(deterministic=True)


def percent_encoded(text: str) -> str:
    """Text as the value of a header.

    Args:
        text: any text.

    Returns:
        Printable ASCII without space, quote and percent; the rest is percent-encoded.
    """
    return quote(text, safe=_HEADER_SAFE, errors="replace")


def decode(subject: str, headers: Mapping[str, str] | None, data: bytes) -> Event:
    """Reads a message of the bus as a CloudEvent.

    Args:
        subject: of the message.
        headers: of the message, in any case; None: none.
        data: of the message.

    Returns:
        The event.

    Raises:
        Malformed: an attribute is missing or wrong; the message names it.
    """
    lower = {name.lower(): value for name, value in headers.items()} if headers else {}
    structured = "ce-specversion" not in lower or lower.get("content-type", "").lower().startswith(
        "application/cloudevents"
    )
    event = (_structured if structured else _binary)(subject, lower, data)
    _check(event)
    return event


def _binary(subject: str, headers: dict[str, str], data: bytes) -> Event:
    attributes = {
        name[3:]: _unescaped(name, value) if "%" in value or '"' in value else value
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    content_type = attributes.get("datacontenttype") or headers.get("content-type") or _guess(data)
    return Event(subject, attributes, content_type, data, headers)


def _unescaped(name: str, value: str) -> str:
    """The text in a header: quotes off (RFC 7230, 3.2.6), then one round of percent-decoding.

    Raises:
        Malformed: the bytes are not UTF-8.
    """
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed(f"header {name!r} is not UTF-8 after percent-decoding: {value!r}") from error


def _guess(data: bytes) -> str:
    # Looking at the first byte is not enough: a protobuf message may begin with a line feed and a brace.
    if data.lstrip()[:1] != b"{":
        return PROTOBUF
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return PROTOBUF
    return JSON


def _structured(subject: str, headers: dict[str, str], data: bytes) -> Event:
    content_type = _media_type(headers.get("content-type", STRUCTURED))
    if content_type.startswith("application/cloudevents-batch"):
        raise Malformed("a batch of events came where one is taken", hint="publish each event as its own message")
    if content_type not in (STRUCTURED, JSON):
        raise Malformed(
            f"content-type is {content_type!r} and there is no ce-specversion header",
            hint=f"send {STRUCTURED}, or the attributes as ce- headers",
        )
    try:
        envelope = json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the message is neither a binary CloudEvent nor JSON: {error}") from error
    if isinstance(envelope, list):
        raise Malformed("a batch of events came where one is taken", hint="publish each event as its own message")
    if not isinstance(envelope, dict):
        raise Malformed(f"a CloudEvent is a JSON object, this is a {type(envelope).__name__}")
    return _from_envelope(subject, headers, envelope)


def _from_envelope(subject: str, headers: dict[str, str], envelope: dict[str, Any]) -> Event:
    body = envelope.pop("data", None)
    encoded = envelope.pop("data_base64", None)
    if body is not None and encoded is not None:
        raise Malformed("the event has data and data_base64", hint="give one of them")
    attributes = {name: _attribute(name, value) for name, value in envelope.items() if value is not None}
    if encoded is not None:
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise Malformed(f"data_base64 is not base64: {error}") from error
        return Event(subject, attributes, attributes.get("datacontenttype", PROTOBUF), data, headers)
    try:
        data = json.dumps(body).encode()
    except RecursionError as error:
        raise Malformed("data is nested too deep") from error
    return Event(subject, attributes, attributes.get("datacontenttype", JSON), data, headers)


def _attribute(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise Malformed(
        f"attribute {name!r} is a {type(value).__name__}", hint="attributes are strings, integers or booleans"
    )


def _check(event: Event) -> None:
    attributes = event.attributes
    for name, value in attributes.items():
        if name not in _ORDINARY_NAMES and not _ATTRIBUTE_NAME.match(name):
            raise Malformed(f"attribute name {name!r} is not allowed", hint="lower-case letters and digits only")
        # The quick test first: nearly every value is printable.
        if not value.isprintable() and _FORBIDDEN.search(value):
            raise Malformed(f"attribute {name!r} has characters that CloudEvents forbids: {value!r}")
    for name in _REQUIRED:
        if not attributes.get(name):
            raise Malformed(f"attribute {name!r} is missing or empty")
    if attributes["specversion"] != "1.0":
        raise Malformed(f"specversion is {attributes['specversion']!r}", hint="Windtunnel takes 1.0")
    if event.subject not in subjects.MESSAGES:
        raise Malformed(f"no event travels on subject {event.subject!r}")
    wanted = subjects.type_of(event.subject)
    if attributes["type"] != wanted:
        raise Malformed(
            f"type is {attributes['type']!r} on subject {event.subject!r}",
            hint=f"it must be {wanted!r}",
        )
    if "time" in attributes:
        _check_time(attributes["time"])


def _check_time(time: str) -> None:
    try:
        if not _RFC3339.match(time):
            raise ValueError(time)
        # Python knows no leap second.
        datetime.fromisoformat(time.upper().replace(":60", ":59"))
    except ValueError:
        raise Malformed(f"time is {time!r}", hint="RFC 3339, for example 2026-11-20T10:00:00Z") from None

"""CloudEvents 1.0 in the NATS binding: what is read, what is refused, what is written."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windtunnel.bus import Event, Malformed, decode, encode, event_id, subjects
from windtunnel.v1 import events_pb2, plan_pb2, types_pb2

SUBJECT = subjects.MODEL_TRAINED
TYPE = "windtunnel.model.trained.v1"
MODEL: dict[str, Any] = {"name": "ssd", "version": "2026-11-20.3", "uri": "s3://models/ssd.zip"}
ENVELOPE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "7f0c",
    "source": "/training/ssd",
    "type": TYPE,
    "datacontenttype": "application/json",
    "data": {"model": MODEL},
}
HEADERS = {"ce-specversion": "1.0", "ce-id": "7f0c", "ce-source": "/training/ssd", "ce-type": TYPE}
MESSAGE = events_pb2.ModelTrained(model=types_pb2.Model(**MODEL))
STRUCTURED = {"content-type": "application/cloudevents+json"}


def structured(headers: dict[str, str] | None = None, /, **changes: Any) -> Event:
    """The example of FORMATS.md with changes; a field that becomes ... is left out."""
    envelope = {name: value for name, value in (ENVELOPE | changes).items() if value is not ...}
    return decode(SUBJECT, headers, json.dumps(envelope).encode())


def binary(data: bytes = b"{}", /, **changes: str | None) -> Event:
    headers = HEADERS | {f"ce-{name}": value for name, value in changes.items() if value is not None}
    for name, value in changes.items():
        if value is None:
            headers.pop(f"ce-{name}", None)
    return decode(SUBJECT, headers, data)


class TestStructured:
    def test_the_example_of_the_documentation(self) -> None:
        event = structured()
        assert (event.id, event.source, event.subject) == ("7f0c", "/training/ssd", SUBJECT)
        assert event.message() == MESSAGE

    @pytest.mark.parametrize(
        "headers",
        [
            None,
            {},
            {"Content-Type": "application/cloudevents+json"},
            {"content-type": "application/cloudevents+json; charset=UTF-8"},
            {"CONTENT-TYPE": "APPLICATION/CloudEvents+JSON"},
            {"content-type": "application/json"},
            {"X-Trace": "1"},
        ],
    )
    def test_headers_that_mean_structured(self, headers: dict[str, str] | None) -> None:
        assert structured(headers).message() == MESSAGE

    def test_the_content_type_decides_although_attributes_are_repeated_as_headers(self) -> None:
        event = structured(HEADERS | {"ce-id": "other"} | STRUCTURED)
        assert event.id == "7f0c"
        assert event.message() == MESSAGE

    def test_the_order_of_attributes_means_nothing(self) -> None:
        envelope = dict(reversed(ENVELOPE.items()))
        assert decode(SUBJECT, None, json.dumps(envelope).encode()).attributes == structured().attributes

    def test_json_data_without_datacontenttype(self) -> None:
        assert structured(datacontenttype=...).message() == MESSAGE

    def test_null_attributes_are_absent(self) -> None:
        assert structured(subject=None).attributes == structured().attributes

    def test_extensions_keep_their_values_as_text(self) -> None:
        attributes = structured(team="edge", priority=3, dry=True, wet=False).attributes
        assert (attributes["team"], attributes["priority"]) == ("edge", "3")
        assert (attributes["dry"], attributes["wet"]) == ("true", "false")

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings_of_json(self, encoding: str) -> None:
        assert decode(SUBJECT, None, json.dumps(ENVELOPE).encode(encoding)).message() == MESSAGE

    def test_protobuf_in_base64(self) -> None:
        encoded = base64.b64encode(MESSAGE.SerializeToString()).decode()
        event = structured(data=..., data_base64=encoded, datacontenttype="application/protobuf")
        assert event.message() == MESSAGE
        assert structured(data=..., data_base64=encoded, datacontenttype=...).message() == MESSAGE

    def test_json_in_base64(self) -> None:
        encoded = base64.b64encode(json.dumps({"model": MODEL}).encode()).decode()
        assert structured(data=..., data_base64=encoded).message() == MESSAGE

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"id": ...}, "'id' is missing"),
            ({"id": ""}, "'id' is missing or empty"),
            ({"source": ...}, "'source' is missing"),
            ({"source": ""}, "'source' is missing"),
            ({"type": ...}, "'type' is missing"),
            ({"specversion": ...}, "'specversion' is missing"),
            ({"specversion": "0.3"}, "specversion is '0.3'"),
            ({"specversion": 1.0}, "'specversion' is a float"),
            ({"type": "windtunnel.model.trained.v2"}, "it must be 'windtunnel.model.trained.v1'"),
            ({"type": "windtunnel.model.converted.v1"}, "it must be 'windtunnel.model.trained.v1'"),
            ({"time": "yesterday"}, "time is 'yesterday'"),
            ({"myExt": "x"}, "attribute name 'myExt'"),
            ({"my_ext": "x"}, "attribute name 'my_ext'"),
            ({"": "x"}, "attribute name ''"),
            ({"ext": {"a": 1}}, "'ext' is a dict"),
            ({"ext": [1]}, "'ext' is a list"),
            ({"ext": 1.5}, "'ext' is a float"),
            ({"id": "a\x00b"}, "characters that CloudEvents forbids"),
            ({"id": "a\nb"}, "characters that CloudEvents forbids"),
            ({"source": "\ud800"}, "characters that CloudEvents forbids"),
            ({"subject": "\x9f"}, "characters that CloudEvents forbids"),
            ({"data_base64": "AAAA"}, "data and data_base64"),
            ({"data": ..., "data_base64": "%%%"}, "not base64"),
            ({"data": ..., "data_base64": 7}, "not base64"),
        ],
    )
    def test_refused(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises(Malformed, match=words):
            structured(**changes)

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "neither a binary CloudEvent nor JSON"),
            (b"\xff\xfe\xfd", "neither"),
            (b"hello", "neither"),
            (b"null", "this is a NoneType"),
            (b'"text"', "this is a str"),
            (b"[]", "a batch"),
            (json.dumps([ENVELOPE]).encode(), "a batch"),
            (json.dumps(ENVELOPE).replace('"s3', 'NaN, "s3').encode(), "neither"),
            (b'{"specversion": "1.0", "data": NaN}', "NaN is not JSON"),
            (b'{"specversion": "1.0", "data": -Infinity}', "-Infinity is not JSON"),
            (b"[" * 100_000, "neither"),
            (b'{"specversion": "1.0", "data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "neither"),
        ],
    )
    def test_bytes_that_are_no_event(self, data: bytes, words: str) -> None:
        with pytest.raises(Malformed, match=words):
            decode(SUBJECT, None, data)

    @pytest.mark.parametrize(
        ("content_type", "words"),
        [
            ("application/cloudevents-batch+json", "a batch"),
            ("application/cloudevents+protobuf", "content-type is 'application/cloudevents\\+protobuf'"),
            ("application/protobuf", "there is no ce-specversion header"),
            ("text/plain", "there is no ce-specversion header"),
        ],
    )
    def test_content_types_that_are_refused(self, content_type: str, words: str) -> None:
        with pytest.raises(Malformed, match=words):
            structured({"content-type": content_type})

    def test_nesting_just_below_the_parser_s_limit(self) -> None:
        """Whatever the depth at which reading or writing gives up, it is Malformed."""
        for depth in range(100, 1200, 50):
            data = json.dumps(ENVELOPE).replace('"ssd"', "[" * depth + "]" * depth).encode()
            try:
                decode(SUBJECT, None, data).message()
            except Malformed:
                continue


class TestBinary:
    def test_protobuf(self) -> None:
        event = binary(MESSAGE.SerializeToString(), datacontenttype="application/protobuf")
        assert event.message() == MESSAGE
        assert not event.is_json

    @pytest.mark.parametrize(
        "media_type", ["application/json", "application/json; charset=utf-8", "application/x+JSON"]
    )
    def test_json(self, media_type: str) -> None:
        event = binary(json.dumps({"model": MODEL}).encode(), datacontenttype=media_type)
        assert event.message() == MESSAGE

    def test_the_media_type_may_stand_in_content_type(self) -> None:
        event = decode(SUBJECT, HEADERS | {"Content-Type": "application/json"}, json.dumps({"model": MODEL}).encode())
        assert event.message() == MESSAGE

    def test_ce_datacontenttype_wins_over_content_type(self) -> None:
        headers = HEADERS | {"content-type": "text/plain", "ce-datacontenttype": "application/protobuf"}
        assert decode(SUBJECT, headers, MESSAGE.SerializeToString()).message() == MESSAGE

    def test_without_a_media_type_the_data_tells(self) -> None:
        assert binary(MESSAGE.SerializeToString()).message() == MESSAGE
        assert binary(json.dumps({"model": MODEL}, indent=1).encode()).message() == MESSAGE
        assert binary(b"\n " + json.dumps({"model": MODEL}).encode()).message() == MESSAGE

    def test_protobuf_that_begins_like_json_is_not_taken_for_it(self) -> None:
        """Field 1 of 123 bytes: the message begins with a line feed and a brace."""
        message = events_pb2.ModelTrained(model=types_pb2.Model(name="n" * 121))
        data = message.SerializeToString()
        assert data.startswith(b"\n{")
        assert binary(data).message() == message

    @pytest.mark.parametrize("spelling", [str.upper, str.title, str.lower])
    def test_header_names_in_any_case(self, spelling: Any) -> None:
        headers = {spelling(name): value for name, value in HEADERS.items()}
        assert decode(SUBJECT, headers, b"{}").id == "7f0c"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("%41%42", "AB"),
            ("100%25", "100%"),
            ("%2541", "%41"),
            ("a%zz", "a%zz"),
            ('"quoted value"', "quoted value"),
            (r'"a \"b\" \\c"', r'a "b" \c'),
            ('"%41"', "A"),
            ("€ as it is", "€ as it is"),
            ('"', '"'),
        ],
    )
    def test_values_are_unquoted_and_percent_decoded_once(self, value: str, text: str) -> None:
        assert binary(id=value).id == text

    @pytest.mark.parametrize("value", ["%C0%A0", "%FF", "%ED%A0%80", "%E2%82"])
    def test_what_is_not_utf8_is_refused(self, value: str) -> None:
        with pytest.raises(Malformed, match="not UTF-8"):
            binary(id=value)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"id": None}, "'id' is missing"),
            ({"id": ""}, "'id' is missing or empty"),
            ({"source": None}, "'source' is missing"),
            ({"type": None}, "'type' is missing"),
            ({"specversion": "1.1"}, "specversion is '1.1'"),
            ({"type": "windtunnel.variant.ready.v1"}, "it must be"),
            ({"my-ext": "x"}, "attribute name 'my-ext'"),
            ({"time": "2026-11-20"}, "time is"),
            ({"id": "a%00b"}, "characters that CloudEvents forbids"),
            ({"id": "a%0Ab"}, "characters that CloudEvents forbids"),
        ],
    )
    def test_refused(self, changes: dict[str, str | None], words: str) -> None:
        with pytest.raises(Malformed, match=words):
            binary(**changes)

    def test_headers_of_others_are_no_attributes(self) -> None:
        event = decode(SUBJECT, HEADERS | {"Nats-Msg-Id": "x", "traceparent": "y"}, b"{}")
        assert set(event.attributes) == {"specversion", "id", "source", "type"}

    def test_an_unknown_subject(self) -> None:
        with pytest.raises(Malformed, match="no event travels on subject"):
            decode("windtunnel.nothing", HEADERS | {"ce-type": "windtunnel.nothing.v1"}, b"{}")


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-20T10:00:00Z",
        "2026-11-20t10:00:00z",
        "2026-11-20T10:00:00.123456789Z",
        "2026-11-20T10:00:00+01:00",
        "2026-11-20T10:00:00.5-11:30",
        "2016-12-31T23:59:60Z",
    ],
)
def test_times_that_are_rfc_3339(time: str) -> None:
    assert structured(time=time).attributes["time"] == time


@pytest.mark.parametrize(
    "time",
    [
        "",
        "2026-11-20",
        "2026-11-20T10:00:00",
        "2026-11-20 10:00:00Z",
        "20261120T100000Z",
        "2026-W47-5T10:00:00Z",
        "2026-02-30T10:00:00Z",
        "2026-11-20T25:00:00Z",
        "2026-11-20T10:60:00Z",
        "2026-11-20T10:00:61Z",
        "2026-11-20T10:00:00+01",
        "1763632800",
        "٢٠٢٦-11-20T10:00:00Z",
    ],
)
def test_times_that_are_not(time: str) -> None:
    with pytest.raises(Malformed, match="time is"):
        structured(time=time)


class TestData:
    @pytest.mark.parametrize(
        "data",
        [
            {"plan_uri": "s3://p", "run_id": "r", "labels": {"a": "b"}},
            {"planUri": "s3://p", "runId": "r", "labels": {"a": "b"}},
        ],
    )
    def test_camel_case_and_snake_case(self, data: dict[str, Any]) -> None:
        message = events_pb2.ModelTrained(plan_uri="s3://p", run_id="r", labels={"a": "b"})
        assert structured(data=data).message() == message

    def test_fields_that_came_later_are_passed_over(self) -> None:
        assert structured(data={"model": MODEL | {"framework": "jax"}, "extra": [{"x": 1}]}).message() == MESSAGE

    def test_protobuf_fields_that_came_later_are_passed_over(self) -> None:
        data = MESSAGE.SerializeToString() + b"\xfa\x07\x03new"
        event = binary(data, datacontenttype="application/protobuf").message()
        assert isinstance(event, events_pb2.ModelTrained)
        assert event.model == MESSAGE.model

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (None, "data is a JSON NoneType"),
            ([], "data is a JSON list"),
            ("text", "data is a JSON str"),
            (7, "data is a JSON int"),
            ({"model": 7}, "data is not a ModelTrained"),
            ({"model": {"name": 7}}, "data is not a ModelTrained"),
            ({"model": {"name": "\ud800"}}, "data is not a ModelTrained"),
            ({"labels": {"a": 1}}, "data is not a ModelTrained"),
            ({"plan": {"deadlineSeconds": -1}}, "data is not a ModelTrained"),
            ({"plan": {"gates": {"sizeMb": "much"}}}, "data is not a ModelTrained"),
        ],
    )
    def test_json_that_is_no_message(self, data: Any, words: str) -> None:
        with pytest.raises(Malformed, match=words):
            structured(data=data).message()

    @pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xff", b"{"])
    def test_bytes_that_are_no_protobuf(self, data: bytes) -> None:
        with pytest.raises(Malformed, match="data is not a ModelTrained message"):
            binary(data, datacontenttype="application/protobuf").message()

    @pytest.mark.parametrize("data", [b"", b"{", b"NaN", b'{"a": Infinity}', b"\xff", b"[" * 100_000])
    def test_bytes_that_are_no_json(self, data: bytes) -> None:
        with pytest.raises(Malformed, match="not JSON"):
            binary(data, datacontenttype="application/json").json()

    @pytest.mark.parametrize("media_type", ["text/plain", "application/xml", "avro/binary"])
    def test_data_of_another_kind(self, media_type: str) -> None:
        with pytest.raises(Malformed, match=media_type):
            binary(b"x", datacontenttype=media_type).message()

    def test_no_data_is_the_empty_protobuf_message(self) -> None:
        assert binary(b"", datacontenttype="application/protobuf").message() == events_pb2.ModelTrained()

    def test_traceparent_of_the_transport_wins(self) -> None:
        assert decode(SUBJECT, HEADERS | {"ce-traceparent": "a"}, b"{}").traceparent == "a"
        assert decode(SUBJECT, HEADERS | {"ce-traceparent": "a", "Traceparent": "b"}, b"{}").traceparent == "b"
        assert decode(SUBJECT, HEADERS, b"{}").traceparent == ""


class TestEncode:
    def test_binary_mode_of_the_nats_binding(self) -> None:
        """Attributes with `ce-`, the data's media type in ce-datacontenttype, data as the message's payload."""
        subject, headers, data = encode(MESSAGE, id="1", source="/windtunnel/cli", run_id="r", traceparent="t")
        assert subject == "windtunnel.model.trained"
        assert headers == {
            "ce-specversion": "1.0",
            "ce-id": "1",
            "ce-source": "/windtunnel/cli",
            "ce-type": "windtunnel.model.trained.v1",
            "ce-subject": "r",
            "ce-datacontenttype": "application/protobuf",
            "content-type": "application/protobuf",
            "Nats-Msg-Id": "1",
            "traceparent": "t",
        }
        assert data == MESSAGE.SerializeToString(deterministic=True)

    def test_what_is_not_known_is_not_written(self) -> None:
        headers = encode(MESSAGE, id="1", source="/s", run_id="")[1]
        assert "ce-subject" not in headers
        assert "traceparent" not in headers

    def test_values_are_percent_encoded(self) -> None:
        headers = encode(MESSAGE, id='Euro € 😀 100% "x"', source="/a~b!#$&'()*+,/:;=?@[]-._", run_id="r")[1]
        assert headers["ce-id"] == "Euro%20%E2%82%AC%20%F0%9F%98%80%20100%25%20%22x%22"
        assert headers["ce-source"] == "/a~b!#$&'()*+,/:;=?@[]-._"
        assert headers["Nats-Msg-Id"].isascii()

    @given(id=st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1))
    def test_every_value_comes_back(self, id: str) -> None:
        subject, headers, data = encode(MESSAGE, id=id, source="/s", run_id="r")
        assert all(value.isascii() and value.isprintable() and " " not in value for value in headers.values())
        event = decode(subject, headers, data)
        assert (event.id, event.message()) == (id, MESSAGE)

    @pytest.mark.parametrize("subject", sorted(subjects.MESSAGES))
    def test_every_event_comes_back(self, subject: str) -> None:
        message = subjects.MESSAGES[subject]()
        sent = encode(message, id="1", source="/s", run_id="r")
        assert sent[0] == subject
        assert decode(*sent).message() == message

    def test_only_events_travel(self) -> None:
        with pytest.raises(KeyError):
            encode(plan_pb2.Plan(), id="1", source="/s", run_id="r")


def test_event_ids_are_deterministic_and_tell_parts_apart() -> None:
    assert event_id("t", "a", "b") == event_id("t", "a", "b")
    ids = {event_id("t", *parts) for parts in [(), ("",), ("a",), ("a", "b"), ("ab",), ("", "ab"), ("b", "a")]}
    assert len(ids) == 7
    assert all(len(id) == 32 for id in ids)


class TestAnything:
    """Whatever arrives: an event or Malformed, and no other error."""

    @given(
        data=st.binary(), headers=st.none() | st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5)
    )
    def test_bytes_and_headers(self, data: bytes, headers: dict[str, str] | None) -> None:
        read(SUBJECT, headers, data)

    @given(
        changes=st.dictionaries(
            st.sampled_from(["ce-id", "ce-source", "ce-time", "ce-x", "content-type", "ce-datacontenttype"]),
            st.text(max_size=30) | st.sampled_from(["application/json", "application/protobuf", "%E2%82", '"']),
        ),
        data=st.binary(max_size=60) | st.just(b'{"model": {"name": "n"}}'),
    )
    def test_nearly_binary_events(self, changes: dict[str, str], data: bytes) -> None:
        read(SUBJECT, HEADERS | changes, data)

    @given(
        changes=st.dictionaries(
            st.sampled_from([*ENVELOPE, "time", "data_base64", "subject", "ext"]),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                lambda inner: (
                    st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["model", "plan", "labels", "name", "gates"]), inner, max_size=3)
                ),
                max_leaves=8,
            ),
        )
    )
    def test_nearly_structured_events(self, changes: dict[str, Any]) -> None:
        read(SUBJECT, None, json.dumps(ENVELOPE | changes).encode())


def read(subject: str, headers: dict[str, str] | None, data: bytes) -> None:
    try:
        event = decode(subject, headers, data)
        assert event.id
        assert event.source
        event.message()
    except Malformed as error:
        assert str(error)


def test_the_data_is_read_once() -> None:
    """Context, cancellation and handler ask for the same message."""
    message = events_pb2.VariantReady(run=types_pb2.RunContext(run_id="run-1"))
    subject, headers, data = encode(message, id="1", source="/tests", run_id="run-1")
    event = decode(subject, headers, data)
    assert event.message() == message
    assert event.message() is event.message()
    # What was read does not belong to the event.
    assert event == decode(subject, headers, data)

"""Flat values as protobuf messages and back."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from windtunnel.datacheck.findings import Finding
from windtunnel.errors import InvalidInput
from windtunnel.service.protobuf_values import (
    failure_to_proto,
    findings_from_proto,
    findings_to_proto,
    message_of,
    value_of,
)
from windtunnel.v1 import types_pb2


@dataclass(frozen=True)
class Facts:
    """Some of a device's facts."""

    name: str
    cores: int | None = None
    nodes_total: int | None = None


@dataclass(frozen=True)
class Other:
    """A field that no device has."""

    color: str = "red"


def test_there_and_back() -> None:
    facts = Facts("Pixel 7", cores=8)
    message = message_of(types_pb2.DeviceFacts, facts)
    assert message == types_pb2.DeviceFacts(name="Pixel 7", cores=8)
    assert value_of(Facts, message) == facts


def test_nought_is_not_absent() -> None:
    message = message_of(types_pb2.DeviceFacts, Facts("", cores=0))
    assert message.HasField("cores")
    assert not message.HasField("nodes_total")
    assert value_of(Facts, message) == Facts("", cores=0, nodes_total=None)


def test_a_field_that_the_message_lacks_is_our_bug_and_loud() -> None:
    with pytest.raises(ValueError, match="color"):
        message_of(types_pb2.DeviceFacts, Other())
    with pytest.raises(KeyError, match="color"):
        value_of(Other, types_pb2.DeviceFacts())


def test_what_a_failure_says_is_cut() -> None:
    failure = failure_to_proto(InvalidInput("m" * 600_000, hint="h" * 2001), "tests")
    assert (failure.message, failure.hint) == ("m" * 1999 + "…", "h" * 1999 + "…")
    whole = failure_to_proto(InvalidInput("m" * 2000, hint="h"), "tests")
    assert (whole.message, whole.hint) == ("m" * 2000, "h")


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="range"):
        message_of(types_pb2.DeviceFacts, Facts("x", cores=2**70))


def test_evidence_of_any_size_fits_into_an_event() -> None:
    mapping = {str(label): label for label in range(21_000)}
    many = {f"figure {place}": "x" * 100 for place in range(50_000)}
    long_name = {"n" * 1_000_000: 1, "accuracy": 0.5}
    for evidence in ({"accuracy": 0.5, "mapping": mapping, "shift": 1}, many, long_name):
        (message,) = findings_to_proto([Finding("labels.permuted", "m", "f", evidence)])
        assert len(message.evidence_json) < 40_000
    (message,) = findings_to_proto([Finding("a.b", "m", evidence={"accuracy": 0.5, "mapping": mapping, "shift": 1})])
    (back,) = findings_from_proto([message])
    assert back.evidence == {"accuracy": 0.5, "shift": 1, "left_out": ["mapping"]}
    small = Finding("a.b", "m", evidence={"a": [1.5, None], "b": {"c": "ü"}})
    assert findings_from_proto(findings_to_proto([small])) == (small,)

"""docs/asyncapi.yaml says what the contracts say, and is consistent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncapi
import jsonschema
import pytest
import yaml
from google.protobuf import json_format

from windtunnel.bus import subjects
from windtunnel.bus.events import decode, encode
from windtunnel.bus.json_events import structured
from windtunnel.v1 import events_pb2, types_pb2

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def committed() -> str:
    return (ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def document(committed: str) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(committed)
    return value


def test_it_is_up_to_date(committed: str) -> None:
    assert committed == asyncapi.text(ROOT / "proto"), "python tools/asyncapi.py > docs/asyncapi.yaml"


def test_every_subject_has_a_channel_a_message_and_an_operation(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    everything = {channel["address"]: name for name, channel in document["channels"].items()}
    addresses = {address: name for address, name in everything.items() if not is_json(address)}
    assert set(addresses) == set(subjects.MESSAGES)
    assert set(everything) - set(addresses) == {subjects.json_subject_of(subject) for subject in addresses}
    for subject, name in addresses.items():
        message = document["components"]["messages"][name]
        assert name == subjects.MESSAGES[subject].DESCRIPTOR.name
        assert message["summary"], f"{name} needs a comment in events.proto"
        assert resolve(document, message["payload"]["$ref"])["type"] == "object"
        assert document["operations"][name]["channel"] == {"$ref": f"#/channels/{name}"}


def is_json(address: str) -> bool:
    return address.startswith(subjects.JSON_PREFIX)


@pytest.mark.parametrize("subject", subjects.MESSAGES)
def test_every_event_as_json_fits_its_description(document: dict[str, Any], subject: str) -> None:
    run = types_pb2.RunContext(run_id="r-1", trace_id="a" * 32, labels={"team": "edge"})
    message: Any = subjects.MESSAGES[subject]()
    if "run" in message.DESCRIPTOR.fields_by_name:
        message.run.CopyFrom(run)
    sent = encode(message, id="e-1", source="/s", run_id="r-1", traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    told, headers, data = structured(decode(*sent))
    channel = next(one for one in document["channels"].values() if one["address"] == told)
    described = document["components"]["messages"][next(iter(channel["messages"]))]
    envelope = json.loads(data)
    jsonschema.validate(envelope, {**described["payload"], "components": document["components"]})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**envelope, "type": "x"}, {**described["payload"], "components": document["components"]})
    assert headers["Nats-Msg-Id"] == "json-e-1"


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = list(find_references(document))
    assert len(references) > 50
    for reference in references:
        resolve(document, reference)


def test_the_schemas_are_schemas(document: dict[str, Any]) -> None:
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_real_event_fits_its_description(document: dict[str, Any]) -> None:
    event = events_pb2.VariantCompared(
        run=types_pb2.RunContext(run_id="r", labels={"team": "edge"}, plan=types_pb2.Artifact(size_bytes=2**40)),
        variant="int8",
        candidate=types_pb2.QualityFigures(top1=0.7, samples=10),
        layers=types_pb2.LayerSummary(compared=64, total=65, max_nrmse=0.1),
    )
    event.run.started_at.GetCurrentTime()
    _, headers, _ = encode(event, id="1", source="/windtunnel/layer_diff", run_id="r")
    validator(document, "VariantCompared", "payload").validate(json_format.MessageToDict(event))
    validator(document, "VariantCompared", "headers").validate(headers)


@pytest.mark.parametrize("wrong", [{"variant": 7}, {"run": {"labels": {"a": 1}}}, {"layers": {"compared": -1}}])
def test_a_wrong_event_does_not(document: dict[str, Any], wrong: dict[str, Any]) -> None:
    assert not validator(document, "VariantCompared", "payload").is_valid(wrong)


def validator(document: dict[str, Any], message: str, part: str) -> jsonschema.Draft202012Validator:
    schema = document["components"]["messages"][message][part]
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


def find_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from find_references(item)
    elif isinstance(value, list):
        for item in value:
            yield from find_references(item)


def resolve(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/")
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value

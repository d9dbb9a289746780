"""The events as an AsyncAPI 3.0 document, made from the contracts.

    python tools/asyncapi.py > docs/asyncapi.yaml

Channels are the subjects; payloads are the protobuf messages in their JSON mapping
(https://protobuf.dev/programming-guides/json/), described by the comments of the .proto files. Needs those files and
grpcio-tools, so it runs in the repository only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from windtunnel.bus import subjects
from windtunnel.bus.events import STRUCTURED

PROTO: Final = Path(__file__).parents[1] / "proto"

_Field = FieldDescriptorProto
_SCALARS: Final[dict[int, dict[str, Any]]] = {
    _Field.TYPE_STRING: {"type": "string"},
    _Field.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    _Field.TYPE_BOOL: {"type": "boolean"},
    _Field.TYPE_DOUBLE: {"type": "number"},
    _Field.TYPE_FLOAT: {"type": "number"},
    _Field.TYPE_INT32: {"type": "integer", "format": "int32"},
    _Field.TYPE_UINT32: {"type": "integer", "format": "uint32", "minimum": 0},
    # The JSON mapping writes 64-bit integers as text and reads both.
    _Field.TYPE_INT64: {"type": ["string", "integer"], "format": "int64"},
    _Field.TYPE_UINT64: {"type": ["string", "integer"], "format": "uint64"},
}
_WELL_KNOWN: Final[dict[str, dict[str, Any]]] = {
    ".google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    # Seconds, for example "1.5s".
    ".google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
}

_ATTRIBUTES: Final[dict[str, dict[str, Any]]] = {
    "ce-specversion": {"const": "1.0"},
    "ce-id": {"type": "string", "minLength": 1, "description": "The same source and id twice are one event."},
    "ce-source": {"type": "string", "minLength": 1, "description": "Who says it, for example /windtunnel/converter."},
    "ce-type": {"type": "string", "description": "The subject and its version."},
    "ce-subject": {"type": "string", "description": "Id of the run."},
    "ce-time": {"type": "string", "format": "date-time"},
    "ce-datacontenttype": {"enum": ["application/protobuf", "application/json"]},
    "traceparent": {"type": "string", "description": "W3C Trace Context."},
    "Nats-Msg-Id": {"type": "string", "description": "Equal to ce-id: publishing twice stores once."},
}
_INTRODUCTION: Final = (
    "Every event is a CloudEvent 1.0 in the NATS binding: attributes in `ce-` headers, data in protobuf. Payloads are "
    "described in the JSON mapping of protobuf; names are also accepted in snake_case. `windtunnel.model.trained` is "
    "accepted as structured JSON too: the whole event as one JSON object, without any header. If "
    "WINDTUNNEL_JSON_EVENTS is true, every event is also published on `windtunnel.json.<thing>.<past verb>`: the "
    "whole event as one JSON object, with the same id and 64-bit integers as text. Events may "
    "come in any order and more than once."
)


@dataclass(frozen=True, slots=True)
class _Message:
    descriptor: DescriptorProto
    comment: str
    field_comments: tuple[str, ...]


class _Contracts:
    """All messages and enums of the .proto files with their comments, by full name with a leading dot."""

    def __init__(self, files: FileDescriptorSet) -> None:
        """Reads the contracts.

        Args:
            files: their descriptors, comments included.
        """
        self.messages: dict[str, _Message] = {}
        self.enums: dict[str, EnumDescriptorProto] = {}
        for file in files.file:
            comments = _comments(file)
            for enum in file.enum_type:
                self.enums[f".{file.package}.{enum.name}"] = enum
            for index, message in enumerate(file.message_type):
                self._add(message, f".{file.package}.{message.name}", (4, index), comments)

    def _add(
        self, message: DescriptorProto, name: str, path: tuple[int, ...], comments: dict[tuple[int, ...], str]
    ) -> None:
        # 2, 3 and 4 are the numbers of field, nested_type and enum_type in DescriptorProto.
        fields = tuple(comments.get((*path, 2, index), "") for index in range(len(message.field)))
        self.messages[name] = _Message(message, comments.get(path, ""), fields)
        for enum in message.enum_type:
            self.enums[f"{name}.{enum.name}"] = enum
        for index, nested in enumerate(message.nested_type):
            self._add(nested, f"{name}.{nested.name}", (*path, 3, index), comments)


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    return {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }


def compile_contracts(proto: Path) -> FileDescriptorSet:
    """The descriptors of all contract files.

    Args:
        proto: the folder that holds them.

    Returns:
        The descriptors, comments included.
    """
    files = sorted(str(file.relative_to(proto)) for file in proto.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "descriptors"
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}", "--include_source_info"]
        subprocess.run([*command, f"--descriptor_set_out={output}", *files], check=True)
        return FileDescriptorSet.FromString(output.read_bytes())


def document(files: FileDescriptorSet) -> dict[str, Any]:
    """The AsyncAPI document of all events.

    Args:
        files: descriptors of the contracts, see `compile_contracts`.

    Returns:
        The document as an object of JSON.
    """
    contracts = _Contracts(files)
    names = {subject: message.DESCRIPTOR.name for subject, message in subjects.MESSAGES.items()}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Windtunnel events", "version": "v1", "description": _INTRODUCTION},
        "defaultContentType": "application/protobuf",
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": {
            **{name: _channel(subject, name) for subject, name in names.items()},
            **{
                _json_name(name): _channel(subjects.json_subject_of(subject), _json_name(name))
                for subject, name in names.items()
            },
        },
        "operations": {
            **{name: _operation(subject, name) for subject, name in names.items()},
            **{
                _json_name(name): _operation(subjects.json_subject_of(subject), _json_name(name))
                for subject, name in names.items()
            },
        },
        "components": {
            "messages": {
                **{name: _message(contracts, subject, name) for subject, name in names.items()},
                **{_json_name(name): _json_message(contracts, subject, name) for subject, name in names.items()},
            },
            "schemas": {"CloudEventHeaders": _headers(), "StructuredCloudEvent": _structured(), **_schemas(contracts)},
        },
    }


def _channel(subject: str, name: str) -> dict[str, Any]:
    return {"address": subject, "messages": {name: {"$ref": f"#/components/messages/{name}"}}}


def _operation(subject: str, name: str) -> dict[str, Any]:
    return {
        "action": "receive" if subject == subjects.MODEL_TRAINED else "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _message(contracts: _Contracts, subject: str, name: str) -> dict[str, Any]:
    own_type = {"type": "object", "properties": {"ce-type": {"const": subjects.type_of(subject)}}}
    message = {
        "name": name,
        "title": subjects.type_of(subject),
        "summary": contracts.messages[f".windtunnel.v1.{name}"].comment,
        "contentType": "application/protobuf",
        "correlationId": {"location": "$message.header#/ce-subject"},
        "headers": {"allOf": [{"$ref": "#/components/schemas/CloudEventHeaders"}, own_type]},
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }
    if subject == subjects.MODEL_TRAINED:
        message["description"] = (
            "In JSON, `plan` has the form of plan.yaml. The schema of the whole event as structured JSON is "
            "model_trained.schema.json."
        )
    return message


def _json_name(name: str) -> str:
    """The name of an event that is published as JSON."""
    return f"{name}Json"


def _json_message(contracts: _Contracts, subject: str, name: str) -> dict[str, Any]:
    own = {"type": {"const": subjects.type_of(subject)}, "data": {"$ref": f"#/components/schemas/{name}"}}
    return {
        "name": _json_name(name),
        "title": f"{subjects.type_of(subject)}, as JSON",
        "summary": contracts.messages[f".windtunnel.v1.{name}"].comment,
        "contentType": STRUCTURED,
        "correlationId": {"location": "$message.payload#/subject"},
        "payload": {"allOf": [{"$ref": "#/components/schemas/StructuredCloudEvent"}, {"properties": own}]},
    }


def _structured() -> dict[str, Any]:
    """A whole event as one JSON object: the attributes by their names, and the data."""
    attributes = {name.removeprefix("ce-"): schema for name, schema in _ATTRIBUTES.items() if name.startswith("ce-")}
    attributes["datacontenttype"] = {"const": "application/json"}
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "data"],
        "properties": {**attributes, "traceparent": _ATTRIBUTES["traceparent"], "data": {"type": "object"}},
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["ce-specversion", "ce-id", "ce-source", "ce-type"],
        "properties": _ATTRIBUTES,
    }


def _schemas(contracts: _Contracts) -> dict[str, Any]:
    """Schemas of every message that an event holds, by their short names."""
    waiting = [f".{message.DESCRIPTOR.full_name}" for message in subjects.MESSAGES.values()]
    schemas: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        if _short(name) in schemas:
            continue
        message = contracts.messages[name]
        schemas[_short(name)] = _schema(contracts, message)
        waiting += [
            field.type_name
            for used in (message, *(contracts.messages[f"{name}.{n.name}"] for n in message.descriptor.nested_type))
            for field in used.descriptor.field
            if field.type == _Field.TYPE_MESSAGE
            and field.type_name not in _WELL_KNOWN
            and not contracts.messages[field.type_name].descriptor.options.map_entry
        ]
    return dict(sorted(schemas.items()))


def _schema(contracts: _Contracts, message: _Message) -> dict[str, Any]:
    properties = {}
    for field, comment in zip(message.descriptor.field, message.field_comments, strict=True):
        schema = _field_schema(contracts, field)
        # Many tools ignore what is next to a $ref.
        held = {"allOf": [schema]} if comment and "$ref" in schema else schema
        if field.options.deprecated:
            held = {**held, "deprecated": True}
        properties[field.json_name] = {"description": comment, **held} if comment else held
    described = {"description": message.comment} if message.comment else {}
    return {"type": "object", **described, "properties": properties}


def _field_schema(contracts: _Contracts, field: FieldDescriptorProto) -> dict[str, Any]:
    if field.type == _Field.TYPE_MESSAGE and field.type_name in contracts.messages:
        held = contracts.messages[field.type_name].descriptor
        if held.options.map_entry:
            return {"type": "object", "additionalProperties": _value_schema(contracts, held.field[1])}
    value = _value_schema(contracts, field)
    return {"type": "array", "items": value} if field.label == _Field.LABEL_REPEATED else value


def _value_schema(contracts: _Contracts, field: FieldDescriptorProto) -> dict[str, Any]:
    if field.type == _Field.TYPE_ENUM:
        return {"type": "string", "enum": [value.name for value in contracts.enums[field.type_name].value]}
    if field.type != _Field.TYPE_MESSAGE:
        return dict(_SCALARS[field.type])
    if field.type_name in _WELL_KNOWN:
        return dict(_WELL_KNOWN[field.type_name])
    return {"$ref": f"#/components/schemas/{_short(field.type_name)}"}


def _short(name: str) -> str:
    return name.removeprefix(".windtunnel.v1.")


class _Dumper(yaml.SafeDumper):
    """Writes everything in full: anchors would be noise in a document for people."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def text(proto: Path = PROTO) -> str:
    """The AsyncAPI document of all events as YAML.

    Args:
        proto: the folder that holds the contracts.

    Returns:
        The text of docs/asyncapi.yaml.
    """
    body = yaml.dump(document(compile_contracts(proto)), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return f"# Generated from proto/ by `python tools/asyncapi.py`. Do not edit.\n{body}"


if __name__ == "__main__":
    sys.stdout.write(text(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTO))

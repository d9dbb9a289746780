"""The contracts as their readers see them: what is commented how, and which errors each method lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from asyncapi import compile_contracts
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[2]
_ERROR = re.compile(r"([A-Z_]+) \(([A-Z0-9_, ]+)\): \S")

Path_ = tuple[int, ...]


@cache
def files() -> dict[str, FileDescriptorProto]:
    """The contract files by name, such as "events.proto"."""
    return {file.name.rsplit("/", 1)[-1]: file for file in compile_contracts(ROOT / "proto").file}


@cache
def released() -> FileDescriptorSet:
    """The contracts of the last release."""
    return FileDescriptorSet.FromString((ROOT / "proto/released.binpb").read_bytes())


def messages(file: FileDescriptorProto) -> Iterator[tuple[str, DescriptorProto]]:
    """All messages of a file by name, nested ones too, entries of maps not."""
    waiting = [(message.name, message) for message in file.message_type]
    while waiting:
        name, message = waiting.pop()
        if not message.options.map_entry:
            yield name, message
            waiting += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]


def comments(file: FileDescriptorProto) -> Mapping[Path_, str]:
    return {tuple(one.path): one.leading_comments.strip() for one in file.source_code_info.location}


def of_message(message: DescriptorProto, name: str, path: Path_) -> Iterator[tuple[str, Path_]]:
    if message.options.map_entry:
        return
    yield name, path
    yield from ((f"{name}.{field.name}", (*path, 2, index)) for index, field in enumerate(message.field))
    yield from ((f"{name}.{one.name}", (*path, 8, i)) for i, one in enumerate(message.oneof_decl) if one.name[0] != "_")
    for index, nested in enumerate(message.nested_type):
        yield from of_message(nested, f"{name}.{nested.name}", (*path, 3, index))
    for index, enum in enumerate(message.enum_type):
        yield f"{name}.{enum.name}", (*path, 4, index)
        yield from ((f"{name}.{one.name}", (*path, 4, index, 2, i)) for i, one in enumerate(enum.value))


def parts(file: FileDescriptorProto) -> Iterator[tuple[str, Path_]]:
    """Names and places of everything in a file that a reader of the contracts sees."""
    for index, message in enumerate(file.message_type):
        yield from of_message(message, message.name, (4, index))
    for index, enum in enumerate(file.enum_type):
        yield enum.name, (5, index)
        yield from ((f"{enum.name}.{value.name}", (5, index, 2, i)) for i, value in enumerate(enum.value))
    for index, service in enumerate(file.service):
        yield service.name, (6, index)
        yield from ((f"{service.name}.{one.name}", (6, index, 2, i)) for i, one in enumerate(service.method))


@dataclass(frozen=True)
class Method:
    """A method and what its comment says of it."""

    name: str
    comment: str

    @property
    def errors(self) -> dict[str, str]:
        """Status by reason; a reason of several statuses holds them all."""
        found: dict[str, str] = {}
        listed = " ".join(self.comment.partition("Errors:\n")[2].split())
        for status, reasons in _ERROR.findall(listed):
            for reason in reasons.split(", "):
                found[reason] = f"{found[reason]} {status}" if reason in found else status
        return found


def methods(file: FileDescriptorProto) -> list[Method]:
    said = comments(file)
    return [
        Method(f"{service.name}.{method.name}", said.get((6, index, 2, i), ""))
        for index, service in enumerate(file.service)
        for i, method in enumerate(service.method)
    ]

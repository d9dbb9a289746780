"""Every part of the contracts is described, and the errors of every method are those that its service gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

import windtunnel.bus.events
import windtunnel.bus.nats_faults  # noqa: F401 - its errors are part of the tree
from windtunnel.artifacts.store import Corrupt
from windtunnel.bus.asyncapi import compile_contracts
from windtunnel.errors import FarmError, WindtunnelError
from windtunnel.rpc.errors import status_of

ROOT = Path(__file__).parents[2]
FILES = {file.name.rsplit("/", 1)[-1]: file for file in compile_contracts(ROOT / "proto").file}
SERVICES = [path.parent.name for path in ROOT.glob("services/*/pyproject.toml")]
ERROR = re.compile(r"([A-Z_]+) \(([A-Z0-9_, ]+)\): \S")
# Raised while an event is handled; no method gives them.
OF_EVENTS_ALONE = {"unknown_plan"}

Path_ = tuple[int, ...]


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


@pytest.mark.parametrize("name", FILES)
def test_everything_has_a_comment(name: str) -> None:
    said = comments(FILES[name])
    assert [part for part, path in parts(FILES[name]) if not said.get(path)] == []


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
        for status, reasons in ERROR.findall(listed):
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


METHODS = [method for file in FILES.values() for method in methods(file)]


def error_classes(root: type[WindtunnelError] = WindtunnelError) -> Iterator[type[WindtunnelError]]:
    yield root
    for kind in root.__subclasses__():
        yield from error_classes(kind)


def status_name(kind: type[WindtunnelError], retryable: bool) -> str:
    error = WindtunnelError.__new__(kind)
    error.retryable = retryable
    return status_of(error).name


def texts_in(folder: Path) -> Iterator[ast.Module]:
    yield from (ast.parse(path.read_text()) for path in folder.rglob("*.py"))


def strings(node: ast.expr, constants: Mapping[str, str]) -> list[str]:
    """The texts that an expression may be, as far as they can be read off."""
    if isinstance(node, ast.IfExp):
        return strings(node.body, constants) + strings(node.orelse, constants)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    return [constants[node.id]] if isinstance(node, ast.Name) and node.id in constants else []


def constants_in(module: ast.Module) -> dict[str, str]:
    return {
        node.target.id: node.value.value
        for node in module.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def codes_given(folder: Path) -> dict[str, set[str]]:
    """The codes that calls below `folder` give to errors, with the names of the error classes."""
    kinds = {kind.__name__ for kind in error_classes()}
    given: dict[str, set[str]] = {}
    for module in texts_in(folder):
        constants = constants_in(module)
        for node in ast.walk(module):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in kinds:
                continue
            for keyword in node.keywords:
                for code in strings(keyword.value, constants) if keyword.arg == "code" else ():
                    given.setdefault(code, set()).add(node.func.id)
    return given


def known_reasons() -> dict[str, set[str]]:
    """Every reason that Windtunnel gives, with the statuses that it comes with."""
    by_name = {kind.__name__: kind for kind in error_classes()}
    known: dict[str, set[str]] = {}
    assert Corrupt.__name__ in by_name
    for kind in by_name.values():
        for retryable in {kind.retryable, *([True, False] if issubclass(kind, FarmError) else [])}:
            known.setdefault(kind.code.upper(), set()).add(status_name(kind, retryable))
    for folder in (ROOT / "services", ROOT / "shared/src"):
        for code, kinds in codes_given(folder).items():
            known.setdefault(code.upper(), set()).update(status_name(by_name[name], False) for name in kinds)
    return known


KNOWN = known_reasons()


def test_reasons_are_found_in_the_sources() -> None:
    assert KNOWN["INVALID_PLAN"] == {"INVALID_ARGUMENT"}
    assert KNOWN["FARM"] == {"UNAVAILABLE", "FAILED_PRECONDITION"}
    assert KNOWN["NO_BASE_APP"] == {"FAILED_PRECONDITION"}
    assert {"CUSTOM_LAYER", "INVALID_SAMPLES", "CORRUPT", "MALFORMED_EVENT"} <= set(KNOWN)
    assert len(METHODS) >= 20


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_errors_of_a_method_are_told(method: Method) -> None:
    assert method.errors, f"{method.name} lists no errors"
    for reason, told in method.errors.items():
        for status in told.split():
            assert status in grpc.StatusCode.__members__
            assert status in KNOWN.get(reason, ()), f"{method.name}: {reason} does not come with {status}"


@pytest.mark.parametrize("service", SERVICES)
def test_every_code_that_a_service_gives_is_told(service: str) -> None:
    told = {reason for method in methods(FILES[f"{service}.proto"]) for reason in method.errors}
    given = {code.upper() for code in set(codes_given(ROOT / "services" / service)) - OF_EVENTS_ALONE}
    assert given - told == set()

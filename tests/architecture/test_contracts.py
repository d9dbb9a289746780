"""Every part of the contracts is described, and the errors of every method are those that its service gives."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

import windtunnel.bus.events
import windtunnel.bus.nats.refusals  # noqa: F401 - its errors are part of the tree
from support.contracts import Method, comments, files, messages, methods, parts, released
from windtunnel.artifacts.stores.port import Corrupt
from windtunnel.errors import FarmError, WindtunnelError
from windtunnel.rpc.errors import status_of

ROOT = Path(__file__).parents[2]
FILES = files()
SERVICES = [path.parent.name for path in ROOT.glob("services/*/pyproject.toml")]
# Raised while an event is handled; no method gives them.
OF_EVENTS_ALONE = {"unknown_plan"}


@pytest.mark.parametrize("name", FILES)
def test_everything_has_a_comment(name: str) -> None:
    said = comments(FILES[name])
    assert [part for part, path in parts(FILES[name]) if not said.get(path)] == []


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
    for folder in (ROOT / "services", ROOT / "diagnosis/src", ROOT / "shared/src"):
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


def test_every_code_of_the_diagnosis_library_is_told() -> None:
    told = {reason for service in SERVICES for method in methods(FILES[f"{service}.proto"]) for reason in method.errors}
    given = {code.upper() for code in set(codes_given(ROOT / "diagnosis/src")) - OF_EVENTS_ALONE}
    assert given
    assert given - told == set()


OLD_FIELDS = {f"{name}.{field.name}" for file in released().file for name, m in messages(file) for field in m.field}
OLD_METHODS = {f"{s.name}.{method.name}" for file in released().file for s in file.service for method in s.method}
NEW_FIELDS = [
    (f"{name}.{field.name}", field)
    for file in FILES.values()
    for name, message in messages(file)
    for field in message.field
    if f"{name}.{field.name}" not in OLD_FIELDS and not field.options.deprecated
]
# Not in the last released contracts, and older than the rules all the same.
OLD_METHODS |= {"ArtifactService.Upload", "ArtifactService.Download", "ArtifactService.ListArtifacts"}
CLOSED_SETS = re.compile(r"(^|_)(state|status|platform|kind|severity|level|type)s?$")
DURATIONS = re.compile(r"(^|_)(ms|us|ns|s|seconds|minutes|hours|duration|timeout|interval)$")
NUMBERS = range(FieldDescriptorProto.TYPE_DOUBLE, FieldDescriptorProto.TYPE_BOOL)


def breaks_a_rule(name: str, field: FieldDescriptorProto) -> bool:
    """Whether a new field should be an enum, or a Duration."""
    text = field.type == FieldDescriptorProto.TYPE_STRING
    number = field.type in NUMBERS
    return bool((text and CLOSED_SETS.search(field.name)) or (number and DURATIONS.search(field.name)))


def test_new_fields_use_enums_and_durations() -> None:
    assert len(OLD_FIELDS) > 100 and len(NEW_FIELDS) > 5
    assert [name for name, field in NEW_FIELDS if breaks_a_rule(name, field)] == []


def test_the_rules_catch_what_the_old_fields_do() -> None:
    broken = {
        f"{name}.{field.name}"
        for file in released().file
        for name, message in messages(file)
        for field in message.field
        if breaks_a_rule(name, field)
    }
    assert {"Cell.platform", "Run.state", "Execution.kind", "ModelConverted.duration_ms"} <= broken
    assert "Measurement.memory_mb" not in broken and "Cell.variant" not in broken


def wrong_in_method(name: str, by_name: Mapping[str, DescriptorProto]) -> str:
    """What is wrong with a method by AIP-130 and AIP-158; empty if nothing is."""
    if not re.fullmatch(r"([A-Z][a-z]+){2,}", name):
        return f"{name} is not a verb and a noun"
    asked, answer = (by_name.get(f"{name}{kind}", DescriptorProto()) for kind in ("Request", "Response"))
    if not (asked.name and answer.name):
        return f"{name} has no messages of its own"
    if name.startswith("List"):
        lacking = {"page_size", "page_token"} - {field.name for field in asked.field}
        lacking |= {"next_page_token"} - {field.name for field in answer.field}
        return f"{name} lacks {', '.join(sorted(lacking))}" if lacking else ""
    return ""


def test_new_methods_have_aip_names() -> None:
    by_name = {name: message for file in FILES.values() for name, message in messages(file)}
    rpcs = [
        (service.name, method.name) for file in FILES.values() for service in file.service for method in service.method
    ]
    new = [name for service, name in rpcs if f"{service}.{name}" not in OLD_METHODS]
    assert len(new) > 2
    assert [wrong for name in new if (wrong := wrong_in_method(name, by_name))] == []


@pytest.mark.parametrize(
    ("name", "asked", "answer", "wrong"),
    [
        ("GetThing", [], [], ""),
        ("ListThings", ["page_size", "page_token", "filter"], ["things", "next_page_token"], ""),
        ("Run", [], [], "Run is not a verb and a noun"),
        ("GetURL", [], [], "GetURL is not a verb and a noun"),
        ("ListThings", ["page_size"], ["things"], "ListThings lacks next_page_token, page_token"),
    ],
)
def test_the_rules_for_methods(name: str, asked: list[str], answer: list[str], wrong: str) -> None:
    def message(kind: str, fields: list[str]) -> DescriptorProto:
        return DescriptorProto(name=f"{name}{kind}", field=[FieldDescriptorProto(name=one) for one in fields])

    made = [message("Request", asked), message("Response", answer)]
    assert wrong_in_method(name, {one.name: one for one in made}) == wrong
    assert wrong_in_method("GetThing", {}) == "GetThing has no messages of its own"


def test_some_fields_are_deprecated() -> None:
    assert (
        sum(field.options.deprecated for file in FILES.values() for _, one in messages(file) for field in one.field) > 5
    )


@pytest.mark.parametrize("name", FILES)
def test_a_deprecated_field_names_the_enum_that_replaces_it(name: str) -> None:
    said = comments(FILES[name])
    paths = dict(parts(FILES[name]))
    for message_name, message in messages(FILES[name]):
        fields = {field.name: field for field in message.field}
        for field in message.field:
            if field.options.deprecated:
                comment = " ".join(said[paths[f"{message_name}.{field.name}"]].split())
                found = re.search(r"Replaced by `(\w+)`\.", comment)
                assert found is not None, f"{message_name}.{field.name}"
                assert fields[found[1]].type == FieldDescriptorProto.TYPE_ENUM
                assert fields[found[1]].label == field.label

"""Every part of the contracts is described, and the errors of every method are those that its service gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import pytest

import windtunnel.bus.events
import windtunnel.bus.nats.refusals  # noqa: F401 - its errors are part of the tree
from support.contracts import Method, comments, files, methods, parts
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

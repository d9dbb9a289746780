"""Every error that a service answers with in these tests must be one that its method's comment lists."""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from support.contracts import files, methods
from windtunnel.errors import InternalError, WindtunnelError
from windtunnel.rpc import errors

_METHOD: ContextVar[str] = ContextVar("_METHOD", default="")


@pytest.fixture(autouse=True)
def listed_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fails a test in which a service answers with an error that its contract does not list."""
    unlisted: list[str] = []
    intercept, abort = errors.ErrorInterceptor.intercept_service, errors._abort

    async def noting(self: Any, continuation: Any, details: Any) -> Any:
        _METHOD.set(details.method)
        return await intercept(self, continuation, details)

    async def checking(context: Any, error: WindtunnelError) -> None:
        if (problem := _unlisted(_METHOD.get(), error)) is not None:
            unlisted.append(problem)
        await abort(context, error)

    monkeypatch.setattr(errors.ErrorInterceptor, "intercept_service", noting)
    monkeypatch.setattr(errors, "_abort", checking)
    yield
    assert unlisted == []


def _unlisted(method: str, error: WindtunnelError) -> str | None:
    service, _, name = method.removeprefix("/windtunnel.v1.").partition("/")
    found = next((m for f in files().values() for m in methods(f) if m.name == f"{service}.{name}"), None)
    if found is None or isinstance(error, InternalError):
        return None
    status, reason = errors.status_of(error).name, error.code.upper()
    return None if status in found.errors.get(reason, "").split() else f"{found.name} gives {status} ({reason})"

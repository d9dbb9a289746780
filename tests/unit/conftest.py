"""Unit tests need no network: one that leaves this machine fails."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.offline import offline


@pytest.fixture(autouse=True)
def hosts_asked_for() -> Iterator[list[str]]:
    """The other machines that a test asked for: there must be none at its end."""
    with offline() as hosts:
        yield hosts
    assert hosts == []

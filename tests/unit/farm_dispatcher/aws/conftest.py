"""The farm `aws` and its peer. Waiting moves the peer's clock instead of the tests'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.farm_peers.aws.bench import AwsBench
from support.farm_peers.aws.server import AwsPeer, start_aws_peer


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AwsPeer]:
    with start_aws_peer(tmp_path / "farm") as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
async def bench(peer: AwsPeer, tmp_path: Path) -> AsyncIterator[AwsBench]:
    made = await asyncio.to_thread(AwsBench.make, peer, tmp_path / "bench")
    yield made
    made.close()

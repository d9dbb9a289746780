"""An adb server for the tests of a module, and a phone for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.adb_farm import Jobs, Lab
from support.farm_peers.phone.adb_server import adb_server
from support.farm_peers.phone.phone import Phone
from support.graphs import dense_model
from windtunnel.app_builder import SigningKey


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with adb_server(folder / "adb") as server:
        yield Lab(server, folder)


@pytest.fixture
def bench(lab: Lab, tmp_path: Path) -> Iterator[Lab]:
    """The same server, and a folder for this test."""
    yield Lab(lab.server, tmp_path)


@pytest.fixture
def phone(bench: Lab) -> Iterator[Phone]:
    with bench.phone() as attached:
        yield attached


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "m.tflite")


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


@pytest.fixture(scope="module")
def key() -> SigningKey:
    return SigningKey.generate()

"""Models for the tests of windtunnel.tflite."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.graphs import dense_model
from support.models import DigitsModels, digits_model


@pytest.fixture(scope="session")
def digits() -> DigitsModels:
    return digits_model()


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "dense.tflite")

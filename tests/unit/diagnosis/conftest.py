"""Models and samples for the tests of windtunnel.diagnosis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.graphs import dense_model
from support.models import DigitsModels, digits_model
from windtunnel.tflite import Runner


@pytest.fixture(scope="session")
def digits() -> DigitsModels:
    return digits_model()


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return dense_model(tmp_path / "reference.tflite")


@pytest.fixture
def samples(tmp_path: Path, dense: Path) -> Path:
    """40 samples, labeled with what the reference says."""
    x = np.random.default_rng(3).normal(size=(40, 8)).astype(np.float32)
    labels = Runner(dense).run({"input": x})["probabilities"].argmax(axis=1)
    path = tmp_path / "samples.npz"
    np.savez(path, x=x, y=labels)
    return path

"""One whole system for all end-to-end tests that do not break it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.models import DigitsModels, digits_model
from support.system import System


@pytest.fixture(scope="session")
def models() -> DigitsModels:
    return digits_model()


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    running = System(tmp_path_factory.mktemp("e2e") / "home").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def plan(models: DigitsModels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of two variants on one local cell."""
    path = tmp_path_factory.mktemp("plan") / "plan.yaml"
    path.write_text(
        f"""\
apiVersion: windtunnel/v1
data:
  samples: {models.samples}
  calibration: {models.calibration}
variants: [float32, int8]
devices:
  - {{farm: local, accelerator: xnnpack, threads: 1}}
gates:
  accuracy_drop: 0.05
  size_mb: 1
"""
    )
    return path

"""The emulated ARM64 system."""

from __future__ import annotations

import pytest

from support.arm import arm_system
from windtunnel.arm_emulator import ArmHome


@pytest.fixture(scope="session")
def arm_home() -> ArmHome:
    return arm_system()

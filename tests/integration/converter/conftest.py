"""A warm pool with TensorFlow, and models in every format."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.trained import trained_models
from windtunnel.isolation import ChildPool


@pytest.fixture(scope="session")
def trained() -> Path:
    return trained_models()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ChildPool]:
    preload = ("windtunnel.converter.adapters.tensorflow_convert", "windtunnel.converter.use_cases.check_conversion")
    env = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    async with ChildPool(preload=preload, timeout_s=120, memory_mb=6000, env=env) as running:
        yield running

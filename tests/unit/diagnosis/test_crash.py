"""A comparison continues without trying changes if one of them ended the process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.graphs import DenseWeights, dense_model
from windtunnel.diagnosis.comparison.survive_crashes import compare_safely
from windtunnel.errors import JobFailed
from windtunnel.isolation import InlinePool


class FragilePool(InlinePool):
    """Jobs that fail as a child does that a signal ended, if `fatal` is true."""

    def __init__(self, fatal: Callable[[str, dict[str, Any]], bool]) -> None:
        super().__init__()
        self.jobs: list[str] = []
        self._fatal = fatal

    async def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.jobs.append(function.__name__)
        if self._fatal(function.__name__, kwargs):
            raise JobFailed(f"{function.__name__} was ended by SIGABRT", how="signal")
        return await super().run(function, *args, **kwargs)


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    weights = DenseWeights.random()
    return dense_model(tmp_path / "c.tflite", replace(weights, second=-weights.second))


async def test_a_change_that_ends_the_process_is_left_out(dense: Path, faulty: Path, samples: Path) -> None:
    pool = FragilePool(lambda name, kwargs: name == "compare_models" and kwargs.get("try_fixes", True))
    result = await compare_safely(pool, (dense, faulty, samples, None))
    (cause,) = result.causes
    assert (cause.code, cause.layer, cause.verified) == ("conversion.weights", "hidden_2", False)
    assert result.settings.fixes_tried is False
    assert pool.jobs[0] == pool.jobs[-1] == "compare_models"


async def test_a_model_that_ends_the_process_is_named(dense: Path, faulty: Path, samples: Path) -> None:
    pool = FragilePool(lambda name, kwargs: True)
    with pytest.raises(JobFailed, match=r"reference\.tflite|r\.tflite|FULLY_CONNECTED") as raised:
        await compare_safely(pool, (dense, faulty, samples, None))
    # What ends the process on all kernels is not run on others.
    assert "no kernels of the runtime" in raised.value.hint
    assert pool.jobs.count("compare_models") == 1


async def test_what_ends_well_is_run_once(dense: Path, faulty: Path, samples: Path) -> None:
    pool = FragilePool(lambda name, kwargs: False)
    result = await compare_safely(pool, (dense, faulty, samples, None))
    assert result.causes[0].verified
    assert pool.jobs == ["compare_models"]

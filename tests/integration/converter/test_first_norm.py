"""Without labels, the statistics of a model's first batch norm show how its training prepared the samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from windtunnel.converter.convert import convert
from windtunnel.datacheck.findings import Finding
from windtunnel.isolation import ChildPool

pytestmark = [pytest.mark.heavy, pytest.mark.asyncio(loop_scope="module")]


async def found(
    model: Path, x: NDArray[Any], pool: ChildPool, folder: Path, pipeline: Any = None
) -> dict[str, Finding]:
    np.savez(folder / "unlabeled.npz", x=x)
    work = folder / "work"
    done = await convert(model, work, pool, samples=folder / "unlabeled.npz", pipeline=pipeline)
    return {one.code: one for one in done.check.findings}


@pytest.mark.parametrize("name", ["model.keras", "saved_model"])
async def test_values_that_fit_raise_no_alarm(name: str, trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    x = np.load(trained / "samples.npz")["x"]
    assert set(await found(trained / name, x, pool, tmp_path)) == {"accuracy.unknown"}


@pytest.mark.parametrize("name", ["model.keras", "saved_model", "model.h5"])
async def test_integers_that_were_not_normalized(name: str, trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    x = np.rint(np.load(trained / "samples.npz")["x"] * 127.5 + 127.5).astype(np.uint8)

    finding = (await found(trained / name, x, pool, tmp_path))["input.integer_cast"]

    pipeline = finding.evidence["pipeline"]
    assert pipeline["steps"] == [{"op": "normalize", "scale": pytest.approx(1 / 127.5), "offset": -1.0}]
    assert finding.evidence["tried"][0]["score"] < 0.5 < 100 < finding.evidence["tried"][0]["as_given"]
    assert "input.integer_cast" not in await found(trained / name, x, pool, tmp_path, pipeline)


async def test_a_model_without_batch_norm_says_nothing(trained: Path, pool: ChildPool, tmp_path: Path) -> None:
    x = np.load(trained / "samples.npz")["x"]
    assert set(await found(trained / "frozen.pb", x, pool, tmp_path)) == {"accuracy.unknown"}


class _Broken:
    """A function of a model that TensorFlow takes nothing from."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} here")


async def test_an_extra_that_fails_is_logged_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from windtunnel.converter.adapters.first_norm import first_norm

    with caplog.at_level("INFO", logger="windtunnel.converter"):
        assert first_norm(_Broken(), tmp_path / "norm.tflite") is None
    assert "the first batch norm cannot be judged by itself: RuntimeError: no " in caplog.text

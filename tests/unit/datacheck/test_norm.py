"""Values compared with the statistics of a batch norm, with the real interpreter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.linear_digits import TEST, digits, linear_model
from windtunnel.datacheck.check import Given, data_findings
from windtunnel.datacheck.labels import Reading
from windtunnel.datacheck.norm import Moments, NormJudge
from windtunnel.pipeline import Samples, load_samples
from windtunnel.tflite import Runner, input_specs


def samples_of(folder: Path, x: NDArray[np.generic]) -> Samples:
    np.savez(folder / "samples.npz", x=x)
    return load_samples(folder / "samples.npz")


def judged(folder: Path, x: NDArray[np.generic]) -> tuple[Given, NormJudge]:
    """Raw images for a model that takes values from 0 to 1, whose scores are what its batch norm met."""
    runner = Runner(linear_model(folder, 1 / 255, 0.0))
    source, target = runner.facts.inputs[0].name, runner.facts.outputs[0].name
    fed = (digits().raw[TEST] / 255.0).astype(np.float32)[:200]
    met = np.concatenate([runner.run({source: one[None]})[target] for one in fed])
    samples, specs = samples_of(folder, x), tuple(input_specs(runner.facts))
    norm = NormJudge(runner, samples, specs, met.mean(axis=0, dtype=np.float64), met.var(axis=0, dtype=np.float64))
    return Given(runner.facts, specs, samples, None, Reading(None)), norm


def test_what_fits_says_on_how_many_samples_it_was_tried(tmp_path: Path) -> None:
    given, norm = judged(tmp_path, digits().raw[TEST][:40])
    (finding,) = data_findings(given, None, norm)
    assert {one["samples"] for one in finding.evidence["tried"]} == {40}
    assert finding.evidence["pipeline"]["steps"][0]["scale"] == pytest.approx(1 / 255)


@pytest.mark.parametrize("value", [0, 200])
def test_constant_samples_are_judged_without_a_range(value: int, tmp_path: Path) -> None:
    given, norm = judged(tmp_path, np.full((8, 8, 8, 1), value, np.uint8))
    found = data_findings(given, None, norm)
    assert "pipeline" not in "".join(name for one in found for name in one.evidence)


def test_moments_are_those_of_all_values_at_once() -> None:
    rng = np.random.default_rng(3)
    # In float32 a variance of 1 is lost next to a mean of 10,000.
    parts = [(rng.normal(1e4, 1.0, (2, count, 3))).astype(np.float32) for count in (500, 1, 7000)]
    moments = Moments(3)
    for part in parts:
        moments.add(part)
    rows = np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.float64)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(moments.variance, rows.var(axis=0), rtol=1e-7)

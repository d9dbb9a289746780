"""Times that an app recorded: outliers among its frames; long stages are not faults by themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.latency_models import depthwise_chain
from windtunnel.diagnosis.app_diagnosis.judge_latency import judge_layer_times, outlier_frames
from windtunnel.diagnosis.recording.edge_recording import EdgeRecording, EdgeTimes
from windtunnel.tflite import read_model


def recording(total: list[float], stage: list[float]) -> EdgeRecording:
    return EdgeRecording("a", len(total), times=EdgeTimes(np.array(total), stages={"preprocessing": np.array(stage)}))


def test_steady_times_are_right_even_if_a_stage_takes_most() -> None:
    assert outlier_frames(recording([100.0, *[20.0] * 20], [80.0, *[15.0] * 20])) == ()


def test_frames_far_beyond_the_others_are_reported() -> None:
    found = outlier_frames(recording([20.0] * 20 + [300.0], [5.0] * 21))
    assert [one.code for one in found] == ["latency.outliers"] and "1 of 20 frames" in found[0].message


def test_few_frames_say_nothing() -> None:
    assert outlier_frames(recording([1.0, 1.0, 99.0], [1.0, 1.0, 99.0])) == ()


@pytest.mark.parametrize("slow", [False, True])
def test_a_layer_that_takes_much_longer_than_its_peers(slow: bool, tmp_path: Path) -> None:
    facts = read_model(depthwise_chain(tmp_path / "chain.tflite"))
    names = [facts.tensors[op.outputs[0]].name for op in facts.ops]
    times = {name: np.full(5, 1.0) for name in names}
    if slow:
        times[names[4]] = np.full(5, 30.0)
    found = judge_layer_times(facts, EdgeRecording("a", 5, times=EdgeTimes(layers=times)))
    assert [(str(one.code), one.layer) for one in found] == ([("latency.straggler", names[4])] if slow else [])

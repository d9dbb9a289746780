"""Two edge logs are compared frame by frame: exactly with values, by estimate with statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.edge_logs import LogFile, frame, tensor
from windtunnel.diagnosis.edge_logs.compare_sessions import (
    NOT_RECORDED,
    TEXT_DIFFERS,
    SessionDiff,
    TensorDiff,
    compare_sessions,
)
from windtunnel.diagnosis.edge_logs.tensor_figures import figures_of
from windtunnel.diagnosis.recording.decode_frames import decode_frame
from windtunnel.diagnosis.recording.edge_log import EdgeSession
from windtunnel.diagnosis.recording.read_sessions import read_sessions
from windtunnel.v1 import edge_pb2 as pb

RANDOM = np.random.default_rng(20261130)
FED = RANDOM.uniform(-1, 1, (6, 40, 50)).astype(np.float32)
NOISE = RANDOM.normal(0, 0.1, FED.shape).astype(np.float32)


def _session(folder: Path, *frames: pb.EdgeFrame) -> EdgeSession:
    return read_sessions(LogFile(frames).write(folder))[0]


def _compared(folder: Path, first: list[pb.EdgeFrame], second: list[pb.EdgeFrame]) -> SessionDiff:
    return compare_sessions(_session(folder / "a", *first), _session(folder / "b", *second))


def _only(found: SessionDiff) -> TensorDiff:
    assert len(found.tensors) == 1
    return found.tensors[0]


def test_values_give_the_exact_error(tmp_path: Path) -> None:
    first = [frame(number, tensor("input", row)) for number, row in enumerate(FED)]
    second = [frame(number, tensor("input", row)) for number, row in enumerate(FED + NOISE)]
    found = _only(_compared(tmp_path, first, second))
    expected = np.sqrt(np.mean(np.float64(FED + NOISE) - np.float64(FED)) ** 2 + np.var(np.float64(FED + NOISE) - FED))
    span = max(np.ptp(FED), np.ptp(FED + NOISE))
    assert found.rmse == pytest.approx(expected, rel=1e-6) and found.nrmse == pytest.approx(expected / span, rel=1e-6)
    assert found.relative_error == 0 and found.frames == 6 and found.problem is None
    per_frame = [np.sqrt(np.mean(np.square(row, dtype=np.float64))) for row in (FED + NOISE) - FED]
    assert [one.rmse for one in found.errors] == pytest.approx(per_frame, rel=1e-5)
    assert found.worst is not None and found.worst.frame == int(np.argmax(per_frame))


def test_equal_values_have_no_error(tmp_path: Path) -> None:
    frames = [frame(number, tensor("input", row)) for number, row in enumerate(FED)]
    assert _only(_compared(tmp_path, frames, frames)).nrmse == 0.0


def _with_projection(row: np.ndarray, scale: float = 0, zero_point: int = 0) -> pb.EdgeTensor:
    """A tensor whose statistics are those of our formulas, without its values."""
    full = tensor("input", row, scale=scale, zero_point=zero_point)
    session = frame(0, full)
    decoded = decode_frame(session.SerializeToString())
    assert decoded is not None
    figures = figures_of(decoded[0].tensors[0])
    assert figures is not None
    full.data = b""
    for name in ("count", "non_finite", "min", "max", "mean", "std"):
        setattr(full.statistics, name, getattr(figures, name))
    full.statistics.projection.extend(figures.projection)
    return full


@pytest.mark.parametrize("values_in_second", [False, True])
def test_statistics_estimate_the_error(tmp_path: Path, values_in_second: bool) -> None:
    first = [frame(number, _with_projection(row)) for number, row in enumerate(FED)]
    moved = FED + NOISE
    second = [
        frame(number, tensor("input", row) if values_in_second else _with_projection(row))
        for number, row in enumerate(moved)
    ]
    found = _only(_compared(tmp_path, first, second))
    exact = float(np.sqrt(np.mean(np.square(NOISE, dtype=np.float64))))
    assert found.rmse is not None and found.relative_error == pytest.approx(0.072, abs=0.001)
    assert abs(found.rmse / exact - 1) < 4 * found.relative_error
    assert found.rmse != pytest.approx(exact, rel=1e-9), "an estimate"


def test_integers_are_compared_as_real_numbers(tmp_path: Path) -> None:
    stored = RANDOM.integers(-100, 100, (2, 500), dtype=np.int8)
    shifted = (stored + 20).astype(np.int8)
    for number, (one, other) in enumerate(
        [
            (
                tensor("layer", stored[0], "a", scale=0.5, zero_point=3),
                tensor("layer", shifted[0], "a", scale=0.5, zero_point=23),
            ),
            (_with_projection(stored[0], 0.5, 3), _with_projection(shifted[0], 0.5, 23)),
        ]
    ):
        found = _only(_compared(tmp_path / str(number), [frame(0, one)], [frame(0, other)]))
        assert found.rmse == pytest.approx(0, abs=1e-3)
    other = tensor("layer", shifted[0], "a", scale=0.5, zero_point=3)
    same = tensor("layer", stored[0], "a", scale=0.5, zero_point=3)
    assert _only(_compared(tmp_path / "c", [frame(0, same)], [frame(0, other)])).rmse == pytest.approx(10.0)


def test_what_has_no_figure_says_why(tmp_path: Path) -> None:
    cases = {
        "shape_differs": (FED[0], FED[0][:30]),
        "non_finite": (FED[0], np.full_like(FED[0], np.nan)),
        "constant_differs": (np.full(3, 1.0), np.full(3, 2.0)),
        TEXT_DIFFERS: ("a", "b"),
    }
    for said, (one, other) in cases.items():
        found = _only(_compared(tmp_path / said, [frame(0, tensor("raw", one))], [frame(0, tensor("raw", other))]))
        assert found.nrmse is None and str(found.problem).startswith(said)


def test_frames_are_paired_by_number_or_else_in_order(tmp_path: Path) -> None:
    first = [frame(number, tensor("input", FED[number])) for number in (0, 2, 4)]
    second = [frame(number, tensor("input", FED[number])) for number in (2, 3, 4)]
    found = _compared(tmp_path / "number", first, second)
    assert found.pairs == ((2, 2), (4, 4)) and found.by_number and found.alone == (1, 1)
    assert _only(found).nrmse == 0.0
    later = [frame(number + 100, tensor("input", FED[number])) for number in (0, 2, 4)]
    found = _compared(tmp_path / "order", first, later)
    assert found.pairs == ((0, 100), (2, 102), (4, 104)) and not found.by_number and found.notes
    assert _only(found).nrmse == 0.0


def test_tensors_of_one_log_are_named(tmp_path: Path) -> None:
    one = frame(0, tensor("input", FED[0]), tensor("output", FED[0], "a"))
    other = frame(0, tensor("input", FED[0]), tensor("output", FED[0], "b"))
    found = _compared(tmp_path, [one], [other])
    assert [(key[1], side) for key, side in found.unmatched] == [("a", "first"), ("b", "second")]


@pytest.mark.parametrize("other", ["cpp", "java"])
def test_the_monitors_of_all_languages_record_the_same(other: str) -> None:
    golden = Path(__file__).parents[3] / "data/edge_golden"
    sessions = [read_sessions(golden / f"{language}.mcap")[0] for language in ("python", other)]
    found = compare_sessions(sessions[0], sessions[1])
    assert len(found.pairs) == 3 and not found.unmatched and len(found.tensors) > 15
    assert [(one.name, one.problem, one.nrmse) for one in found.tensors if one.problem or (one.nrmse or 0) > 1e-5] == []


def test_frames_without_values_do_not_hide_the_others(tmp_path: Path) -> None:
    figures = frame(1, tensor("raw", "x", with_values=False), level=pb.EDGE_LEVEL_STATISTICS)
    found = _only(
        _compared(tmp_path / "a", [frame(0, tensor("raw", "x")), figures], [frame(0, tensor("raw", "x")), figures])
    )
    assert found.problem is None and found.frames == 1
    assert _only(_compared(tmp_path / "b", [figures], [figures])).problem == NOT_RECORDED

"""Notes on what quantization costs a layer: each where it is made, none on floats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.fault_runs import tensor_wise
from support.quantized import calibrated, change_range, images, small_network, written
from windtunnel.diagnosis import compare_models

Notes = dict[str, dict[str, dict[str, Any]]]
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`:UserWarning")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32.tflite, int8.tflite and samples.npz."""
    return written(tmp_path_factory.mktemp("why"))


def _notes(reference: Path, candidate: Path, samples: Path | None) -> Notes:
    """Notes by layer and kind; a kind comes once per layer."""
    result = compare_models(reference, candidate, samples)
    found: Notes = {}
    for layer in result.layers:
        notes = layer.why
        assert all(isinstance(note["text"], str) and note["text"] for note in notes)
        found[layer.name] = {note["kind"]: dict(note) for note in notes}
        assert len(found[layer.name]) == len(notes)
    return found


def _have(notes: Notes, kind: str) -> set[str]:
    return {layer for layer, found in notes.items() if kind in found}


def test_floats_have_no_notes(models: Path) -> None:
    notes = _notes(models / "float32.tflite", models / "float32.tflite", models / "samples.npz")
    assert len(notes) == 7
    assert all(found == {} for found in notes.values())


def test_float16_has_no_notes(models: Path, tmp_path: Path) -> None:
    half = calibrated(models / "float32.tflite", tmp_path / "c.tflite", "float16", images(1, 1))
    notes = _notes(models / "float32.tflite", half, models / "samples.npz")
    assert all(found == {} for found in notes.values())


def test_a_well_calibrated_model_has_only_its_rounding(models: Path) -> None:
    notes = _notes(models / "float32.tflite", models / "int8.tflite", models / "samples.npz")
    assert {kind for found in notes.values() for kind in found} == {"rounding"}
    # A layer whose error is only that of storing it.
    share = notes["conv_1"]["rounding"]["share"]
    assert 0.6 < share <= 1.0
    step = notes["conv_1"]["rounding"]["step"]
    # In a uniform step an error has a root mean square of a twelfth root of it.
    result = compare_models(models / "float32.tflite", models / "int8.tflite", models / "samples.npz")
    layer = next(one for one in result.layers if one.name == "conv_1")
    assert layer.local_rmse is not None
    assert 0.3 * step / np.sqrt(12) < layer.local_rmse < 1.2 * step / np.sqrt(12)


@pytest.mark.parametrize("name", ["conv_2", "logits"])
@pytest.mark.parametrize(("factor", "kind", "other"), [(0.3, "clipped", "wide"), (3.0, "wide", "clipped")])
def test_a_range_that_does_not_fit(
    models: Path, tmp_path: Path, name: str, factor: float, kind: str, other: str
) -> None:
    bad = change_range(models / "int8.tflite", tmp_path / "c.tflite", (name,), factor=factor)
    notes = _notes(models / "float32.tflite", bad, models / "samples.npz")
    assert _have(notes, kind) == {name}
    assert _have(notes, other) == set()
    note = notes[name][kind]
    if kind == "wide":
        assert note["held_to_seen"] == pytest.approx(factor, rel=0.02)
    else:
        assert note["values_outside"] > 0.01
        assert note["seen"][0] < note["held"][0]
        assert note["seen"][1] > note["held"][1]


def test_ranges_of_random_inputs_are_no_note(models: Path, tmp_path: Path) -> None:
    bad = change_range(models / "int8.tflite", tmp_path / "c.tflite", ("conv_2",), factor=3.0)
    notes = _notes(models / "float32.tflite", bad, None)
    assert {kind for found in notes.values() for kind in found} & {"wide", "clipped", "outlier_range"} == set()


def _quantized(folder: Path, variant: str, rules: Any = None, *, hot: float = 1.0, unlike: float = 1.0) -> Notes:
    """Notes of a variant; `hot` is the factor of one pixel of one image."""
    x = images(16, 2)
    x[3, 4, 4] *= np.float32(hot)
    reference = small_network(folder / "r.tflite", unlike=unlike)
    candidate = calibrated(reference, folder / "c.tflite", variant, x, rules)
    np.savez(folder / "s.npz", x=x)
    return _notes(reference, candidate, folder / "s.npz")


def test_outliers_set_a_range(tmp_path: Path) -> None:
    """One pixel of one image 60 times as large as the others: all the rest shares a few steps."""
    notes = _quantized(tmp_path, "int8", hot=60.0)
    assert "conv_1" in _have(notes, "outlier_range")
    assert 0.0 < notes["conv_1"]["outlier_range"]["deviation_steps"] < 9.0
    assert not _have(_quantized(tmp_path, "int8"), "outlier_range")
    # 16 bits have steps enough.
    assert not _have(_quantized(tmp_path, "int16x8", hot=60.0), "outlier_range")


def test_one_scale_for_unlike_channels(tmp_path: Path) -> None:
    rules = tensor_wise(".*", "CONV_2D", "int8")
    notes = _quantized(tmp_path, "int8", rules, unlike=0.2)
    assert _have(notes, "per_tensor") == {"conv_3"}
    ratio = notes["conv_3"]["per_tensor"]["largest_to_median_channel"]
    assert 3.0 < ratio < 7.0
    # Similar channels lose nothing by one scale, different ones lose nothing with a scale each.
    assert _have(_quantized(tmp_path, "int8", rules), "per_tensor") == set()
    assert _have(_quantized(tmp_path, "int8", unlike=0.2), "per_tensor") == set()


def test_four_bits_of_weights(tmp_path: Path) -> None:
    notes = _quantized(tmp_path, "int4")
    assert _have(notes, "weights_rounding") >= {"conv_1", "conv_2", "conv_3", "logits"}
    note = notes["conv_2"]["weights_rounding"]
    assert note["dtype"] == "int4"
    # 15 steps over twice the largest weight: about a tenth of a channel's size.
    assert 0.05 < note["relative_error"] < 0.2
    assert not _have(_quantized(tmp_path, "dynamic_range"), "weights_rounding")


def test_sixteen_bits_of_activations(tmp_path: Path) -> None:
    notes = _quantized(tmp_path, "int16x8")
    assert _have(notes, "int16x8") == {"conv_1", "conv_2", "conv_3", "logits"}
    assert 0.0 < notes["conv_1"]["int16x8"]["relative_error"] < 0.03
    # Storing an activation costs nothing where weights lose more; what only stores has nothing else to lose.
    assert _have(notes, "rounding") <= {"pooled", "flat"}


@pytest.mark.parametrize("make", [lambda f: _quantized(f, "int8"), lambda f: _quantized(f, "dynamic_range")])
def test_eight_bits_have_no_note_of_sixteen(tmp_path: Path, make: Callable[[Path], Notes]) -> None:
    assert _have(make(tmp_path), "int16x8") == set()

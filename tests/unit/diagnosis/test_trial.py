"""The errors of a fixed candidate, by layers and at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from support.graphs import DenseWeights, dense_model
from support.layers import Layers, options, random_samples, random_weights
from support.quantized import calibrated, change_range, images, small_network
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.execution.patched_runs import LiveTrials
from windtunnel.diagnosis.execution.runnable_pair import open_pair
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.graph import match_layers
from windtunnel.diagnosis.static.suspect import Patch
from windtunnel.diagnosis.thresholds.execution_thresholds import OUTPUT_SAMPLES
from windtunnel.tflite import Quantization, Runner, read_model
from windtunnel.tflite.edit import Editor

WEIGHTS = DenseWeights.random()
NOISY = replace(WEIGHTS, second=WEIGHTS.second + random_weights((16, 16), seed=9, scale=0.2))


@contextmanager
def _trials(reference: Path, candidate: Path, samples: Path) -> Iterator[LiveTrials]:
    ours, theirs = read_model(reference), read_model(candidate)
    matching = match_layers(ours, theirs)
    given = feed(samples, None, ours, theirs)
    with open_pair(matching, next(iter(given)), synthetic=False, threads=1, accelerator="builtin") as reach:
        yield LiveTrials(reach, given, matching, matching.pairs, given.count, threads=1, accelerator="builtin")


def _mend(editor: Editor) -> None:
    editor.set_constant(editor.facts.ops[1].inputs[1], WEIGHTS.second)


def _nothing(_: Editor) -> None:
    pass


def _refused(editor: Editor) -> None:
    """A bias for 4 channels of 16."""
    inputs = list(editor.facts.ops[1].inputs)
    inputs[2] = editor.facts.ops[2].inputs[2]
    editor.set_inputs(1, inputs)


def _logits(path: Path, x: NDArray[np.float32], name: str = "logits") -> NDArray[np.float64]:
    runner = Runner(path, accelerator="none", preserve_all=True)
    rows = []
    for row in x:
        runner.run({"input": row[None]})
        rows.append(next(layer.array for layer in runner.layers() if layer.name == name).astype(np.float64))
    return np.concatenate(rows)


def test_the_error_falls_to_nothing_once_mended(tmp_path: Path, dense: Path, samples: Path) -> None:
    bad = dense_model(tmp_path / "c.tflite", NOISY)
    with _trials(dense, bad, samples) as trials:
        assert trials.outputs(_mend) == [0.0]
        (before,) = trials.outputs()
    x = np.load(samples)["x"][:OUTPUT_SAMPLES]
    one, other = _logits(dense, x), _logits(bad, x)
    span = max(np.ptp(one), np.ptp(other))
    assert before == pytest.approx(np.sqrt(np.square(one - other).mean()) / span, rel=1e-5)


def test_a_change_that_mends_nothing_leaves_the_error(tmp_path: Path, dense: Path, samples: Path) -> None:
    with _trials(dense, dense_model(tmp_path / "c.tflite", NOISY), samples) as trials:
        assert trials.outputs(_nothing) == trials.outputs()


def test_layers_by_themselves_once_mended(tmp_path: Path, dense: Path, samples: Path) -> None:
    bad = dense_model(tmp_path / "c.tflite", NOISY)
    outputs = [op.outputs[0] for op in read_model(bad).ops]
    with _trials(dense, bad, samples) as trials:
        found = trials.try_layers(_mend)
    assert found is not None
    before, after = found
    own = [before[index].nrmse for index in outputs]
    assert own[1] is not None
    assert own[1] > 0.05
    assert [own[0], *own[2:]] == [0.0, 0.0, 0.0]
    assert [after[index].nrmse for index in outputs] == [0.0] * 4


def test_before_and_after_are_of_the_same_samples(tmp_path: Path, dense: Path, samples: Path) -> None:
    """Over fewer samples a layer has a smaller range, and its error is a larger part of it."""
    bad = dense_model(tmp_path / "c.tflite", NOISY)
    with _trials(dense, bad, samples) as trials:
        found = trials.try_layers(_nothing)
    assert found is not None
    assert found[0] == found[1]


def test_a_cause_has_the_figures_of_the_same_samples(tmp_path: Path) -> None:
    """A last layer of a few values loses one bit: the gain shows only where both figures have one range."""
    reference = small_network(tmp_path / "r.tflite")
    clean = calibrated(reference, tmp_path / "clean.tflite", "int8", images(100, 1))
    np.savez(tmp_path / "s.npz", x=images(100, 2))
    bad = change_range(clean, tmp_path / "c.tflite", ("logits",), factor=2.0)
    (cause,) = compare_models(reference, bad, tmp_path / "s.npz").causes
    assert (cause.code, cause.layer) == ("quantization.parameters", "logits")
    assert cause.evidence["local_nrmse_mended"] < cause.evidence["local_nrmse"]


def test_an_own_error_is_a_share_of_the_same_range_as_that_of_the_layer(tmp_path: Path) -> None:
    """A layer that reads the model's input has no error but its own."""
    good, bad = _two_ends(tmp_path / "r.tflite", 0.0, 0.0), _two_ends(tmp_path / "c.tflite", 2.0, 0.0)
    result = compare_models(good, bad, random_samples(tmp_path / "s.npz", (8,)))
    layer = result.layers[0]
    assert layer.name == "one"
    assert layer.local_rmse == pytest.approx(layer.metrics["rmse"], rel=1e-6)
    assert layer.local_nrmse == pytest.approx(layer.nrmse, rel=1e-6)


def test_what_the_runtime_refuses_is_unknown(tmp_path: Path, dense: Path, samples: Path) -> None:
    with _trials(dense, dense_model(tmp_path / "c.tflite", NOISY), samples) as trials:
        assert trials.try_output(_refused) is None
        assert trials.try_layers(_refused) is None
        # It does no harm to the next trial.
        assert trials.outputs(_mend) == [0.0]


def _closed(path: Path, shift: float, closing: Sequence[str], activation: str = "NONE") -> Path:
    """Dense layers whose logits are all moved by `shift`, and ops after them that show less of it, or nothing."""
    net = Layers()
    source = net.tensor("input", (1, 8))
    hidden = net.fully_connected("hidden", source, random_weights((8, 8)), np.zeros(8, np.float32), 1, "RELU")
    bias = np.full(4, shift, np.float32)
    at = net.fully_connected("logits", hidden, random_weights((4, 8), seed=1), bias, 1, activation)
    for op in closing:
        if op == "RESHAPE":
            at = net.reshape("reshaped", at, (1, 2, 2))
        else:
            made = options("Softmax", beta=1.0) if op == "SOFTMAX" else None
            at = net.layer(op, op.lower(), [at], (1, 2, 2) if "RESHAPE" in closing else (1, 4), made)
    return net.write(path, [source], [at])


@pytest.mark.parametrize("closing", [(), ("SOFTMAX",), ("LOGISTIC",), ("LOG_SOFTMAX",)], ids=lambda ops: "+".join(ops))
def test_a_closing_op_is_looked_through(tmp_path: Path, closing: tuple[str, ...]) -> None:
    """A softmax takes away what all logits have in common; the layer before it counts."""
    good = _closed(tmp_path / "r.tflite", 0.0, closing)
    bad = _closed(tmp_path / "c.tflite", 3.0, closing)
    samples = random_samples(tmp_path / "s.npz", (8,))
    x = np.load(samples)["x"]
    span = max(np.ptp(_logits(good, x)), np.ptp(_logits(bad, x)))

    def mend(editor: Editor) -> None:
        editor.set_constant(editor.facts.ops[1].inputs[2], np.zeros(4, np.float32))

    with _trials(good, bad, samples) as trials:
        assert trials.outputs() == [pytest.approx(3.0 / span, rel=1e-4)]
        assert trials.outputs(mend) == [0.0]


def test_shaping_before_a_closing_op_is_looked_through(tmp_path: Path) -> None:
    good = _closed(tmp_path / "r.tflite", 0.0, ("RESHAPE", "SOFTMAX"))
    bad = _closed(tmp_path / "c.tflite", 3.0, ("RESHAPE", "SOFTMAX"))
    with _trials(good, bad, random_samples(tmp_path / "s.npz", (8,))) as trials:
        (error,) = trials.outputs()
    assert error is not None
    assert error > 0.2


def _two_ends(path: Path, first: float, second: float) -> Path:
    net = Layers()
    source = net.tensor("input", (1, 8))
    ends = [
        net.fully_connected(name, source, random_weights((4, 8), seed=seed), np.full(4, shift, np.float32), 1)
        for name, seed, shift in (("one", 1, first), ("two", 2, second))
    ]
    return net.write(path, [source], ends)


def test_the_worst_of_several_outputs_counts_or_the_one_that_is_moved(tmp_path: Path) -> None:
    samples = random_samples(tmp_path / "s.npz", (8,))
    reference = _two_ends(tmp_path / "r.tflite", 0.0, 0.0)
    bad = _two_ends(tmp_path / "c.tflite", 2.0, 0.5)

    def mend(op: int) -> Patch:
        return lambda editor: editor.set_constant(editor.facts.ops[op].inputs[2], np.zeros(4, np.float32))

    with _trials(reference, bad, samples) as trials:
        first, second = trials.outputs()
        moved = trials.try_output(mend(0)), trials.try_output(mend(1))
    assert first is not None
    assert second is not None
    assert first > 2 * second > 0.02
    assert moved == ((first, second), (second, 0.0))


def test_a_quantized_candidate_is_as_good_as_its_clean_copy_once_mended(tmp_path: Path) -> None:
    """A fix is judged by the whole model: what is left is what its precision costs."""
    reference = small_network(tmp_path / "r.tflite")
    clean = calibrated(reference, tmp_path / "clean.tflite", "int8", images(16, 2))
    bad = change_range(clean, tmp_path / "c.tflite", ("conv_2",), factor=0.25)
    np.savez(tmp_path / "s.npz", x=images(16, 2))
    facts = read_model(clean)

    def mend(editor: Editor) -> None:
        for tensor in facts.tensors:
            changed = editor.facts.tensors[tensor.index].quantization != tensor.quantization
            if changed and tensor.quantization is not None:
                editor.set_quantization(tensor.index, tensor.quantization)
            if tensor.is_constant and tensor.dtype == "int32" and changed:
                editor.set_constant(tensor.index, facts.constant(tensor))

    with _trials(reference, clean, tmp_path / "s.npz") as trials:
        (expected,) = trials.outputs()
    with _trials(reference, bad, tmp_path / "s.npz") as trials:
        (before,), (after,) = trials.outputs(), trials.outputs(mend)
    assert expected is not None
    assert before is not None
    assert 0.0 < expected < 0.05
    assert before > 3 * expected
    assert after == pytest.approx(expected, rel=1e-6)


def test_a_mended_scale_reads_back_under_its_new_meaning(tmp_path: Path) -> None:
    """The error at the end is in real numbers: another scale alone of the last layer does not change its values."""
    reference = small_network(tmp_path / "r.tflite")
    clean = calibrated(reference, tmp_path / "clean.tflite", "int8", images(16, 2))
    np.savez(tmp_path / "s.npz", x=images(16, 2))
    (logits,) = (tensor for tensor in read_model(clean).tensors if tensor.name == "logits")
    assert logits.quantization is not None
    wider = Quantization((logits.quantization.scales[0] * 1.5,), logits.quantization.zero_points)
    with _trials(reference, clean, tmp_path / "s.npz") as trials:
        (before,) = trials.outputs()
        (after,) = trials.outputs(lambda editor: editor.set_quantization(logits.index, wider))
    assert before is not None
    assert after is not None
    assert after < 3 * before

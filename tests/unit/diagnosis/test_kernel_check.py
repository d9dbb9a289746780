"""A layer that is wrong on one accelerator only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.graphs import DenseWeights, dense_model
from support.layers import random_weights
from support.quantized import calibrated, images, small_network
from windtunnel.diagnosis import compare_models
from windtunnel.diagnosis.execution.patched_runs import OTHER_KERNELS, LiveTrials
from windtunnel.diagnosis.execution.runnable_pair import open_pair
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.graph import Matching, match_layers
from windtunnel.diagnosis.numerics.isolated_sums import Local
from windtunnel.diagnosis.rules.kernel_causes import kernel_causes, kernels_excluded
from windtunnel.tflite import Accelerator, read_model
from windtunnel.tflite.edit import Editor

NAMES = ("hidden_1", "hidden_2", "logits", "probabilities")
pytestmark = pytest.mark.filterwarnings("ignore:Warning. Enabling `experimental_preserve_all_tensors`:UserWarning")


@pytest.fixture
def matching(dense: Path) -> Matching:
    return match_layers(read_model(dense), read_model(dense))


def _local(nrmse: float | None, rmse: float | None = None) -> Local:
    return Local(samples=4, nrmse=nrmse, rmse=nrmse if rmse is None else rmse, max_abs=rmse, low=-1.0, high=1.0)


def _of(matching: Matching, *errors: float | Local | None) -> dict[int, Local]:
    """Isolated errors of the layers in execution order."""
    assert matching.candidate is not None
    outputs = [op.outputs[0] for op in matching.candidate.facts.ops]
    made = [one if isinstance(one, Local) else _local(one) for one in errors]
    return dict(zip(outputs, made, strict=False))


def test_wrong_here_and_right_there(matching: Matching) -> None:
    local, other = _of(matching, 0.0, 0.4, 0.0, 0.0), _of(matching, 0.0, 1e-6, 0.0, 0.0)
    (cause,) = kernel_causes(matching, local, other, "xnnpack")
    assert (cause.code, cause.layer, cause.op_index, cause.verified) == ("kernel", "hidden_2", 1, True)
    assert cause.evidence == {
        "local_nrmse": 0.4,
        "local_nrmse_on_other_kernels": 1e-6,
        "kernels": "xnnpack",
        "other_kernels": "none",
    }
    assert cause.fix["op"] == "FULLY_CONNECTED"
    assert "xnnpack" in cause.fix["action"]


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (0.4, 0.4),
        (0.4, 0.3),
        # Right here and wrong there is a fault of kernels that nobody uses.
        (0.0, 0.4),
        (1e-5, 0.0),
        (0.0, 0.0),
        # Not five times.
        (0.4, 0.09),
    ],
)
def test_a_fault_of_the_file_shows_on_both(matching: Matching, here: float, there: float) -> None:
    local, other = _of(matching, 0.0, here, 0.0, 0.0), _of(matching, 0.0, there, 0.0, 0.0)
    assert kernel_causes(matching, local, other, "builtin") == ()


def test_five_times_as_wrong_is_enough(matching: Matching) -> None:
    local, other = _of(matching, 0.4), _of(matching, 0.07)
    assert [cause.layer for cause in kernel_causes(matching, local, other, "builtin")] == ["hidden_1"]


def test_nan_on_one_only(matching: Matching) -> None:
    nan = Local(samples=0, nrmse=None, rmse=None, max_abs=None, low=-1.0, high=1.0)
    local, other = _of(matching, 0.0, 0.0, nan), _of(matching, 0.0, 0.0, 0.0)
    (cause,) = kernel_causes(matching, local, other, "builtin")
    assert (cause.code, cause.layer, cause.op_index) == ("kernel", "logits", 2)
    assert cause.evidence["non_finite"] == {"op": "FULLY_CONNECTED"}
    assert cause.evidence["local_nrmse"] is None
    assert kernel_causes(matching, local, _of(matching, 0.0, 0.0, nan), "builtin") == ()
    assert kernel_causes(matching, _of(matching, 0.0, 0.0, 0.0), local, "builtin") == ()


def test_a_constant_that_differs_has_no_figure_and_is_no_nan(matching: Matching) -> None:
    constant = Local(samples=4, nrmse=None, rmse=0.5, max_abs=0.5, low=1.0, high=1.0)
    assert kernel_causes(matching, _of(matching, constant), _of(matching, 0.0), "builtin") == ()


def test_the_gravest_comes_first(matching: Matching) -> None:
    nan = Local(samples=0, nrmse=None, rmse=None, max_abs=None, low=-1.0, high=1.0)
    local, other = _of(matching, 0.1, 0.3, nan, 0.2), _of(matching, 0.0, 0.0, 0.0, 0.0)
    found = kernel_causes(matching, local, other, "builtin")
    assert [cause.layer for cause in found] == ["logits", "hidden_2", "probabilities", "hidden_1"]


def test_what_was_run_on_one_set_only_says_nothing(matching: Matching) -> None:
    assert kernel_causes(matching, _of(matching, 0.4), {}, "builtin") == ()
    assert kernels_excluded(_of(matching, 0.0), {}, "builtin") == ()
    assert kernels_excluded({}, _of(matching, 0.0), "builtin") == ()


def test_an_input_has_no_kernel(matching: Matching) -> None:
    assert matching.candidate is not None
    (source,) = matching.candidate.facts.main.input_indices
    assert kernel_causes(matching, {source: _local(0.5)}, {source: _local(0.0)}, "builtin") == ()


def test_integers_may_differ_more(tmp_path: Path) -> None:
    reference = small_network(tmp_path / "r.tflite")
    candidate = calibrated(reference, tmp_path / "c.tflite", "int8", images(8, 2))
    matching = match_layers(read_model(reference), read_model(candidate))
    assert matching.candidate is not None
    (index,) = (pair.candidate.tensor.index for pair in matching.pairs if pair.candidate.tensor.name == "conv_2")
    for error, expected in ((0.01, []), (0.05, ["conv_2"])):
        found = kernel_causes(matching, {index: _local(error)}, {index: _local(1e-4)}, "builtin")
        assert [cause.layer for cause in found] == expected


@pytest.mark.parametrize("accelerator", ["builtin", "xnnpack"])
def test_a_clean_pair_excludes_kernels(dense: Path, samples: Path, accelerator: Accelerator) -> None:
    result = compare_models(dense, dense, samples, accelerator=accelerator)
    assert result.causes == ()
    (why,) = (one.why for one in result.excluded if one.code == "kernel")
    assert why.startswith("4 layers run in isolation")
    assert f"on {accelerator} kernels than on {OTHER_KERNELS[accelerator]}" in why


@pytest.mark.parametrize("variant", ["int8", "dynamic_range", "float16"])
def test_a_clean_quantized_pair_excludes_kernels(tmp_path: Path, variant: str) -> None:
    reference = small_network(tmp_path / "r.tflite")
    candidate = calibrated(reference, tmp_path / "c.tflite", variant, images(16, 2))
    np.savez(tmp_path / "s.npz", x=images(16, 2))
    result = compare_models(reference, candidate, tmp_path / "s.npz")
    assert result.causes == ()
    assert "kernel" in {one.code for one in result.excluded}


def test_a_fault_of_the_file_is_not_blamed_on_kernels(tmp_path: Path, dense: Path, samples: Path) -> None:
    weights = DenseWeights.random()
    bad = replace(weights, second=weights.second + random_weights((16, 16), seed=9, scale=0.3))
    result = compare_models(dense, dense_model(tmp_path / "c.tflite", bad), samples)
    assert [cause.code for cause in result.causes] == ["conversion.weights"]
    assert "kernel" in {one.code for one in result.excluded}


def test_a_kernel_that_ignores_an_activation(tmp_path: Path, dense: Path, samples: Path) -> None:
    """The same file on two accelerators; a copy without the activation plays one of them."""
    facts = read_model(dense)
    matching = match_layers(facts, facts)
    given = feed(samples, None, facts, facts)

    def ignore(editor: Editor) -> None:
        editor.set_options(0, fused_activation_function="NONE")

    with open_pair(matching, next(iter(given)), synthetic=False, threads=1, accelerator="builtin") as reach:
        trials = LiveTrials(reach, given, matching, matching.pairs, given.count, threads=1, accelerator="builtin")
        local, other = trials.layers(4, ignore), trials.other_kernels(4)
    (cause,) = kernel_causes(matching, local, other, "builtin")
    assert (cause.layer, cause.op_index) == ("hidden_1", 0)
    assert cause.evidence["local_nrmse"] > 0.1
    assert cause.evidence["local_nrmse_on_other_kernels"] < 1e-5

"""Models that are not tame: compared as far as possible, the rest named, no false alarm, and a fault still found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import wild_models
from support.fault_runs import quantize, ranges, samples_of
from windtunnel.diagnosis import Comparison, compare_models
from windtunnel.diagnosis.comparison.survive_crashes import explain_crash
from windtunnel.diagnosis.execution.checkpoint import Checkpoint
from windtunnel.errors import JobFailed, Unsupported
from windtunnel.isolation import ChildPool
from windtunnel.tflite import read_model
from windtunnel.tflite.edit import Editor

# It calibrates no control flow and no infinity, and feeds no scalars, text or open sizes.
_UNCALIBRATED = {
    "while_loop",
    "branch",
    "recurrent",
    "signatures",
    "text_in",
    "dynamic_size",
    "many_inputs",
    "log_of_zero",
}
_VARIANTS = [
    (name, variant)
    for name in wild_models.BY_TENSORFLOW
    for variant in ("float16", "dynamic_range", "int8")
    if variant != "int8" or name not in _UNCALIBRATED
]
pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def wild() -> Path:
    return wild_models.make_all()


def _named(result: Comparison) -> list[tuple[str, str | None, int | None, bool]]:
    return [(cause.code, cause.layer, cause.op_index, cause.verified) for cause in result.causes]


def _reasons(result: Comparison) -> dict[str, str]:
    return {one.name: one.reason for one in result.coverage.unmatched}


def _made_by_ops(model: Path) -> list[str]:
    """Names of all tensors that ops of any graph make, counted from the file; handles hold no values."""
    graphs = read_model(model).graphs
    made = [graph.tensors[index] for graph in graphs for op in graph.ops for index in op.outputs if index >= 0]
    return [tensor.name for tensor in made if tensor.dtype != "resource"]


@pytest.mark.parametrize("name", wild_models.BY_TENSORFLOW)
def test_an_identical_copy_is_healthy_and_every_layer_is_accounted_for(wild: Path, tmp_path: Path, name: str) -> None:
    model = wild / f"{name}.tflite"
    result = compare_models(model, model, wild_models.samples(model, tmp_path / "x.npz"))
    assert (result.verdict, result.causes) == ("healthy", ())
    assert result.settings.isolated_problem == ""
    made = _made_by_ops(model)
    assert (result.coverage.compared, result.coverage.total) == (len(result.layers), len(made))
    layers = [layer.name for layer in result.layers]
    assert sorted((*layers, *(one.name for one in result.coverage.unmatched))) == sorted(made)
    assert [one.name for one in result.coverage.unmatched if not one.reason] == []
    assert result.max_nrmse == 0.0


@pytest.mark.parametrize(("name", "variant"), _VARIANTS)
def test_no_false_alarm_on_a_variant(wild: Path, tmp_path: Path, name: str, variant: str) -> None:
    model = wild / f"{name}.tflite"
    samples = wild_models.samples(model, tmp_path / "x.npz", count=12)
    found = ranges(model, samples_of(samples)) if variant == "int8" else None
    result = compare_models(model, quantize(model, tmp_path / "c.tflite", variant, found), samples)
    assert (result.verdict, result.causes) == ("healthy", ())


def test_numbers_drawn_anew_are_the_fault_of_no_kernel(wild: Path, tmp_path: Path) -> None:
    """A range that one draw passes and another does not made every fifth comparison blame a kernel."""
    model = wild / "chance.tflite"
    samples = wild_models.samples(model, tmp_path / "x.npz", count=12)
    for draw in range(16):
        variant = quantize(model, tmp_path / f"{draw}.tflite", "int8", ranges(model, samples_of(samples)))
        assert compare_models(model, variant, samples).causes == ()


@pytest.mark.parametrize("name", wild_models.BY_TENSORFLOW)
def test_a_fault_in_the_tame_part_is_named(wild: Path, tmp_path: Path, name: str) -> None:
    model = wild / f"{name}.tflite"
    bad, layer = wild_models.negated(model, tmp_path / "bad.tflite")
    result = compare_models(model, bad, wild_models.samples(model, tmp_path / "x.npz"))
    assert [(code, place) for code, place, _, _ in _named(result)] == [("conversion.weights", layer)]
    assert result.causes[0].verified
    assert result.verdict != "healthy"


@pytest.mark.parametrize("name", ["text_in", "text_out", "table", "dynamic_size", "while_loop", "recurrent"])
def test_without_samples_text_and_numbers_are_drawn(wild: Path, name: str) -> None:
    model = wild / f"{name}.tflite"
    assert compare_models(model, model, None).verdict == "healthy"


@pytest.mark.parametrize(
    ("name", "layer", "reason"),
    [
        ("text_out", "Identity", "it holds text, no numbers"),
        ("log_of_zero", "Identity", "the reference holds NaN or infinity in"),
        ("chance", "Identity", "it depends on random numbers of RANDOM_STANDARD_NORMAL"),
        ("while_loop", "while", "no op reads it"),
        ("while_loop", "while/Tanh", "it is in body graph of WHILE"),
        ("branch", "cond/matmul", "it is in then graph of IF"),
        ("signatures", "Mean", "it is in the signature 'encode', which was not run"),
    ],
)
def test_what_is_not_compared_is_named(wild: Path, tmp_path: Path, name: str, layer: str, reason: str) -> None:
    model = wild / f"{name}.tflite"
    result = compare_models(model, model, wild_models.samples(model, tmp_path / "x.npz"))
    found = [why for name, why in _reasons(result).items() if name.startswith(layer)]
    assert found, _reasons(result)
    assert found[0].startswith(reason)


def _inner_dense(model: Path) -> list[tuple[int, int]]:
    """(graph, op) of dense layers with constant weights outside the main graph."""
    graphs = read_model(model).graphs
    return [
        (number, op.index)
        for number, graph in enumerate(graphs)
        for op in graph.ops
        if number and op.name == "FULLY_CONNECTED" and graph.tensors[op.inputs[1]].is_constant
    ]


@pytest.mark.parametrize(("name", "count"), [("while_loop", 1), ("recurrent", 4)])
def test_a_fault_in_a_loop_is_named_where_the_loop_is(wild: Path, tmp_path: Path, name: str, count: int) -> None:
    model = wild / f"{name}.tflite"
    found = _inner_dense(model)
    assert len(found) == count
    for graph, op in found:
        bad, inner = wild_models.negated(model, tmp_path / "bad.tflite", op, graph)
        result = compare_models(model, bad, wild_models.samples(model, tmp_path / "x.npz"))
        (cause,) = result.causes
        assert (cause.code, cause.verified) == ("conversion.weights", True)
        assert cause.op_index is not None
        assert read_model(bad).ops[cause.op_index].name == "WHILE"
        assert cause.evidence["inside"]["layer"] == inner


def test_a_fault_in_what_a_loop_is_handed_is_named(wild: Path, tmp_path: Path) -> None:
    """A converter stores them in the main graph, and turns them into floats before the loop."""
    reference = wild / "recurrent.tflite"
    samples = wild_models.samples(reference, tmp_path / "x.npz")
    candidate = wild / "recurrent_float16.tflite"
    assert compare_models(reference, candidate, samples).causes == ()
    editor = Editor(candidate)
    loop = next(op for op in editor.facts.ops if op.name == "WHILE")
    made = {index: op for op in editor.facts.ops for index in op.outputs}
    handed = [editor.facts.tensors[made[index].inputs[0]] for index in loop.inputs if index in made]
    bias = next(one for one in handed if one.dtype == "float16" and len(one.shape) == 1)
    editor.set_constant(bias.index, -editor.facts.constant(bias))
    (cause,) = compare_models(reference, editor.write(tmp_path / "bad.tflite"), samples).causes
    assert (cause.code, cause.op_index) == ("conversion.weights", loop.index)


def test_a_fault_in_another_signature_is_named(wild: Path, tmp_path: Path) -> None:
    model = wild / "signatures.tflite"
    graph, op = _inner_dense(model)[0]
    bad, layer = wild_models.negated(model, tmp_path / "bad.tflite", op, graph)
    result = compare_models(model, bad, wild_models.samples(model, tmp_path / "x.npz"))
    assert _named(result) == [("conversion.weights", layer, op, False)]
    assert "encode" in result.causes[0].evidence["inside"]["graph"]
    assert result.verdict == "degraded"


@pytest.mark.parametrize(("op", "version"), [("Whirl", 1), ("FlexErf", 1), ("ABS", 99)])
def test_an_op_that_the_runtime_lacks_is_left_out_and_named(tmp_path: Path, op: str, version: int) -> None:
    model = wild_models.lacking(tmp_path / "a.tflite", op, version)
    samples = wild_models.samples(model, tmp_path / "x.npz")
    result = compare_models(model, model, samples)
    assert (result.verdict, result.coverage.compared, result.coverage.total) == ("healthy", 2, 4)
    assert _reasons(result) == {
        "odd": f"the runtime lacks {op}",
        "after": f"it depends on {op} 'odd', which the runtime cannot run",
    }
    beside, _ = wild_models.negated(model, tmp_path / "b.tflite", 3)
    assert _named(compare_models(model, beside, samples)) == [("conversion.weights", "beside", 3, True)]
    # After the op nothing runs; the file still shows it.
    after, _ = wild_models.negated(model, tmp_path / "c.tflite", 2)
    assert _named(compare_models(model, after, samples)) == [("conversion.weights", "after", 2, False)]


_NO_KERNEL = "the runtime has no SQUARED_DIFFERENCE for the types of this model"


def test_an_op_that_has_no_kernel_for_the_models_types_is_left_out_and_named(tmp_path: Path) -> None:
    reference = wild_models.squared(tmp_path / "r.tflite", "float32")
    samples = wild_models.samples(reference, tmp_path / "x.npz")
    result = compare_models(reference, wild_models.squared(tmp_path / "c.tflite", "int16"), samples)
    assert (result.verdict, result.causes) == ("degraded", ())
    assert result.reasons == (f"the candidate runs in part only: {_NO_KERNEL}",)
    assert {layer.name for layer in result.layers} == {"dense", "rectified"}
    assert _reasons(result)["squared"] == _NO_KERNEL
    faulty = compare_models(reference, wild_models.squared(tmp_path / "f.tflite", "int16", sign=-1.0), samples)
    assert [(cause.code, cause.layer) for cause in faulty.causes] == [("conversion.weights", "dense")]


def test_an_op_that_the_runtime_lacks_in_a_branch_takes_the_branch_along(wild: Path, tmp_path: Path) -> None:
    model = wild_models.lacking_inside(wild / "branch.tflite", tmp_path / "a.tflite", 1)
    result = compare_models(model, model, wild_models.samples(model, tmp_path / "x.npz"))
    assert result.verdict == "healthy"
    assert result.coverage.compared == 4
    assert "IF runs Whirl, which the runtime lacks" in _reasons(result).values()
    assert "it depends on IF 'cond', which the runtime cannot run" in _reasons(result).values()


def test_an_op_that_the_runtime_lacks_in_a_graph_that_is_not_run(wild: Path, tmp_path: Path) -> None:
    model = wild_models.lacking_inside(wild / "signatures.tflite", tmp_path / "a.tflite", 1)
    result = compare_models(model, model, wild_models.samples(model, tmp_path / "x.npz"))
    assert (result.verdict, result.coverage.compared) == ("healthy", 2)


def test_a_model_of_which_nothing_can_run_is_refused_with_the_op(tmp_path: Path) -> None:
    model = wild_models.lacking(tmp_path / "a.tflite", side=False)
    with pytest.raises(Unsupported, match="Whirl") as caught:
        compare_models(model, model, wild_models.samples(model, tmp_path / "x.npz"))
    assert "every layer depends on Whirl" in caught.value.hint


@pytest.mark.parametrize("name", ["", "same"])
@pytest.mark.parametrize("signature", [True, False])
def test_tensors_without_a_name_of_their_own(tmp_path: Path, name: str, signature: bool) -> None:
    model = wild_models.alike_names(tmp_path / "a.tflite", name, signature=signature)
    samples = wild_models.samples(model, tmp_path / "x.npz")
    result = compare_models(model, model, samples)
    assert (result.verdict, result.coverage.compared, result.settings.isolated_problem) == ("healthy", 3, "")
    bad, _ = wild_models.negated(model, tmp_path / "b.tflite", 1)
    assert [(code, op) for code, _, op, _ in _named(compare_models(model, bad, samples))] == [("conversion.weights", 1)]


def test_inputs_and_outputs_in_another_order(tmp_path: Path) -> None:
    model = wild_models.two_ways(tmp_path / "a.tflite")
    other = wild_models.two_ways(tmp_path / "b.tflite", swapped=True)
    samples = wild_models.samples(model, tmp_path / "x.npz")
    result = compare_models(model, other, samples)
    # All is compared with its twin; that a caller finds the outputs in other places is reported.
    assert (result.coverage.compared, result.output.nrmse) == (4, 0.0)
    assert [cause.code for cause in result.causes] == ["conversion.outputs"]
    bad, _ = wild_models.negated(other, tmp_path / "c.tflite", 1)
    assert ("conversion.weights", "right") in [place[:2] for place in _named(compare_models(model, bad, samples))]


def test_a_model_that_xnnpack_cannot_take_runs_on_the_other_kernels(wild: Path, tmp_path: Path) -> None:
    model = wild / "table.tflite"
    samples = wild_models.samples(model, tmp_path / "x.npz")
    # Its dense layers have no bias, which the delegate of LiteRT 2.3 refuses here.
    candidate = quantize(model, tmp_path / "c.tflite", "dynamic_range", None)
    result = compare_models(model, candidate, samples, accelerator="xnnpack")
    assert result.verdict == "healthy"
    assert result.settings.accelerator == "none"


async def test_a_kernel_that_aborts_is_survived_and_named(tmp_path: Path) -> None:
    reference = wild_models.flat_softmax(tmp_path / "a.tflite", quantized=False)
    candidate = wild_models.flat_softmax(tmp_path / "b.tflite", quantized=True)
    given = (reference, candidate, None, None)
    async with ChildPool(timeout_s=120, memory_mb=4000) as pool:
        with pytest.raises(JobFailed) as caught:
            await pool.run(compare_models, *given, accelerator="reference")
        assert caught.value.how == "signal"
        error = await explain_crash(pool, given, "reference", caught.value)
        assert "SOFTMAX 'probabilities' (op 1) of b.tflite" in error.message
        assert "builtin or xnnpack" in error.hint
        # The pool is as good as before.
        assert (await pool.run(compare_models, *given)).coverage.compared == 2


def _measured(run: Callable[[], Comparison]) -> tuple[Comparison, float]:
    start = time.monotonic()
    return run(), time.monotonic() - start


def test_500_ops(tmp_path: Path) -> None:
    model = wild_models.deep(tmp_path / "a.tflite")
    samples = wild_models.samples(model, tmp_path / "x.npz", count=32)
    result, took = _measured(lambda: compare_models(model, model, samples))
    assert (result.verdict, result.coverage.compared) == ("healthy", 500)
    assert took < 60
    bad, layer = wild_models.negated(model, tmp_path / "b.tflite", 250)
    assert _named(compare_models(model, bad, samples)) == [("conversion.weights", layer, 250, True)]


async def test_200_mb(tmp_path: Path) -> None:
    model = wild_models.heavy(tmp_path / "a.tflite")
    assert model.stat().st_size > 200e6
    samples = wild_models.samples(model, tmp_path / "x.npz", count=4)
    bad, layer = wild_models.negated(model, tmp_path / "b.tflite", 2)
    # The limit is part of the test: twelve times the file; 1.7 GB were measured.
    async with ChildPool(timeout_s=300, memory_mb=2400) as pool:
        result = await pool.run(compare_models, model, bad, samples)
    assert _named(result) == [("conversion.weights", layer, 2, True)]


def test_a_model_with_state_starts_anew_each_time(wild: Path, tmp_path: Path) -> None:
    """Its state is in no checkpoint: continuing from one would give other figures."""
    model = wild / "variable.tflite"
    bad, _ = wild_models.negated(model, tmp_path / "b.tflite")
    samples = wild_models.samples(model, tmp_path / "x.npz")
    checkpoint = Checkpoint(tmp_path / "at.npz", "key", every_s=0.0)
    part = compare_models(model, bad, samples, max_samples=3, checkpoint=checkpoint)
    whole = compare_models(model, bad, samples, checkpoint=checkpoint)
    assert part.samples == 3
    assert whole == compare_models(model, bad, samples)


def test_dropped_ops_keep_all_indices(tmp_path: Path) -> None:
    model = wild_models.lacking(tmp_path / "a.tflite")
    editor = Editor(model)
    editor.drop_ops([1, 2])
    before, after = read_model(model), read_model(editor.write(tmp_path / "b.tflite"))
    assert [op.name for op in after.ops] == ["FULLY_CONNECTED", "CALL_ONCE", "CALL_ONCE", "FULLY_CONNECTED"]
    assert [tensor.name for tensor in after.tensors] == [tensor.name for tensor in before.tensors]
    assert [tensor.name for tensor in after.outputs] == ["beside"]


def _diff(tmp_path: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    command = [Path(sys.executable).with_name("windtunnel"), "diff", *arguments]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_the_command_survives_a_kernel_that_aborts(tmp_path: Path) -> None:
    reference = wild_models.flat_softmax(tmp_path / "a.tflite", quantized=False)
    candidate = wild_models.flat_softmax(tmp_path / "b.tflite", quantized=True)
    process = _diff(tmp_path, reference, candidate, "--accelerator", "reference")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (2, "")
    assert "SOFTMAX 'probabilities' (op 1) of b.tflite" in err
    assert "compare with accelerator builtin or xnnpack" in err


def test_an_interrupted_command_goes_on(tmp_path: Path) -> None:
    model = wild_models.deep(tmp_path / "a.tflite", blocks=40)
    bad, layer = wild_models.negated(model, tmp_path / "b.tflite", 100)
    samples = wild_models.samples(model, tmp_path / "x.npz", count=1500)
    first = _diff(tmp_path, model, bad, "--samples", samples, "--json")
    deadline = time.monotonic() + 60
    # A name that begins with a dot is one that is still being written.
    while not list(tmp_path.glob("cache/windtunnel/diff/[!.]*.npz")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert (first.returncode, "run the same command again to continue" in err) == (130, True)
    second = _diff(tmp_path, model, bad, "--samples", samples, "--json")
    out, err = second.communicate(timeout=240)
    document = json.loads(out)
    assert "continuing an interrupted comparison after" in err
    assert (second.returncode, document["samples"]) == (1, 1500)
    assert [one["place"]["layer"] for one in document["causes"]] == [layer]
    assert not list(tmp_path.glob("cache/windtunnel/diff/*"))

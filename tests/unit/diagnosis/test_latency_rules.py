"""What an op costs, what it should take, and when it is named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from support.graphs import GraphWriter, dense_model
from support.latency_models import depthwise_chain
from windtunnel import schemas
from windtunnel.diagnosis.latency import OpCost, diagnose_latency, op_cost, profile_of_log
from windtunnel.diagnosis.latency.expected_times import expect
from windtunnel.diagnosis.latency.op_profile import OpTime, Profile
from windtunnel.errors import InvalidInput
from windtunnel.tflite import ModelFacts, read_model

PIXELS = 64 * 64


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> ModelFacts:
    return read_model(depthwise_chain(tmp_path_factory.mktemp("rules") / "chain.tflite", kernels={3: 9}))


def profile(
    times: Sequence[float | None], *, accelerator: Any = "builtin", delegated: dict[int, bool] | None = None
) -> Profile:
    ops = [
        OpTime(index, ms, (), (delegated or {}).get(index, accelerator != "builtin")) for index, ms in enumerate(times)
    ]
    return Profile("profiler", accelerator, 1, 50, sum(ms or 0.0 for ms in times), tuple(ops))


def even(facts: ModelFacts, *, slow: dict[int, float] | None = None) -> list[float]:
    """Times of a machine with 10 GMAC/s and 5 us per op; `slow` gives factors."""
    costs = [op_cost(facts, op) for op in facts.ops]
    return [(0.005 + cost.macs / 1e7 + cost.bytes / 1e8) * (slow or {}).get(cost.op_index, 1.0) for cost in costs]


def test_multiplications_and_bytes_of_convolutions(facts: ModelFacts) -> None:
    depthwise, pointwise, huge = (op_cost(facts, facts.ops[index]) for index in (0, 1, 6))
    assert depthwise.macs == PIXELS * 16 * 9
    assert pointwise.macs == PIXELS * 16 * 16
    assert huge.macs == PIXELS * 16 * 81
    assert pointwise.bytes == 2 * PIXELS * 16 * 4 + 16 * 16 * 4 + 16 * 4
    assert op_cost(facts, facts.ops[12]).macs == 0


def test_multiplications_of_dense_layers(tmp_path: Path) -> None:
    facts = read_model(dense_model(tmp_path / "dense.tflite"))
    assert [op_cost(facts, op).macs for op in facts.ops] == [8 * 16, 16 * 16, 16 * 4, 0]


def test_a_16_bit_op_is_known_to_lack_a_fast_kernel(tmp_path: Path) -> None:
    writer = GraphWriter()
    source = writer.tensor("input", (1, 8), "int16", scales=[0.1])
    weights = writer.tensor("w", (4, 8), "int8", data=np.ones((4, 8), np.int8), scales=[0.1])
    output = writer.tensor("output", (1, 4), "int16", scales=[0.1])
    writer.op("FULLY_CONNECTED", [source, weights, -1], [output])
    facts = read_model(writer.write(tmp_path / "wide.tflite", [source], [output]))
    assert "int16x8" in str(op_cost(facts, facts.ops[0]).weakness)


def test_an_even_machine_has_no_straggler(facts: ModelFacts) -> None:
    found = diagnose_latency(facts, profile(even(facts)))
    assert found.verdict == "healthy"
    assert found.causes == ()
    assert [one.code for one in found.excluded] == ["latency.straggler"]


@pytest.mark.parametrize("index", [0, 3, 7, 11])
def test_a_slow_op_is_named_with_its_figures(facts: ModelFacts, index: int) -> None:
    times = even(facts, slow={index: 12.0})
    found = diagnose_latency(facts, profile(times))
    assert found.verdict == "degraded"
    (cause,) = found.causes
    assert (cause.code, cause.op_index) == ("latency.straggler", index)
    assert cause.layer == facts.tensors[facts.ops[index].outputs[0]].name
    assert cause.evidence["measured_ms"] == times[index]
    assert cause.evidence["expected_ms"] == pytest.approx(times[index] / 12.0, rel=0.25)
    assert cause.evidence["macs"] == op_cost(facts, facts.ops[index]).macs
    assert cause.evidence["share"] == pytest.approx(times[index] / sum(times))
    assert [row.verdict for row in found.ops].count("straggler") == 1


def test_two_slow_ops_of_one_kind_are_both_named(facts: ModelFacts) -> None:
    found = diagnose_latency(facts, profile(even(facts, slow={1: 12.0, 5: 15.0})))
    assert {cause.op_index for cause in found.causes} == {1, 5}
    assert found.causes[0].op_index == 5


def test_more_multiplications_are_no_fault(facts: ModelFacts) -> None:
    times = even(facts)
    # Nine times the work of its peers in nine times their time, with nothing for bytes or calls.
    for index in range(0, 12, 2):
        times[index] = 0.1
    times[6] = 0.9
    assert diagnose_latency(facts, profile(times)).verdict == "healthy"


def test_what_hardly_counts_is_not_named(facts: ModelFacts) -> None:
    # Depthwise op 10 is twelve times too slow, but the six dense ones take nearly all of the time.
    times = even(facts, slow={10: 12.0} | dict.fromkeys(range(1, 12, 2), 100.0))
    assert diagnose_latency(facts, profile(times)).causes == ()


def test_ticks_of_the_clock_are_no_figures(facts: ModelFacts) -> None:
    times = [ms / 1000 for ms in even(facts, slow={3: 12.0})]
    assert diagnose_latency(facts, profile(times)).causes == ()


def test_expectation_survives_half_of_the_peers_being_slow() -> None:
    costs = [OpCost(index, "CONV_2D", "", "CONV_2D/float32", "dense", (index + 1) * 10**6, 1000) for index in range(9)]
    times = np.array([cost.macs / 1e7 for cost in costs])
    times[[1, 4, 6]] *= 8.0
    found = expect(costs[8], costs, times, 1e-3)
    assert found is not None
    assert found.ms == pytest.approx(0.9, rel=0.1)
    assert found.level == "kind"
    assert 8 not in found.peers


def test_too_few_ops_expect_nothing(tmp_path: Path) -> None:
    facts = read_model(dense_model(tmp_path / "dense.tflite"))
    found = diagnose_latency(facts, profile([0.1, 0.1, 5.0, 0.01]))
    assert found.causes == ()
    assert found.ops[2].verdict == "no peers"


def test_ops_outside_the_delegate_are_named(facts: ModelFacts) -> None:
    inside = dict.fromkeys(range(13), True) | {4: False, 6: False}
    found = diagnose_latency(facts, profile(even(facts, slow={6: 5.0}), accelerator="xnnpack", delegated=inside))
    (cause,) = found.causes
    assert (cause.code, cause.op_index) == ("latency.fallback", 6)
    assert cause.evidence["ops"] == [4, 6]
    assert cause.evidence["kinds"] == ["DEPTHWISE_CONV_2D"]
    assert [row.cost.op_index for row in found.ops if row.verdict == "fallback"] == [4, 6]


def test_a_small_op_outside_the_delegate_is_no_fault(facts: ModelFacts) -> None:
    inside = dict.fromkeys(range(13), True) | {12: False}
    times = even(facts)
    times[12] = 0.001
    found = diagnose_latency(facts, profile(times, accelerator="xnnpack", delegated=inside))
    assert found.causes == ()
    assert {one.code for one in found.excluded} == {"latency.straggler", "latency.fallback"}


def test_the_document_keeps_the_promised_form(facts: ModelFacts) -> None:
    times: list[float | None] = [*even(facts, slow={3: 12.0})[:12], None]
    document = diagnose_latency(facts, profile(times)).to_json()
    jsonschema.validate(document, schemas.load("diagnosis"))
    assert document["coverage"] == {"compared": 12, "total": 13, "unmatched": ["output"]}
    assert document["ops"][12]["verdict"] == "not timed"


def row(kind: str, name: str, ms: float) -> dict[str, Any]:
    return {"type": kind, "name": name, "avg_ms": ms}


def log_run(facts: ModelFacts, times: Sequence[float]) -> dict[str, Any]:
    rows = [row(op.name, f"[layer_{op.index}]:{op.index}", times[op.index]) for op in facts.ops]
    total = 1e3 * sum(times)
    return {"ops": rows, "inference": {"avg_us": total, "count": 50}, "threads": 2, "delegate": None}


def test_a_logs_table_gives_the_times(facts: ModelFacts) -> None:
    found = profile_of_log(facts, log_run(facts, even(facts, slow={3: 12.0})))
    assert (found.method, found.accelerator, found.threads, found.runs) == ("log", "builtin", 2, 50)
    assert found.ops_ms == pytest.approx(found.total_ms)
    assert [cause.op_index for cause in diagnose_latency(facts, found).causes] == [3]


def test_a_logs_delegate_rows_are_aligned(facts: ModelFacts) -> None:
    names = {"DEPTHWISE_CONV_2D": "Convolution (NHWC, F32) DWConv", "CONV_2D": "Fully Connected (NC, F32) GEMM"}
    run = log_run(facts, even(facts))
    run["ops"] = [
        one if one["type"] == "MEAN" else row(names[one["type"]], f"Delegate/{names[one['type']]}:0", one["avg_ms"])
        for one in run["ops"]
    ]
    run["ops"].insert(0, row("LiteRT::Run[buffer registration]", "LiteRT::Run[buffer registration]/0", 0.25))
    found = profile_of_log(facts, run)
    assert found.accelerator == "xnnpack"
    assert [op.delegated for op in found.ops] == [True] * 12 + [False]
    assert [op.ms for op in found.ops] == pytest.approx(even(facts))
    assert found.unassigned == (("LiteRT::Run[buffer registration]", 0.25),)


def test_a_log_of_a_partial_delegate_names_the_ops_without_their_times(facts: ModelFacts) -> None:
    run = log_run(facts, even(facts))
    run["ops"] = [row("TfLiteGpuDelegateV2", "[Delegate]", 1.0), row("MEAN", "[output]:12", 0.5)]
    run["ops"][0]["name"] = "[whole]:13"
    delegate = {"outcome": "partial", "unsupported_ops": [{"op": "MEAN", "why": "axis"}], "nodes_delegated": 12}
    (cause,) = diagnose_latency(facts, profile_of_log(facts, run), delegate).causes
    assert (cause.code, cause.op_index) == ("latency.fallback", 12)
    assert cause.evidence["reasons"] == ["axis"]
    assert cause.evidence["delegate"]["nodes_delegated"] == 12


@pytest.mark.parametrize("damage", ["no table", "other op", "missing ops"])
def test_a_log_that_is_not_of_the_model_is_refused(facts: ModelFacts, damage: str) -> None:
    run = log_run(facts, even(facts))
    if damage == "no table":
        run["ops"] = []
    elif damage == "other op":
        run["ops"][2]["type"] = "SOFTMAX"
    else:
        run["ops"] = run["ops"][:5]
    with pytest.raises(InvalidInput):
        profile_of_log(facts, run)

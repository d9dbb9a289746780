"""The table that explains the first NaN or infinity of a candidate: each rule by itself, and their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.divergence import Limit
from windtunnel.diagnosis.findings.kinds.non_finite import (
    NonFiniteByConstant,
    NonFiniteByKernel,
    NonFiniteByLostConstant,
    NonFiniteByOp,
    NonFiniteByRounding,
    NonFiniteByScale,
    NonFiniteFinding,
    NonFiniteValues,
)
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.graph import Node, Pair
from windtunnel.diagnosis.rules import non_finite_causes
from windtunnel.diagnosis.rules.non_finite_causes import causes_of_non_finite
from windtunnel.tflite import ModelFacts, read_model

FOUND = NonFiniteValues(3, "ADD")
INF, NAN = float("inf"), float("nan")
_OPTIONS = {"ADD": schema.AddOptionsT, "MUL": schema.MulOptionsT, "DIV": schema.DivOptionsT}


@dataclass(frozen=True)
class OneOp:
    """A model of one op that reads a value and perhaps a constant.

    `stored`: the value is int8, and real numbers again before the op. `half`: so is the constant, from float16.
    `offset`: a constant that an ADD before the op adds to the value.
    """

    op: str = "ADD"
    constant: Sequence[float] | None = (1.0, 2.0)
    activation: str = "NONE"
    scale: float | None = None
    stored: bool = False
    half: bool = False
    offset: float | None = None

    def write(self, path: Path) -> ModelFacts:
        writer = GraphWriter()
        source = value = writer.tensor("x", (1, 2))
        if self.stored:
            source = writer.tensor("stored", (1, 2), "int8", scales=[0.1])
            value = writer.tensor("value", (1, 2))
            writer.op("DEQUANTIZE", [source], [value], schema.DequantizeOptionsT())
        if self.offset is not None:
            added, value = self._constant(writer, np.array([self.offset], np.float32)), writer.tensor("sum", (1, 2))
            writer.op("ADD", [source, added], [value], schema.AddOptionsT())
        inputs = [value]
        if self.constant is not None:
            inputs.append(self._constant(writer, np.array(self.constant, np.float32)))
        output = writer.tensor("y", (1, 2), "float32" if self.scale is None else "int8", scales=[self.scale or 1.0])
        writer.op(self.op, inputs, [output], self._options())
        return read_model(writer.write(path, [source], [output]))

    def _constant(self, writer: GraphWriter, values: Any) -> int:
        if not self.half:
            return writer.tensor("constant", values.shape, data=values)
        with np.errstate(over="ignore"):
            stored = writer.tensor("half", values.shape, "float16", data=values.astype(np.float16))
        constant = writer.tensor("constant", values.shape)
        writer.op("DEQUANTIZE", [stored], [constant], schema.DequantizeOptionsT())
        return constant

    def _options(self) -> Any:
        if self.op not in _OPTIONS:
            return None
        options = _OPTIONS[self.op]()
        options.fusedActivationFunction = getattr(schema.ActivationFunctionType, self.activation)
        return options


def diverging(non_finite: int = 3, reference_non_finite: int = 0, nrmse: float | None = None) -> LayerDiff:
    return LayerDiff(
        "y", "ADD", 0, "y", {"nrmse": nrmse}, non_finite=non_finite, reference_non_finite=reference_non_finite
    )


def last(model: ModelFacts) -> Node:
    op = model.ops[-1]
    return Node(op.name, op.index, model.tensors[op.outputs[0]])


def causes(folder: Path, reference: OneOp, candidate: OneOp, *before: LayerDiff) -> tuple[Cause, ...]:
    """What explains NaN of the candidate's op, behind layers with these figures."""
    models = [one.write(folder / f"{number}.tflite") for number, one in enumerate((reference, candidate))]
    pair = Pair(last(models[0]), last(models[1]))
    layers = [*before, diverging()]
    return causes_of_non_finite(layers, [pair] * len(layers), models[0], models[1], Limit(0.1))


PLAIN = OneOp()
# A rule, the two models that it explains, and a candidate that it leaves to a later rule.
CASES = [
    pytest.param("non_finite_scale", PLAIN, OneOp(scale=INF), OneOp(scale=0.1), id="an infinite scale"),
    pytest.param("non_finite_scale", PLAIN, OneOp(scale=NAN), PLAIN, id="a scale that is NaN"),
    pytest.param("non_finite_op_differs", PLAIN, OneOp("MUL"), PLAIN, id="another op"),
    pytest.param("non_finite_op_differs", PLAIN, OneOp(activation="RELU"), PLAIN, id="another activation"),
    pytest.param("non_finite_constant", PLAIN, OneOp(constant=(NAN, 2.0)), PLAIN, id="a constant that is NaN"),
    pytest.param(
        "non_finite_constant", PLAIN, OneOp(constant=(1.0, 2.21)), OneOp(constant=(1.0, 2.19)), id="another constant"
    ),
    pytest.param(
        "non_finite_constant",
        OneOp(constant=(1.0, 7e4)),
        OneOp(constant=(1.0, 7e4), half=True),
        OneOp(constant=(1.0, 7e4)),
        id="a constant that float16 does not hold",
    ),
    pytest.param(
        "non_finite_constant_lost",
        OneOp("RSQRT", None, offset=1e-12),
        OneOp("RSQRT", None, offset=1e-12, half=True),
        OneOp("RSQRT", None, offset=1e-5, half=True),
        id="an epsilon that is 0 in float16",
    ),
    pytest.param(
        "non_finite_constant_lost",
        OneOp("DIV", offset=1e-12),
        OneOp("DIV", offset=0.0),
        OneOp("DIV", offset=1e-12),
        id="an offset that is 0",
    ),
    pytest.param(
        "non_finite_input_rounded_to_zero",
        OneOp("LOG", constant=None),
        OneOp("LOG", constant=None, stored=True),
        OneOp("LOG", constant=None),
        id="what is rounded to zero has no logarithm",
    ),
    pytest.param(
        "non_finite_input_rounded_to_zero",
        OneOp("DIV"),
        OneOp("DIV", stored=True),
        OneOp("DIV"),
        id="a quotient of what is rounded to zero",
    ),
    pytest.param(
        "non_finite_kernel_left", PLAIN, PLAIN, OneOp(constant=(NAN, NAN)), id="equal models leave the kernel"
    ),
    pytest.param(
        "non_finite_kernel_left", PLAIN, OneOp(stored=True), OneOp("MUL", stored=True), id="a sum is finite at zero"
    ),
]


@pytest.mark.parametrize(("rule", "reference", "explained", "neighbor"), CASES)
def test_a_rule_explains_its_case_and_not_the_neighbor(
    rule: str, reference: OneOp, explained: OneOp, neighbor: OneOp, tmp_path: Path
) -> None:
    (cause,) = causes(tmp_path, reference, explained)
    (layer, op) = ("sum", int(explained.half)) if rule == "non_finite_constant_lost" else ("y", 0)
    assert (cause.rule, cause.layer, cause.op_index) == (rule, layer, op)
    assert [one.rule for one in causes(tmp_path, reference, neighbor)] != [rule]


def test_every_rule_has_a_case() -> None:
    assert {case.values[0] for case in CASES} == {rule.name for rule in non_finite_causes.NON_FINITE_RULES}


# A candidate that two neighbors of the table explain: the first decides.
ORDER = [
    ("non_finite_scale", "non_finite_op_differs", PLAIN, OneOp("MUL", scale=INF)),
    ("non_finite_op_differs", "non_finite_constant", PLAIN, OneOp("MUL", constant=(NAN, NAN))),
    ("non_finite_constant", "non_finite_constant_lost", OneOp("DIV"), OneOp("DIV", (0.0, 0.0))),
    (
        "non_finite_constant_lost",
        "non_finite_input_rounded_to_zero",
        OneOp("DIV", (1.0, 1e-12)),
        OneOp("DIV", (1.0, 0.0), stored=True),
    ),
    ("non_finite_input_rounded_to_zero", "non_finite_kernel_left", OneOp("DIV"), OneOp("DIV", stored=True)),
]


@pytest.mark.parametrize("place", range(len(ORDER)))
def test_the_order_is_the_policy(place: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, later, reference, candidate = ORDER[place]
    rules = list(non_finite_causes.NON_FINITE_RULES)
    assert [rule.name for rule in rules[place : place + 2]] == [first, later]
    assert [one.rule for one in causes(tmp_path, reference, candidate)] == [first]
    rules[place : place + 2] = rules[place : place + 2][::-1]
    monkeypatch.setattr(non_finite_causes, "NON_FINITE_RULES", rules)
    assert [one.rule for one in causes(tmp_path, reference, candidate)] == [later]


def test_every_neighbor_has_a_case_of_the_order() -> None:
    assert len(ORDER) == len(non_finite_causes.NON_FINITE_RULES) - 1


@pytest.mark.parametrize(
    ("reference", "candidate", "finding"),
    [
        (PLAIN, OneOp(scale=INF), NonFiniteByScale(non_finite=FOUND, tensor="y")),
        (
            PLAIN,
            OneOp("MUL", activation="RELU"),
            NonFiniteByOp(non_finite=FOUND, reference_op="ADD with NONE", candidate_op="MUL with RELU"),
        ),
        (PLAIN, OneOp(constant=(NAN, 2.0)), NonFiniteByConstant(non_finite=FOUND, constant="constant")),
        (
            PLAIN,
            OneOp(constant=(1.0, 7e4), half=True),
            NonFiniteByConstant(non_finite=FOUND, constant="constant", too_large=True),
        ),
        (
            OneOp("LOG", None),
            OneOp("LOG", None, stored=True),
            NonFiniteByRounding(non_finite=FOUND, tensor="stored", why="what is rounded to 0 there has no finite LOG"),
        ),
        (
            OneOp("RSQRT", None, offset=1e-12),
            OneOp("RSQRT", None, offset=1e-12, half=True),
            NonFiniteByLostConstant(
                non_finite=FOUND, constant="constant", reference=float(np.float32(1e-12)), stored_as="float16"
            ),
        ),
        (PLAIN, PLAIN, NonFiniteByKernel(non_finite=FOUND)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, NonFiniteFinding) else "",
)
def test_what_a_rule_found(reference: OneOp, candidate: OneOp, finding: NonFiniteFinding, tmp_path: Path) -> None:
    assert [one.finding for one in causes(tmp_path, reference, candidate)] == [finding]


def test_a_fault_before_it_is_not_plain(tmp_path: Path) -> None:
    within, over = diverging(non_finite=0, nrmse=0.1), diverging(non_finite=0, nrmse=0.11)
    assert len(causes(tmp_path, PLAIN, OneOp("MUL"), within)) == 1
    assert causes(tmp_path, PLAIN, OneOp("MUL"), within, over) == ()


def test_nan_of_both_models_explains_nothing(tmp_path: Path) -> None:
    """The layer behind it is looked at: it is the first that only the candidate has."""
    model = PLAIN.write(tmp_path / "m.tflite")
    pair = Pair(last(model), last(model))
    both = diverging(reference_non_finite=1, nrmse=0.0)
    assert causes_of_non_finite([both], [pair], model, model, Limit(0.1)) == ()
    assert len(causes_of_non_finite([both, diverging()], [pair, pair], model, model, Limit(0.1))) == 1

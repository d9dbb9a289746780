"""The rule from figures to a verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter
from windtunnel.diagnosis.execution.output_sums import OutputSums
from windtunnel.diagnosis.findings.coverage import Coverage
from windtunnel.diagnosis.findings.divergence import Limit
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.findings.output_diff import Accuracy, OutputDiff, OutputFailure
from windtunnel.diagnosis.rules.verdict import chance_of_drop, judge
from windtunnel.tflite import read_model

LIMIT = Limit(0.1)
_HOLDS_NAN = (OutputFailure("y", non_finite=True),)


def _layer(nrmse: float | None, problem: str | None = None, non_finite: int = 0, reference: int = 0) -> LayerDiff:
    return LayerDiff("y", "CONV_2D", 0, "y", {"nrmse": nrmse}, problem, non_finite, reference)


def _output(
    *, before: float = 0.9, after: float = 0.9, agreement: float | None = 1.0, nrmse: float | None = 0.01
) -> OutputDiff:
    first, second = (Accuracy(top1, top1, top1, 0.1) for top1 in (before, after))
    return OutputDiff(first, second, agreement, nrmse, changed=0.0 if agreement is None else 1.0 - agreement)


@pytest.mark.parametrize(
    ("layer", "output", "expected", "reason"),
    [
        (_layer(0.08), _output(), "healthy", None),
        (_layer(0.10), _output(), "healthy", None),
        (_layer(0.11), _output(), "degraded", "nRMSE 0.110"),
        (_layer(None, "constant_differs"), _output(), "degraded", "constant_differs"),
        (_layer(None, "non_finite", 3), _output(), "broken", "NaN or infinity"),
        (_layer(None, "non_finite", 3, 3), _output(), "degraded", "non_finite"),
        (_layer(0.0), _output(after=0.87), "degraded", "top-1 falls by 0.030"),
        (_layer(0.0), _output(after=0.8), "broken", "top-1 falls by 0.100"),
        (_layer(0.0), _output(after=0.95), "healthy", None),
        (_layer(0.0), _output(agreement=0.96), "healthy", None),
        (_layer(0.0), _output(agreement=0.9), "degraded", "10%"),
        (_layer(0.0), _output(agreement=0.6), "broken", "40%"),
        (_layer(0.0), _output(agreement=None, nrmse=None), "healthy", None),
        (_layer(0.0), _output(nrmse=0.2), "degraded", "output"),
        (_layer(0.0), _output(nrmse=0.5), "broken", "output"),
        (
            _layer(0.0),
            OutputDiff(None, None, None, None, (OutputFailure("y", non_finite=True),)),
            "broken",
            "holds NaN",
        ),
        (_layer(0.0), OutputDiff(None, None, 0.5, 0.01, is_classifier=False, changed=0.5), "healthy", None),
    ],
)
def test_rule(layer: LayerDiff, output: OutputDiff, expected: str, reason: str | None) -> None:
    verdict, reasons = judge((layer,), output, Coverage(1, 1), limit=LIMIT, samples=1000)
    assert verdict == expected
    assert (reasons == ()) == (expected == "healthy")
    if reason is not None:
        assert reason in reasons[0]


def test_what_chance_explains_is_no_sign() -> None:
    """The same shares are chance on few samples, and a finding on many."""
    output = _output(before=1.0, after=0.9, agreement=0.9)
    assert judge((), output, Coverage(1, 1), limit=LIMIT, samples=20)[0] == "healthy"
    assert judge((), output, Coverage(1, 1), limit=LIMIT, samples=60)[0] == "broken"


def test_gains_weigh_against_losses() -> None:
    """Ten of 100 samples less: by ten losses alone, or by 40 losses and 30 gains, which is a coin's work."""
    plain = replace(_output(before=0.9, after=0.8, agreement=0.99), lost=10, gained=0)
    mixed = replace(plain, lost=40, gained=30)
    assert chance_of_drop(plain, 100) == pytest.approx(1 / 1024)
    assert chance_of_drop(mixed, 100) == pytest.approx(0.141, abs=5e-4)
    assert judge((), plain, Coverage(1, 1), limit=LIMIT, samples=100)[0] == "broken"
    assert judge((), mixed, Coverage(1, 1), limit=LIMIT, samples=100)[0] == "healthy"


def test_changed_classes_of_random_inputs_are_no_sign() -> None:
    output = OutputDiff(None, None, 0.5, 0.01, changed=0.5)
    assert judge((_layer(0.0),), output, Coverage(1, 1), limit=LIMIT, samples=16, synthetic=True) == (
        "healthy",
        (),
    )
    assert judge((_layer(0.0),), output, Coverage(1, 1), limit=LIMIT, samples=16, synthetic=False)[0] == "broken"
    drifted = judge((_layer(0.2),), output, Coverage(1, 1), limit=LIMIT, samples=16, synthetic=True)
    assert drifted[0] == "degraded"
    assert len(drifted[1]) == 1


@pytest.mark.parametrize(("lead", "changed"), [(0.06, 0.5), (0.04, 0.0)])
def test_only_a_class_that_was_clear_counts_as_changed(tmp_path: Path, lead: float, changed: float) -> None:
    writer = GraphWriter()
    source, scores = writer.tensor("x", (1, 3)), writer.tensor("y", (1, 3))
    writer.op("SOFTMAX", [source], [scores], schema.SoftmaxOptionsT())
    facts = read_model(writer.write(tmp_path / "m.tflite", [source], [scores]))
    sums = OutputSums(facts, facts, None)
    sure, torn = np.array([[0.0, 0.0, 1.0]]), np.array([[0.5 + lead / 2, 0.5 - lead / 2, 0.0]])
    for _ in range(2):
        sums.add({"y": sure}, {"y": sure})
        sums.add({"y": torn}, {"y": torn[:, [1, 0, 2]]})
    restored = OutputSums(facts, facts, None)
    restored.restore(sums.state())
    for found in (sums.result(), restored.result()):
        assert (found.agreement, found.changed) == (0.5, changed)


def test_nothing_compared_is_not_healthy() -> None:
    verdict, reasons = judge((), _output(), Coverage(0, 3), limit=LIMIT, samples=10)
    assert verdict == "degraded"
    assert "no layer" in reasons[0]

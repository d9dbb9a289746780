"""A small model with names that are hard to distinguish, and a diagnosis of it with all optional figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from support.graphs import GraphWriter

FUSED = "block/Relu;block/BiasAdd;block/MatMul"

NOTES = [
    {"kind": "clipped", "text": "3 % of the values are cut."},
    {"kind": "rounding", "text": "rounding explains a tenth of its isolated error."},
]


def named_model(path: Path) -> Path:
    """x (1, 4) through a fused dense layer, a split in two, and three ops whose outputs are all named `twin`."""
    writer = GraphWriter()
    x = writer.tensor("x", (1, 4))
    at = writer.dense(FUSED, x, np.eye(4, dtype=np.float32), np.zeros(4, dtype=np.float32), activation="RELU")
    axis = writer.tensor("axis", (), "int32", data=np.array(1))
    halves = [writer.tensor(f"half_{number}", (1, 2)) for number in range(2)]
    options = schema.SplitOptionsT()
    options.numSplits = 2
    writer.op("SPLIT", [axis, at], halves, options)
    outputs = []
    for name, half in (("TANH", halves[0]), ("LOGISTIC", halves[1]), ("RELU", halves[1])):
        outputs.append(writer.tensor("twin", (1, 2)))
        writer.op(name, [half], [outputs[-1]])
    return writer.write(path, [x], outputs)


def diagnosis_of_named_model() -> dict[str, Any]:
    """A `windtunnel.diagnosis/1` of it: the dense layer is the culprit, an op gives NaN."""
    layers = [
        _layer(FUSED, "FULLY_CONNECTED", 0, 0.2, 0.21, why=NOTES),
        _layer("half_0", "SPLIT", 1, 0.19, 0.0),
        _layer("half_1", "SPLIT", 1, 0.21, 0.0),
        _layer("twin", "TANH", 2, 0.05, 0.004),
        _layer("twin", "LOGISTIC", 3, 0.02, 0.003),
        _layer("twin", "RELU", 4, None, None, problem="non_finite"),
    ]
    cause = {
        "code": "quantization.parameters",
        "place": {"layer": FUSED, "op_index": 0},
        "confidence": 0.9,
        "evidence": {
            "tensors": [FUSED],
            "held": [0.0, 3.0],
            "seen": [0.0, 6.0],
            "held_to_seen": 0.5,
            "values_outside": 0.03,
            "scale": {"file": 0.0118, "fitting": 0.0235},
            "zero_point": {"file": -128, "fitting": -128},
            "kind": "clipped",
            "local_nrmse": 0.21,
            "local_nrmse_mended": 0.001,
        },
        "fix": {"action": "calibrate the tensor again", "tensor": FUSED, "scale": 0.0235},
        "verified": True,
    }
    return {
        "schema": "windtunnel.diagnosis/1",
        "verdict": "degraded",
        "reasons": ["one layer exceeds the threshold"],
        "causes": [cause],
        "excluded": [
            {"code": "conversion.op", "why": "5 ops have the same kind, activation and attributes"},
            {"code": "quantization.calibration_clipped", "why": "5 activation ranges hold enough"},
            {"code": "quantization.calibration_wide", "why": "5 activation ranges hold enough"},
        ],
        "coverage": {
            "compared": 6,
            "total": 7,
            "unmatched": ["lost"],
            "unmatched_layers": [{"name": "lost", "op": "RESHAPE", "op_index": 9, "reason": "no counterpart"}],
            "unmatched_reference": [{"name": "gone", "op": "PAD", "op_index": 7, "reason": "folded away"}],
        },
        "layers": layers,
        "threshold": 0.1,
        "samples": 48,
        "histograms": {
            FUSED: {"edges": [0.0, 1.5, 3.0, 4.5, 6.0], "reference": [90, 40, 6, 4], "candidate": [90, 50, 0, 0]}
        },
    }


def _layer(name: str, op: str, index: int, nrmse: float | None, own: float | None, **more: Any) -> dict[str, Any]:
    known = nrmse is not None
    return {
        "name": name,
        "op": op,
        "op_index": index,
        "reference": f"reference/{index}/{name}",
        "nrmse": nrmse,
        "local_nrmse": own,
        "max_abs": 3.0 if known else None,
        "problem": None,
        "nrmse_ci": [nrmse * 0.9, nrmse * 1.1] if nrmse is not None else None,
        "cosine": 0.98 if known else None,
        "snr_db": 17.04 if known else None,
        "bias": -0.25 if known else None,
        "saturated": 0.51 if known else None,
        "dead_channels": {"candidate": 2, "reference": 1, "channels": 4} if known else None,
        "channel_nrmse": {"axis": -1, "worst": 3, "max": 0.4, "median": 0.1} if known else None,
        "members": [index],
        **more,
    }

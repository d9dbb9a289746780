"""TensorFlow Lite models: read their facts without an interpreter, run them.

`read_model` never runs native code and may be called anywhere. `Runner` does: use it only in a job of
`windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

from windtunnel.accelerators import Accelerator
from windtunnel.tflite.dtypes import INTEGER_DTYPES
from windtunnel.tflite.facts import (
    GraphFacts,
    ModelFacts,
    OpFacts,
    Quantization,
    SignatureFacts,
    TensorFacts,
)
from windtunnel.tflite.inputs import input_specs
from windtunnel.tflite.precision import Precision, precision
from windtunnel.tflite.quantization import dequantize, quantize
from windtunnel.tflite.read import read_model
from windtunnel.tflite.run import Layer, Runner, layer_tensors
from windtunnel.tflite.variables import require_values

__all__ = [
    "INTEGER_DTYPES",
    "Accelerator",
    "GraphFacts",
    "Layer",
    "ModelFacts",
    "OpFacts",
    "Precision",
    "Quantization",
    "Runner",
    "SignatureFacts",
    "TensorFacts",
    "dequantize",
    "input_specs",
    "layer_tensors",
    "precision",
    "quantize",
    "read_model",
    "require_values",
]

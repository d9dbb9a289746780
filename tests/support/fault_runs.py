"""Runs and quantizes models for the fault matrix, with the public libraries alone. Native code."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.fault_files import File

Sample = dict[str, NDArray[np.float32]]
Ranges = dict[str, dict[str, NDArray[np.float32]]]


def samples_of(path: Path) -> list[Sample]:
    """The samples of an .npz one by one with a batch of 1; a single input is called "" ."""
    with np.load(path) as file:
        found = {name.removeprefix("x/") if name != "x" else "": file[name] for name in file.files if name != "y"}
    return [{name: rows[at : at + 1] for name, rows in found.items()} for at in range(len(next(iter(found.values()))))]


def _interpreter(path: Path, *, preserve: bool = False) -> Any:
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        made = Interpreter(
            model_path=str(path),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=preserve,
        )
    made.allocate_tensors()
    return made


def _run(interpreter: Any, sample: Sample) -> None:
    for detail in interpreter.get_input_details():
        values = _value(sample, detail)
        scale, zero = detail["quantization"]
        if scale and np.issubdtype(detail["dtype"], np.integer):
            limits = np.iinfo(detail["dtype"])
            values = np.clip(np.round(values / scale) + zero, limits.min, limits.max)
        interpreter.set_tensor(detail["index"], values.astype(detail["dtype"]))
    interpreter.invoke()


def _value(sample: Sample, detail: Any) -> NDArray[Any]:
    """The array for an input: by its name, or by its shape where the model has other names."""
    named = [array for name, array in sample.items() if name in detail["name"]]
    shaped = [array for array in sample.values() if array.shape == tuple(detail["shape"])]
    return (named or shaped)[0]


def outputs(path: Path, samples: Path) -> list[NDArray[np.float64]]:
    """Every output over all samples as real numbers, (N, ...)."""
    interpreter = _interpreter(path)
    found: list[list[NDArray[np.float64]]] = [[] for _ in interpreter.get_output_details()]
    for sample in samples_of(samples):
        _run(interpreter, sample)
        for rows, detail in zip(found, interpreter.get_output_details(), strict=True):
            scale, zero = detail["quantization"]
            values = interpreter.get_tensor(detail["index"]).astype(np.float64)
            rows.append((values - zero) * scale if scale else values)
    return [np.concatenate(rows) for rows in found]


@lru_cache(maxsize=32)
def known_outputs(path: Path, samples: Path) -> list[NDArray[np.float64]]:
    """`outputs` of a file that does not change."""
    return outputs(path, samples)


def difference(one: list[NDArray[np.float64]], other: list[NDArray[np.float64]]) -> float:
    """The largest nRMSE (by the range of both) of an output; infinity where values are not finite or shapes differ.

    Converters order outputs as they like: these are distinguished by their shapes.
    """
    worst = 0.0
    for a, b in zip(sorted(one, key=np.shape), sorted(other, key=np.shape), strict=True):
        if a.shape != b.shape or not np.isfinite(a).all() or not np.isfinite(b).all():
            return float("inf")
        span = max(np.ptp(a), np.ptp(b))
        if span > 0:
            worst = max(worst, float(np.sqrt(np.mean((a - b) ** 2)) / span))
    return worst


def ranges(path: Path, rows: Iterator[Sample] | list[Sample]) -> Ranges:
    """The true minimum and maximum of every float activation over samples, by tensor name."""
    file = File(path)
    # A range of a constant would make the quantiser give its channels one scale.
    written = {int(one) for op in file.ops for one in op.outputs} | {int(one) for one in file.graph.inputs}
    interpreter = _interpreter(path, preserve=True)
    details = [
        one for one in interpreter.get_tensor_details() if one["dtype"] == np.float32 and one["index"] in written
    ]
    found: Ranges = {}
    for row in rows:
        _run(interpreter, row)
        for detail in details:
            try:
                values = interpreter.get_tensor(detail["index"])
            except ValueError:
                continue
            if not values.size:
                continue
            shape = (1,) * values.ndim
            low, high = values.min().reshape(shape), values.max().reshape(shape)
            known = found.setdefault(detail["name"], {"min": low, "max": high})
            known["min"], known["max"] = np.minimum(known["min"], low), np.maximum(known["max"], high)
    return found


@lru_cache(maxsize=32)
def known_ranges(path: Path, samples: Path) -> Ranges:
    """`ranges` of a file that does not change. Do not change the result."""
    return ranges(path, samples_of(samples))


def tensor_wise(pattern: str, operation: str, variant: str) -> list[dict[str, Any]]:
    """The recipe of a variant, with one scale per weight tensor for the ops whose names match."""
    from litert_quantizer import qtyping, recipe_manager

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(_recipe(variant))
    weights = qtyping.TensorQuantizationConfig(
        num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.TENSORWISE
    )
    activations = None
    if variant != "dynamic_range":
        bits = 16 if variant == "int16x8" else 8
        activations = qtyping.TensorQuantizationConfig(num_bits=bits, symmetric=bits == 16)
    manager.add_quantization_config(
        regex=pattern,
        operation_name=qtyping.TFLOperationName(operation),
        op_config=qtyping.OpQuantizationConfig(
            weight_tensor_config=weights,
            activation_tensor_config=activations,
            compute_precision=qtyping.ComputePrecision.INTEGER,
        ),
        algorithm_key="min_max_uniform_quantize",
    )
    rules: list[dict[str, Any]] = manager.get_quantization_recipe()
    return rules


def _recipe(variant: str) -> Any:
    from litert_quantizer import qtyping, recipe, recipe_manager

    if variant == "float16":
        manager = recipe_manager.RecipeManager()
        manager.add_weight_only_config(".*", qtyping.TFLOperationName.ALL_SUPPORTED, 16, algorithm_key="float_casting")
        return manager.get_quantization_recipe()
    made = {
        "dynamic_range": recipe.dynamic_wi8_afp32,
        "int8": recipe.static_wi8_ai8,
        "int16x8": recipe.static_wi8_ai16,
        "int4": recipe.dynamic_wi4_afp32,
    }
    return made[variant]()


def quantize(model: Path, target: Path, variant: str, found: Ranges | None, rules: Any = None) -> Path:
    """Writes a variant that litert-quantizer makes of a float model with these ranges of activations."""
    from litert_quantizer import quantizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        work = quantizer.Quantizer(str(model), _recipe(variant) if rules is None else rules)
        given: Mapping[str, Any] | None = found if work.need_calibration else None
        result = work.quantize(given, enable_progress_bar=False, enable_progress_report=False)
    target.write_bytes(bytes(result.quantized_model))
    return target

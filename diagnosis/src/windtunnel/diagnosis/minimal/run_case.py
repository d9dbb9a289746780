"""Runs the smallest part of a model that shows a fault, and says whether it still does.

    python run.py                                  the candidate as it is
    python run.py --candidate fixed.tflite         another one, cut at the same tensors
    python run.py --accelerator xnnpack            on another accelerator: reference, xnnpack, builtin

Needs numpy and one of ai-edge-litert, tflite-runtime, tensorflow. Prints the error of every sample.
Exit code 1: the fault shows; 0: it does not; 2: the candidate could not be run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RESOLVERS = {
    "xnnpack": "BUILTIN",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "none": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
RUNTIMES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")


def runtime() -> Any:
    """The interpreter module of whichever runtime is installed.

    Raises:
        SystemExit: there is none.
    """
    for name in RUNTIMES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise SystemExit("no TensorFlow Lite runtime is installed: pip install ai-edge-litert")


def outputs(path: Path, inputs: list[Any], kernels: str) -> list[Any]:
    """Runs a model.

    Args:
        path: the .tflite file.
        inputs: one array per input, with one row per sample, as fed.
        kernels: reference, xnnpack or none.

    Returns:
        The output of every sample, as real numbers.
    """
    module = runtime()
    kind = getattr(module.OpResolverType, RESOLVERS[kernels])
    model = module.Interpreter(model_path=str(path), experimental_op_resolver_type=kind)
    require_part(path, model, inputs)
    places = [detail["index"] for detail in model.get_input_details()]
    found = []
    for sample in range(len(inputs[0])):
        for number, place in enumerate(places):
            model.resize_tensor_input(place, inputs[number][sample].shape)
        model.allocate_tensors()
        for number, place in enumerate(places):
            model.set_tensor(place, inputs[number][sample])
        model.invoke()
        detail = model.get_output_details()[0]
        found.append(real(model.get_tensor(detail["index"]), detail))
    return found


def require_part(path: Path, model: Any, inputs: list[Any]) -> None:
    """Checks that a model is cut as the case is: a whole one takes other inputs.

    Args:
        path: of the model, for messages.
        model: an interpreter of it.
        inputs: one array per input, with one row per sample.

    Raises:
        ValueError: it takes other inputs.
    """
    takes = [(detail["dtype"], list(detail["shape_signature"])) for detail in model.get_input_details()]
    fits = len(takes) == len(inputs) and all(
        array.dtype == dtype and fit(array.shape[1:], shape)
        for array, (dtype, shape) in zip(inputs, takes)  # noqa: B905 (runs on older Pythons)
    )
    if not fits or len(model.get_output_details()) != 1:
        given = [(array.dtype.type, list(array.shape[1:])) for array in inputs]
        raise ValueError(
            f"{path.name} takes {described(takes)}, and the case gives {described(given)}. "
            "A whole model cannot be run here: cut the fixed one at the same tensors as candidate.tflite"
        )


def fit(shape: Any, wanted: list[int]) -> bool:
    """Whether an array is what an input takes.

    Args:
        shape: of the array.
        wanted: shape of the input; -1 takes any size.
    """
    return len(shape) == len(wanted) and all(wanted[axis] in (-1, shape[axis]) for axis in range(len(shape)))


def described(inputs: list[Any]) -> str:
    """Types and shapes of inputs, for people.

    Args:
        inputs: (dtype, shape) of each.

    Returns:
        One line.
    """
    return ", ".join(f"{np.dtype(dtype).name} {[int(size) for size in shape]}" for dtype, shape in inputs)


def real(stored: Any, detail: Any) -> Any:
    """Real numbers from stored ones: scale * (stored - zero point), in float64.

    Args:
        stored: as the model gives it.
        detail: of the tensor, from the interpreter.

    Returns:
        float64, of the same shape.
    """
    given = detail["quantization_parameters"]
    scales = np.asarray(given["scales"], np.float64)
    if not scales.size or stored.dtype.kind not in "iu":
        return stored.astype(np.float64)
    zeros = np.asarray(given["zero_points"], np.float64)
    if scales.size > 1:
        shape = [1] * stored.ndim
        shape[given["quantized_dimension"]] = -1
        scales, zeros = scales.reshape(shape), zeros.reshape(shape)
    return scales * (stored.astype(np.float64) - zeros)


def error(expected: Any, found: Any) -> float:
    """The error of an output: RMSE / the larger range of both.

    Args:
        expected: real numbers.
        found: real numbers.

    Returns:
        Infinite if the shape differs or only `found` is not finite.
    """
    expected = np.asarray(expected, np.float64)
    if expected.shape != found.shape or (np.isfinite(expected).all() and not np.isfinite(found).all()):
        return float("inf")
    width = max(float(np.ptp(expected)), float(np.ptp(found)))
    rmse = float(np.sqrt(np.mean((found - expected) ** 2)))
    if width > 0 and np.isfinite(rmse):
        return rmse / width
    return 0.0 if rmse == 0.0 else float("inf")


def main() -> int:
    """Runs both parts and says whether the candidate's differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidate", type=Path, default=HERE / "candidate.tflite")
    parser.add_argument("--accelerator", "--kernels", dest="kernels", choices=sorted(RESOLVERS))
    chosen = parser.parse_args()
    case = json.loads((HERE / "case.json").read_text(encoding="utf-8"))
    kernels = chosen.kernels or case["kernels"]["candidate"]
    given = np.load(HERE / "inputs.npz")
    expected = np.load(HERE / "expected.npz")["output"]
    inputs = {
        side: [given[name] for name in sorted(given.files) if name.startswith(side)]
        for side in ("reference", "candidate")
    }
    try:
        found = outputs(chosen.candidate, inputs["candidate"], kernels)
        again = outputs(HERE / "reference.tflite", inputs["reference"], case["kernels"]["reference"])
    except (RuntimeError, ValueError) as failure:
        print(f"could not be run: {failure}")
        return 2
    if case["permutation"] is not None:
        again = [np.transpose(one, case["permutation"]) for one in again]
    errors = [error(expected[number], one) for number, one in enumerate(found)]
    own = max(error(expected[number], one) for number, one in enumerate(again))
    for number, value in enumerate(errors):
        print(f"sample {number}: nRMSE {value:.6g}{'  <- exceeds the limit' if value > case['limit'] else ''}")
    print(f"the reference here differs from its stored answer by nRMSE {own:.2g}")
    shown = float(np.median(errors))
    verdict = "the fault shows" if shown > case["limit"] else "the fault does not show"
    print(f"{verdict}: median nRMSE {shown:.6g}, limit {case['limit']:.6g}, {kernels} kernels")
    return 1 if shown > case["limit"] else 0


if __name__ == "__main__":
    sys.exit(main())

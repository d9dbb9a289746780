"""Kernels of the device: the same model and the same input, another result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN, XNNPACK
from windtunnel.diagnosis.app_diagnosis.replay_app import KERNELS, Replayed, real_rows, replay_layers
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.apps import DeviceKernelDiffers
from windtunnel.diagnosis.findings.layer_diff import LayerDiff
from windtunnel.diagnosis.kernels.output_checks import output_causes
from windtunnel.diagnosis.numerics.layer_sums import LayerSums
from windtunnel.diagnosis.recording.edge_recording import Rows
from windtunnel.diagnosis.thresholds.apps.app_thresholds import (
    DEVICE_FLOOR,
    DEVICE_FLOOR_ACCELERATED,
    DEVICE_TIMES,
    FRAMES_OF_LAYERS,
    LEAST_PROBABILITY,
    PROBABILITY_SUM,
)
from windtunnel.diagnosis.thresholds.confidences import DEVICE_KERNEL
from windtunnel.tflite import ModelFacts, TensorFacts
from windtunnel.tflite.precision import precision
from windtunnel.tflite.tensor_error import nrmse_of

_REDUCED: Final = ("gpu", "nnapi", "npu", "coreml", "core_ml", "metal", "hexagon", "edgetpu", "qnn", "neuron")


def floor_of(facts: ModelFacts, accelerator: str) -> float:
    """What another device may differ by.

    Args:
        facts: of the model.
        accelerator: of the device, as the recording names it.

    Returns:
        nRMSE.
    """
    least = DEVICE_FLOOR[precision(facts)]
    reduced = any(word in accelerator.casefold() for word in _REDUCED)
    return max(least, DEVICE_FLOOR_ACCELERATED) if reduced else least


def judge_outputs(
    facts: ModelFacts, recorded: Mapping[str, Rows], replays: Mapping[str, Replayed], floor: float
) -> list[Cause]:
    """The outputs of a device against those of this machine.

    Args:
        facts: of the model.
        recorded: outputs of the device by tensor.
        replays: of this machine, by kernels.
        floor: what another device may differ by.

    Returns:
        Causes without a place.
    """
    causes: list[Cause] = []
    for tensor in facts.outputs:
        if tensor.name not in recorded:
            continue
        device = np.stack([row.ravel() for row in real_rows(recorded[tensor.name], tensor)])
        here = [one.outputs[tensor.name].reshape(len(device), -1) for one in replays.values()]
        if here[0].shape != device.shape:
            continue
        trusted, found = ([{tensor.name: row} for row in side] for side in (here[0], device))
        if broken := output_causes(trusted, found, "the device"):
            causes += broken
            continue
        limit, nrmse = _distances(device, here, floor)
        if nrmse > limit:
            finding = DeviceKernelDiffers(tensor=tensor.name, nrmse=nrmse, limit=limit, frames=len(device))
            causes.append(Cause(finding, DEVICE_KERNEL, verified=True, rule="device_output"))
    return causes


def _distances(device: NDArray[np.float64], here: Sequence[NDArray[np.float64]], floor: float) -> tuple[float, float]:
    """The limit and the nRMSE, of values or of logarithms of probabilities, whichever is further beyond."""
    sides = [(device, here)]
    if _are_probabilities(device) and device.shape[1] > 1:
        sides.append(
            (
                np.log(np.maximum(device, LEAST_PROBABILITY)),
                [np.log(np.maximum(one, LEAST_PROBABILITY)) for one in here],
            )
        )
    found = []
    for values, others in sides:
        natural = max((nrmse_of(one, other) or 0.0 for one in others for other in others), default=0.0)
        nrmse = min(_nrmse(one, values) for one in others)
        found.append((max(floor, DEVICE_TIMES * natural), nrmse))
    return max(found, key=lambda one: one[1] / one[0])


def _nrmse(reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> float:
    found = nrmse_of(reference, candidate)
    return float("inf") if found is None else found


def _are_probabilities(values: NDArray[np.float64]) -> bool:
    return bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) < PROBABILITY_SUM).all())


def judge_layers(
    model: Path,
    facts: ModelFacts,
    inputs: Mapping[str, Sequence[NDArray[Any]]],
    recorded: Mapping[str, Rows],
    floor: float,
) -> tuple[list[Cause], tuple[LayerDiff, ...]]:
    """The recorded layers of a device against those of this machine, in the order of execution.

    Args:
        model: the .tflite file.
        facts: of the model.
        inputs: what the app fed, in the model's shapes, for the frames of the layers.
        recorded: layers by tensor name.
        floor: what another device may differ by.

    Returns:
        The cause at the first layer that differs, if one does; and the layers that the model has.
    """
    tensors = _layers_of(facts)
    known = {name: rows for name, rows in recorded.items() if name in tensors}
    few = {name: rows[:FRAMES_OF_LAYERS] for name, rows in inputs.items()}
    here = {kernels: replay_layers(model, few, set(known), kernels) for kernels in KERNELS}
    causes: list[Cause] = []
    entries = []
    for name in sorted(known, key=lambda one: tensors[one][0]):
        if name not in here[XNNPACK]:
            continue
        index, op, tensor = tensors[name]
        nearest, natural, entry = _compared(
            known[name], tensor, (index, op), [here[one][name] for one in (XNNPACK, BUILTIN)]
        )
        entries.append(entry)
        limit = max(floor, DEVICE_TIMES * natural)
        if not causes and (nearest > limit or entry.problem is not None):
            finding = DeviceKernelDiffers(
                tensor=name, nrmse=nearest, limit=limit, frames=len(here[XNNPACK][name]), op=op
            )
            causes.append(Cause(finding, DEVICE_KERNEL, name, index, verified=True, rule="device_layer"))
    return causes, tuple(entries)


def _compared(
    rows: Rows, tensor: TensorFacts, place: tuple[int, str], here: Sequence[Sequence[NDArray[Any]]]
) -> tuple[float, float, LayerDiff]:
    """The nRMSE to the nearest kernels, that of the kernels among each other, and the entry of the layer."""
    sums = [LayerSums() for _ in here]
    natural = LayerSums()
    for number, first in enumerate(here[0]):
        row = np.asarray(rows[number])
        stored = row.dtype == first.dtype
        for one, kernels in zip(sums, here, strict=True):
            one.add(
                kernels[number], row.reshape(first.shape), tensor.quantization, tensor.quantization if stored else None
            )
        natural.add(first, here[1][number], tensor.quantization, tensor.quantization)
    figures = min((one.figures() for one in sums), key=lambda one: float("inf") if one.nrmse is None else one.nrmse)
    nearest = float("inf") if figures.nrmse is None else figures.nrmse
    entry = LayerDiff(
        name=tensor.name,
        op=place[1],
        op_index=place[0],
        reference=tensor.name,
        metrics=figures.values,
        problem=figures.problem,
        non_finite=figures.non_finite,
        reference_non_finite=figures.reference_non_finite,
    )
    return nearest, natural.figures().nrmse or 0.0, entry


def _layers_of(facts: ModelFacts) -> dict[str, tuple[int, str, TensorFacts]]:
    """Op index, op and tensor by the name of each layer."""
    return {
        facts.tensors[output].name: (op.index, op.name, facts.tensors[output])
        for op in facts.ops
        for output in op.outputs
        if output >= 0
    }

"""Finds the smallest part of two models that still shows a fault.

Native code runs here: call it as a job of `windtunnel.isolation.ChildPool`.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN, spelled_in_comparisons
from windtunnel.diagnosis.feeding.paired_inputs import feed
from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.graph.scale_overflow import overflowing
from windtunnel.diagnosis.minimal.case_bundle import bundle
from windtunnel.diagnosis.minimal.graph_region import Boundary, Region, boundaries_of, regions
from windtunnel.diagnosis.thresholds.minimal_thresholds import (
    LEAST_SAMPLES,
    MOST_SAMPLES,
    ROUNDING_FLOOR,
    ROUNDING_FLOOR_FLOAT,
    SHOWN_TIMES,
    TRIED_SAMPLES,
)
from windtunnel.errors import InvalidInput, NotFound, UserError
from windtunnel.isolation import progress
from windtunnel.tflite import Accelerator, ModelFacts, Runner, TensorFacts, dequantize, quantize, read_model
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.tensor_error import nrmse_of


@dataclass(frozen=True, slots=True)
class MinimalCase:
    """A case: the zip's bytes, and what `case.json` in it says."""

    content: bytes
    case: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Fed:
    """What one sample gives: stored inputs of both parts, by the order of the region's inputs."""

    reference: tuple[NDArray[Any], ...]
    candidate: tuple[NDArray[Any], ...]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A part that was run: inputs, expected output in the candidate's layout, and error, per sample."""

    fed: tuple[_Fed, ...]
    expected: tuple[NDArray[np.float64], ...]
    errors: tuple[float, ...]
    floor: float


def minimal_case(
    reference: Path,
    candidate: Path,
    cause: Cause,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None = None,
    *,
    boundaries: Sequence[Boundary] | None = None,
    kernels: tuple[Accelerator, Accelerator] = (BUILTIN, BUILTIN),
) -> MinimalCase:
    """The smallest submodels, with samples, that still show the fault of a cause.

    The first part has only the op of the cause, as far as both models share tensors around it. It grows until the fault
    shows in the median of the samples that show it best, at least 3 if there are so many. The fault shows as an error
    twice as large as the rounding of the part's types, or as NaN and infinity. The limit of the script is the geometric
    mean of this rounding and the measured error.

    Args:
        reference: the reference model; for a fault of kernels the same file as `candidate`.
        candidate: the candidate model.
        cause: its `op_index` is the candidate's op to start from.
        samples: as `compare_models` takes them.
        pipeline: as `compare_models` takes it.
        boundaries: tensors that are the same in both models; None: those that the structure shows.
        kernels: what runs the reference and the candidate.

    Returns:
        The case.

    Raises:
        InvalidInput: the cause has no place.
        NotFound: no part of the models shows the fault, or an op ends the process.
    """
    reference_facts, candidate_facts = read_model(reference), read_model(candidate)
    start = _op_of(cause, reference_facts, candidate_facts)
    shared = boundaries_of(reference_facts, candidate_facts) if boundaries is None else list(boundaries)
    for number, region in enumerate(regions(reference_facts, candidate_facts, shared, start)):
        progress(min(0.9, number / 20), f"part {number + 1}: {len(region.candidate_ops)} ops")
        with tempfile.TemporaryDirectory(prefix="windtunnel-") as folder:
            parts = Path(folder, "reference.tflite"), Path(folder, "candidate.tflite")
            try:
                _cut(reference_facts, candidate_facts, region, parts)
                seen = _try(
                    reference_facts,
                    candidate_facts,
                    region,
                    parts,
                    feed(samples, pipeline, reference_facts, candidate_facts),
                    kernels,
                )
            except UserError:
                continue
            best = _best(seen)
            if best is not None:
                return _pack((reference_facts, candidate_facts), cause, region, parts, seen, best, kernels)
    raise NotFound(
        f"no part of {candidate.name} around op {start} shows {cause.code} by itself",
        hint="the fault may need more samples, or be in another op",
    )


def _op_of(cause: Cause, reference: ModelFacts, candidate: ModelFacts) -> int:
    """The candidate's op of a cause.

    Raises:
        InvalidInput: the cause has no op in the candidate.
        NotFound: one of the models has an op that ends the process that runs it.
    """
    if cause.op_index is None:
        raise InvalidInput(f"{cause.code} has no op to cut out", hint="only a cause with a place makes a minimal case")
    name = candidate.path.name
    if not 0 <= cause.op_index < len(candidate.ops):
        raise InvalidInput(f"{name} has no op {cause.op_index}")
    fatal = next((why for model in (reference, candidate) for why in overflowing(model).values()), None)
    if fatal is not None:
        raise NotFound(f"no part of {name} can be run as a case: {fatal}", hint="the model itself shows it")
    return cause.op_index


def _cut(reference: ModelFacts, candidate: ModelFacts, region: Region, parts: tuple[Path, Path]) -> None:
    for facts, path, candidate_tensor in ((reference, parts[0], False), (candidate, parts[1], True)):
        editor = Editor(facts.path)
        inputs = [_side(one, candidate_tensor) for one in _read_by(region, facts, candidate_tensor)]
        editor.cut(inputs, [_side(region.output, candidate_tensor)])
        editor.write(path)


def _side(boundary: Boundary, candidate: bool) -> int:
    return boundary.candidate if candidate else boundary.reference


def _read_by(region: Region, facts: ModelFacts, candidate: bool) -> list[Boundary]:
    """The region's inputs that a model's part really reads."""
    ops = region.candidate_ops if candidate else region.reference_ops
    read = {index for op in ops for index in facts.ops[op].inputs}
    return [one for one in region.inputs if _side(one, candidate) in read]


def _try(
    reference: ModelFacts,
    candidate: ModelFacts,
    region: Region,
    parts: tuple[Path, Path],
    samples: Any,
    kernels: tuple[Accelerator, Accelerator],
) -> _Seen:
    """Runs both parts on what the whole reference gives at the region's inputs."""
    whole = Runner(reference.path, accelerator=BUILTIN, preserve_all=True)
    runners = [Runner(path, accelerator=kind) for path, kind in zip(parts, kernels, strict=True)]
    fed, expected, errors = [], [], []
    for inputs in islice(samples, TRIED_SAMPLES):
        given = _feed(reference, candidate, region, _values(whole, inputs))
        answers = [
            _answer(runner, arrays) for runner, arrays in zip(runners, (given.reference, given.candidate), strict=True)
        ]
        order = region.output.permutation
        wanted = answers[0] if order is None else np.transpose(answers[0], order)
        fed.append(given)
        expected.append(np.ascontiguousarray(wanted))
        errors.append(_error(wanted, answers[1]))
    return _Seen(tuple(fed), tuple(expected), tuple(errors), _floor(reference, candidate, region))


def _values(whole: Runner, inputs: Mapping[str, NDArray[Any]]) -> dict[int, NDArray[np.float64]]:
    """Real values of all tensors of the reference in one run, by index."""
    whole.run(inputs)
    tensors = whole.facts.tensors
    values = {index: dequantize(array, tensors[index].quantization) for index, array in whole.fed.items()}
    return values | {one.tensor.index: dequantize(one.array, one.tensor.quantization) for one in whole.layers()}


def _feed(
    reference: ModelFacts, candidate: ModelFacts, region: Region, values: Mapping[int, NDArray[np.float64]]
) -> _Fed:
    """Both parts get the values as the candidate's tensors hold them: rounding before the part is not its fault."""
    held = {}
    stored = {}
    for one in region.inputs:
        order = one.permutation
        moved = values[one.reference] if order is None else np.transpose(values[one.reference], order)
        tensor = candidate.tensors[one.candidate]
        stored[one] = _stored(moved, tensor)
        back = dequantize(stored[one], tensor.quantization)
        held[one] = back if order is None else np.transpose(back, np.argsort(order))
    own = [_stored(held[one], reference.tensors[one.reference]) for one in _read_by(region, reference, False)]
    return _Fed(tuple(own), tuple(stored[one] for one in _read_by(region, candidate, True)))


def _stored(values: NDArray[np.float64], tensor: TensorFacts) -> NDArray[Any]:
    if tensor.quantization is not None and tensor.is_quantized_integer:
        return quantize(values, tensor.quantization, tensor.dtype)
    return np.ascontiguousarray(values, dtype=tensor.dtype)


def _answer(runner: Runner, arrays: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    names = [tensor.name for tensor in runner.facts.inputs]
    made = runner.run(dict(zip(names, arrays, strict=True)), dequantized=True)
    return next(iter(made.values()))


def _error(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """nRMSE of one sample; infinite where the shape differs or only `found` is not finite; as in the zip's script."""
    if expected.shape != found.shape or (np.isfinite(expected).all() and not np.isfinite(found).all()):
        return math.inf
    figure = nrmse_of(expected, found)
    return math.inf if figure is None else figure


def _floor(reference: ModelFacts, candidate: ModelFacts, region: Region) -> float:
    """What rounding explains, growing with the root of the number of ops (errors that are independent)."""
    types = set(_types(reference, region.reference_ops)) | set(_types(candidate, region.candidate_ops))
    coarsest = max((ROUNDING_FLOOR.get(kind, ROUNDING_FLOOR_FLOAT) for kind in types), default=ROUNDING_FLOOR_FLOAT)
    return coarsest * math.sqrt(len(region.candidate_ops))


def _types(facts: ModelFacts, ops: Sequence[int]) -> Iterator[str]:
    for op in ops:
        for index in (*facts.ops[op].inputs, *facts.ops[op].outputs):
            if index >= 0 and (
                facts.tensors[index].quantization is not None or facts.tensors[index].dtype == "float16"
            ):
                yield facts.tensors[index].dtype


def _best(seen: _Seen) -> list[int] | None:
    """The samples that show the fault best, worst first; None if it does not show."""
    order = sorted(range(len(seen.errors)), key=lambda number: (-seen.errors[number], number))
    over = sum(error >= SHOWN_TIMES * seen.floor for error in seen.errors)
    kept = order[: max(min(over, MOST_SAMPLES), min(LEAST_SAMPLES, len(order)))]
    shown = bool(kept) and float(np.median([seen.errors[number] for number in kept])) >= SHOWN_TIMES * seen.floor
    return kept if shown else None


def _pack(
    models: tuple[ModelFacts, ModelFacts],
    cause: Cause,
    region: Region,
    parts: tuple[Path, Path],
    seen: _Seen,
    kept: Sequence[int],
    kernels: tuple[Accelerator, Accelerator],
) -> MinimalCase:
    reference, candidate = models
    errors = [seen.errors[number] for number in kept]
    middle = float(np.median(errors))
    limit = math.sqrt(seen.floor * middle) if math.isfinite(middle) else SHOWN_TIMES * seen.floor
    case: dict[str, Any] = {
        "schema": "windtunnel.case/1",
        "code": cause.code,
        "place": {"layer": cause.layer, "op_index": cause.op_index},
        # An infinite error has no JSON number.
        "errors": [error if math.isfinite(error) else 1e30 for error in errors],
        "limit": limit,
        "floor": seen.floor,
        "showing": sum(error > limit for error in seen.errors),
        "tried": len(seen.errors),
        "kernels": dict(zip(("reference", "candidate"), map(spelled_in_comparisons, kernels), strict=True)),
        "reference": _model(reference),
        "candidate": _model(candidate),
        "region": _region(reference, candidate, region),
        "permutation": region.output.permutation,
        "versions": {name: version(name) for name in ("ai-edge-litert", "numpy")},
    }
    inputs = {
        f"{side}/{place:03d}": np.stack([getattr(seen.fed[number], side)[place] for number in kept])
        for side in ("reference", "candidate")
        for place in range(len(getattr(seen.fed[0], side)))
    }
    expected = _narrow(np.stack([seen.expected[number] for number in kept]))
    content = bundle(parts[1].read_bytes(), parts[0].read_bytes(), inputs, expected, case)
    progress(1.0, f"{len(region.candidate_ops)} ops, {len(kept)} samples")
    return MinimalCase(content, case)


def _region(reference: ModelFacts, candidate: ModelFacts, region: Region) -> dict[str, Any]:
    return {
        "reference": [{"op_index": op, "op": reference.ops[op].name} for op in region.reference_ops],
        "candidate": [{"op_index": op, "op": candidate.ops[op].name} for op in region.candidate_ops],
        "inputs": [candidate.tensors[one.candidate].name for one in region.inputs],
        "output": candidate.tensors[region.output.candidate].name,
    }


def _narrow(values: NDArray[np.float64]) -> NDArray[Any]:
    """As float32 where that keeps every value."""
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow.astype(np.float64), values, equal_nan=True) else values


def _model(facts: ModelFacts) -> dict[str, str]:
    return {"name": facts.path.name, "sha256": hashlib.sha256(facts.path.read_bytes()).hexdigest()}

"""The converted model against the original's outputs. A job for a child process: it runs the interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.converter.domain import Check, judge
from windtunnel.pipeline import sample_inputs
from windtunnel.tflite import ModelFacts, Runner, Scores, agreement, input_specs, score


def check(model: Path, original: Mapping[str, Path], samples: Path | None, pipeline: Mapping[str, Any] | None) -> Check:
    """Runs `model` on the samples and compares with the original's outputs, (N, ...) arrays by output name.

    An empty `original` (the model came as .tflite) leaves the figures of the original out.
    """
    runner = Runner(model)
    inputs = sample_inputs(samples, pipeline, input_specs(runner.facts))
    labels = inputs.labels
    references = {name: np.load(path, mmap_mode="r") for name, path in original.items()}
    matched = match_outputs(runner.facts, references)
    sums = {name: _Sums() for name in matched.values()}
    first: list[NDArray[Any]] = []
    main = runner.facts.outputs[0].name
    for index, sample in enumerate(inputs):
        results = runner.run(sample, dequantized=True)
        for ours, theirs in matched.items():
            sums[theirs].add(np.asarray(references[theirs][index], np.float64), results[ours][0])
        first.append(results[main].reshape(1, -1) if results[main].ndim else results[main].reshape(1, 1))
        isolation.progress(index / inputs.count, f"converted: {index + 1} of {inputs.count} samples")
    return _summary(np.concatenate(first), references, matched.get(main), sums, labels, synthetic=samples is None)


def _summary(
    outputs: NDArray[Any],
    references: Mapping[str, NDArray[Any]],
    main: str | None,
    sums: Mapping[str, _Sums],
    labels: NDArray[Any] | None,
    *,
    synthetic: bool,
) -> Check:
    converted = score(outputs, labels)
    if not references:
        return Check(None, converted, None, None, len(outputs), synthetic, True, "taken as it is")
    original: Scores | None = None
    same: float | None = None
    if main is not None:
        truth = np.asarray(references[main]).reshape(len(outputs), -1)
        original = score(truth, labels)
        same = agreement(outputs, truth) if converted is not None else None
    nrmse = max((item.nrmse() for item in sums.values()), default=None) if len(sums) == len(references) else None
    passed, message = judge(same, nrmse, labelled=labels is not None)
    return Check(original, converted, same, nrmse, len(outputs), synthetic, passed, message)


class _Sums:
    """Running sums for sqrt(MSE) / max(range of both), in float64."""

    def __init__(self) -> None:
        self._squares = 0.0
        self._count = 0
        self._low = [np.inf, np.inf]
        self._high = [-np.inf, -np.inf]

    def add(self, reference: NDArray[np.float64], value: NDArray[np.float64]) -> None:
        self._squares += float(np.square(reference - value.reshape(reference.shape)).sum())
        self._count += reference.size
        for index, array in enumerate((reference, value)):
            self._low[index] = min(self._low[index], float(array.min()))
            self._high[index] = max(self._high[index], float(array.max()))

    def nrmse(self) -> float:
        """0 for equal constants; infinity where constants differ."""
        error = float(np.sqrt(self._squares / max(self._count, 1)))
        span = max(high - low for low, high in zip(self._low, self._high, strict=True))
        if span == 0:
            return 0.0 if error == 0 else float("inf")
        return error / span


def match_outputs(facts: ModelFacts, references: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Output tensors of the model to outputs of the original: by signature name, tensor name, or the only shape."""
    left = dict(references)
    matched: dict[str, str] = {}
    for tensor in facts.outputs:
        for name in (facts.signature_name(tensor), tensor.name, tensor.name.split(":")[0]):
            if name in left and left[name].size // len(left[name]) == int(np.prod(tensor.shape)) // max(
                tensor.shape[0], 1
            ):
                matched[tensor.name] = name
                del left[name]
                break
    for tensor in facts.outputs:
        if tensor.name not in matched:
            same = [name for name, array in left.items() if array.shape[1:] == tensor.shape[1:]]
            if len(same) == 1:
                matched[tensor.name] = same[0]
                del left[same[0]]
    return matched

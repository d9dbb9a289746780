"""The converted model against the original's outputs. A job for a child process: it runs the interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.converter.answers import Answers, Figures
from windtunnel.converter.domain import Check, judge
from windtunnel.pipeline import Shapes, sample_inputs, shapes_fed
from windtunnel.tflite import ModelFacts, Runner, TensorFacts, input_specs


def check(
    model: Path,
    original: Mapping[str, Path],
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
    shapes: Shapes = MappingProxyType({}),
) -> Check:
    """Runs `model` on the samples and compares with the original's outputs, (N, ...) arrays by output name.

    An empty `original` (the model came as .tflite) leaves the figures of the original out. `shapes` are those that
    the plan gives for open dimensions.
    """
    runner = Runner(model)
    specs = input_specs(runner.facts)
    inputs = sample_inputs(samples, pipeline, specs, shapes=shapes)
    answers = Answers(runner.facts, inputs.labels)
    references = {name: np.load(path, mmap_mode="r") for name, path in original.items()}
    matched = match_outputs(runner.facts, references)
    sums = {tensor.name: _Sums() for tensor in runner.facts.outputs}
    for index, sample in enumerate(inputs):
        results = {
            name: value[0] if value.ndim else value for name, value in runner.run(sample, dequantized=True).items()
        }
        for ours, value in results.items():
            theirs = references[matched[ours]][index] if ours in matched else None
            sums[ours].add(value, theirs)
        answers.add(index, results)
        isolation.progress(index / inputs.count, f"converted: {index + 1} of {inputs.count} samples")
    unmatched = _unmatched(runner.facts, matched, references, sums)
    truth = references.get(matched.get(answers.output or "", ""))
    outputs = _Outputs(answers, references, truth, sums, unmatched, inputs.count)
    fed = shapes_fed(specs, shapes, None if samples is None else next(iter(inputs)))
    result = replace(_summary(outputs, synthetic=samples is None), input_shapes=fed)
    # What holds NaN says nothing of samples and labels.
    if any(item.non_finite for item in sums.values()):
        return result
    return replace(result, findings=(*result.findings, *answers.findings(runner, samples, pipeline, truth)))


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What both models gave on `count` samples. `truth`: the original's output that labels are compared with."""

    answers: Answers
    references: Mapping[str, NDArray[Any]]
    truth: NDArray[Any] | None
    sums: Mapping[str, _Sums]
    unmatched: str
    count: int


def _summary(outputs: _Outputs, *, synthetic: bool) -> Check:
    answers, count = outputs.answers, outputs.count
    non_finite = {name: sums.non_finite for name, sums in outputs.sums.items()}
    # Figures of outputs that hold NaN are no figures: the verdict says what is wrong instead.
    sound = not any(non_finite.values())
    converted = answers.converted() if sound else Figures()
    elements: tuple[float | None, float | None] = (None, converted.elements)
    if not outputs.references and sound:
        return Check(None, converted.scores, None, None, count, synthetic, True, "taken as it is", elements=elements)
    original = Figures()
    same: float | None = None
    if outputs.truth is not None:
        original = answers.original(outputs.truth)
        same = answers.agreement(outputs.truth) if converted.scores is not None and not outputs.unmatched else None
    compared = [sums.nrmse() for sums in outputs.sums.values() if sums.compared]
    nrmse = max(compared) if sound and compared and not outputs.unmatched else None
    passed, message = judge(
        same,
        nrmse,
        labelled=answers.reading.metric == "classes",
        non_finite=non_finite,
        unmatched=outputs.unmatched,
    )
    elements = (original.elements, converted.elements)
    return Check(original.scores, converted.scores, same, nrmse, count, synthetic, passed, message, elements=elements)


def _unmatched(
    facts: ModelFacts, matched: Mapping[str, str], references: Mapping[str, NDArray[Any]], sums: Mapping[str, _Sums]
) -> str:
    """Which outputs of the original have no counterpart, and what is there instead; empty where all have one."""
    shapes = [f"{name!r} has the shape {item.other_shape}" for name, item in sums.items() if item.other_shape]
    if shapes:
        return ", ".join(shapes)
    missing = [f"{name!r} {array.shape[1:]}" for name, array in references.items() if name not in matched.values()]
    if not missing:
        return ""
    left = [f"{t.name!r} {t.shape[1:]}" for t in facts.outputs if t.name not in matched]
    return f"the original has {', '.join(missing)}, the converted model {', '.join(left) or 'no other'} (per sample)"


class _Sums:
    """Running sums of one output for sqrt(MSE) / max(range of both), in float64."""

    def __init__(self) -> None:
        self.non_finite = 0
        self.compared = False
        self.other_shape = ""
        self._squares = 0.0
        self._count = 0
        self._low = [np.inf, np.inf]
        self._high = [-np.inf, -np.inf]

    def add(self, value: NDArray[Any], reference: NDArray[Any] | None) -> None:
        """Adds one sample: `value` of the converted model and, where it has a counterpart, that of the original."""
        bad = int(value.size - np.isfinite(value).sum())
        self.non_finite += bad
        if reference is None or bad:
            return
        reference = np.asarray(reference, np.float64)
        if reference.shape != value.shape:
            # A dynamic dimension shows its size only now.
            self.other_shape = f"{value.shape} for {reference.shape} of the original"
            return
        self.compared = True
        self._squares += float(np.square(reference - value).sum())
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
    """Output tensors of the model to outputs of the original: by signature name, tensor name, or the only shape.

    Only outputs of equal shapes apart from the batch match.
    """
    left = dict(references)
    matched: dict[str, str] = {}
    for tensor in facts.outputs:
        for name in (facts.signature_name(tensor), tensor.name, tensor.name.split(":")[0]):
            if name in left and _same_shape(tensor, left[name]):
                matched[tensor.name] = name
                del left[name]
                break
    for tensor in facts.outputs:
        if tensor.name not in matched:
            same = [name for name, array in left.items() if _same_shape(tensor, array)]
            if len(same) == 1:
                matched[tensor.name] = same[0]
                del left[same[0]]
    return matched


def _same_shape(tensor: TensorFacts, reference: NDArray[Any]) -> bool:
    """Whether shapes agree apart from the batch; a dynamic dimension agrees with any size."""
    ours, theirs = tensor.shape_signature[1:], reference.shape[1:]
    return len(ours) == len(theirs) and all(want in (-1, got) for want, got in zip(ours, theirs, strict=True))

"""The converted model against the original's outputs. A job for a child process: it runs the interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel import isolation
from windtunnel.converter.domain.conversion import Check, FirstNorm, judge
from windtunnel.converter.use_cases.match_outputs import PROBED, Matching, OutputSums, match_outputs, shown
from windtunnel.converter.use_cases.score_answers import Answers, Figures
from windtunnel.datacheck.findings import CONVERSION_SELECT_TF_OPS, Finding
from windtunnel.pipeline import Shapes, sample_inputs, samples_fault, shapes_fed
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.open_task import Asked
from windtunnel.tasks.raw_heads import postprocess_of
from windtunnel.tasks.task_sums import TaskFigures
from windtunnel.tflite import ModelFacts, Runner, input_specs


def check(
    model: Path,
    original: Mapping[str, Path],
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
    shapes: Shapes = MappingProxyType({}),
    norm: FirstNorm | None = None,
    task: TaskSpec | None = None,
) -> Check:
    """Runs a converted model on the samples and compares its outputs with the original's.

    Args:
        model: the .tflite file.
        original: files of the original's outputs, (N, ...), by output name; empty: the model came as .tflite.
        samples: .npz or folder of samples; None: seeded random inputs.
        pipeline: content of a pipeline.json; None: samples as they are.
        shapes: that the plan gives for dynamic dimensions.
        norm: the first batch norm, if samples have no labels.
        task: that the plan names; None: the samples say.

    Returns:
        The check.
    """
    runner = Runner(model)
    facts = runner.facts
    specs = input_specs(facts)
    inputs = sample_inputs(samples, pipeline, specs, shapes=shapes)
    with samples_fault(samples):
        loaded = inputs.samples if isinstance(inputs, SampledFeed) else None
        asked = Asked(task, loaded, postprocess_of(pipeline))
        answers = Answers(facts, inputs.labels, asked)
    references = {name: np.load(path, mmap_mode="r") for name, path in original.items()}
    probe = [_run(runner, sample) for sample in itertools.islice(inputs, PROBED)] if references else []
    matching = match_outputs(facts, references, probe)
    sums = {tensor.name: OutputSums() for tensor in facts.outputs}
    for index, sample in enumerate(inputs):
        results = _run(runner, sample)
        for name, value in results.items():
            expected = references[matching.pairs[name]][index] if name in matching.pairs else None
            sums[name].add(value, expected)
        answers.add(index, results)
        isolation.progress(index / inputs.count, f"converted: {index + 1} of {inputs.count} samples")
    truth = references.get(matching.pairs.get(answers.output or "", ""))
    outputs = _Outputs(facts, answers, references, truth, matching, sums, inputs.count)
    fed = shapes_fed(specs, shapes, None if samples is None else next(iter(inputs)))
    result = replace(_summary(outputs, synthetic=samples is None), input_shapes=fed, findings=matching.findings)
    # What holds NaN says nothing of samples and labels.
    if any(item.non_finite for item in sums.values()):
        return result
    return replace(result, findings=(*result.findings, *answers.findings(runner, inputs, pipeline, truth, norm)))


def not_run(flex: Sequence[str], *, synthetic: bool) -> Check:
    """The check of a model with Select TF ops, which no runtime of this machine runs.

    Args:
        flex: those ops.
        synthetic: there are no samples.

    Returns:
        The check.
    """
    named = ", ".join(flex)
    finding = Finding(
        CONVERSION_SELECT_TF_OPS,
        f"the model needs Select TF ops ({named}): it was not compared with the original, and neither its layers nor "
        "its latency can be measured here",
        "bundle the Flex library with the app and measure there, or replace the ops",
        {"ops": list(flex)},
    )
    message = f"not compared with the original: the runtime here lacks {named}"
    return Check(None, None, None, None, 0, synthetic, True, message, findings=(finding,))


def _run(runner: Runner, sample: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The outputs for one sample as real numbers, without the batch where they have one."""
    results = runner.run(sample, dequantized=True)
    return {name: value[0] if value.shape[:1] == (1,) else value for name, value in results.items()}


@dataclass(frozen=True, slots=True)
class _Outputs:
    """What both models gave on `count` samples. `truth`: the original's output that labels are compared with."""

    facts: ModelFacts
    answers: Answers
    references: Mapping[str, NDArray[Any]]
    truth: NDArray[Any] | None
    matching: Matching
    sums: Mapping[str, OutputSums]
    count: int

    def called(self, tensor: str) -> str:
        return next(shown(self.facts, one) for one in self.facts.outputs if one.name == tensor)

    @property
    def unmatched(self) -> str:
        shapes = [
            f"{self.called(name)!r} has the shape {s.other_shape}" for name, s in self.sums.items() if s.other_shape
        ]
        return ", ".join(shapes) or self.matching.unmatched


def _summary(outputs: _Outputs, *, synthetic: bool) -> Check:
    answers, count = outputs.answers, outputs.count
    non_finite = {outputs.called(name): sums.non_finite for name, sums in outputs.sums.items()}
    # Figures of outputs with NaN mean nothing: the verdict says what is wrong instead.
    sound = not any(non_finite.values())
    converted = answers.converted() if sound else Figures()
    if not outputs.references and sound:
        taken = Check(None, converted.scores, None, None, count, synthetic, True, "taken as it is")
        return _with_elements(taken, Figures(), converted, *_tasks(outputs, sound=sound))
    original = Figures()
    same: float | None = None
    if outputs.truth is not None:
        original = answers.original(outputs.truth)
        same = answers.agreement(outputs.truth) if converted.scores is not None and not outputs.unmatched else None
    errors = {outputs.called(name): sums.nrmse() for name, sums in outputs.sums.items() if sums.compared}
    known = sound and bool(errors) and not outputs.unmatched
    passed, message = judge(
        same,
        errors if known else {},
        labelled=answers.reading.metric == "classes",
        non_finite=non_finite,
        unmatched=outputs.unmatched,
        exchanged={outputs.called(one): other for one, other in outputs.matching.exchanged.items()},
    )
    nrmse = max(errors.values()) if known else None
    found = Check(original.scores, converted.scores, same, nrmse, count, synthetic, passed, message)
    return _with_elements(found, original, converted, *_tasks(outputs, sound=sound))


def _tasks(outputs: _Outputs, *, sound: bool) -> tuple[TaskFigures | None, TaskFigures | None]:
    """How well the original and the converted model do their task."""
    if not sound:
        return None, None
    pairs = outputs.matching.pairs
    originals = {name: outputs.references[other] for name, other in pairs.items() if other in outputs.references}
    return outputs.answers.task_figures(originals, outputs.count)


def _with_elements(
    found: Check,
    original: Figures,
    converted: Figures,
    first: TaskFigures | None = None,
    second: TaskFigures | None = None,
) -> Check:
    both = (original, converted)
    elements, spreads = (both[0].elements, both[1].elements), (both[0].spread, both[1].spread)
    return replace(found, elements=elements, spreads=spreads, tasks=(first, second))

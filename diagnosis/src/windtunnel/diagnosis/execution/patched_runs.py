"""Running a candidate with a change: every layer in isolation, and the whole model to its outputs."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN, REFERENCE, XNNPACK
from windtunnel.diagnosis.execution.histograms import histograms
from windtunnel.diagnosis.execution.isolated_layers import Isolated
from windtunnel.diagnosis.execution.run_samples import add_layer
from windtunnel.diagnosis.execution.runnable_pair import RunnablePair
from windtunnel.diagnosis.execution.trials import ValueSums
from windtunnel.diagnosis.feeding.paired_inputs import translate
from windtunnel.diagnosis.findings.histogram import Histogram
from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.diagnosis.numerics.isolated_sums import Local, Stored
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures, LayerSums
from windtunnel.diagnosis.static.suspect import Patch, all_of
from windtunnel.diagnosis.thresholds.execution_thresholds import OUTPUT_SAMPLES, PROBE_SAMPLES
from windtunnel.errors import UserError
from windtunnel.pipeline import Feed
from windtunnel.tasks.detection_outputs import detection_op
from windtunnel.tflite import Accelerator, ModelFacts, Runner, dequantize
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.op_kinds import CLASSIFYING, QUANTIZING, SHAPING

# The accelerator that a layer is tried on if the first one gave a doubtful result.
OTHER_KERNELS: Final[Mapping[Accelerator, Accelerator]] = {
    XNNPACK: BUILTIN,
    BUILTIN: XNNPACK,
    REFERENCE: BUILTIN,
}
# They only restate what the layer before them says, some of it less clearly.
_CLOSING = QUANTIZING | SHAPING | CLASSIFYING


class LiveTrials:
    """Tries changes of a candidate on the first samples.

    Args:
        runnable: both models, ready to run.
        given: the inputs.
        matching: of the two models.
        pairs: the layers that are run in isolation.
        count: how many samples there are.
        threads: CPU threads.
        accelerator: of both models.
        try_fixes: whether changes and other kernels are tried at all: native code may end the process.
    """

    def __init__(
        self,
        runnable: RunnablePair,
        given: Feed,
        matching: Matching,
        pairs: Sequence[Pair],
        count: int,
        *,
        threads: int,
        accelerator: Accelerator,
        try_fixes: bool = True,
    ) -> None:
        self._runnable, self._candidate = runnable, runnable.candidate.facts.path
        self._given, self._matching, self._pairs, self._count = given, matching, pairs, count
        self._threads, self._accelerator = threads, accelerator
        # If nothing may be tried, no accelerator runs it.
        self._kernels = (accelerator, OTHER_KERNELS[accelerator]) if try_fixes else ()
        self._layers: dict[Accelerator, Mapping[int, Local]] = {}
        self._outputs: dict[Accelerator, list[float | None]] = {}

    def layers(
        self, samples: int, patch: Patch | None = None, *, accelerator: Accelerator | None = None
    ) -> dict[int, Local]:
        """Runs the layers in isolation.

        Args:
            samples: how many.
            patch: a change to try; None: none.
            accelerator: of the candidate; None: that of the run.

        Returns:
            Isolated errors by the candidate's tensor index.

        Raises:
            UserError: they cannot be run.
        """
        reference = self._runnable.fresh_reference()
        with tempfile.TemporaryDirectory(prefix="windtunnel-isolated-") as folder:
            isolated = Isolated(
                reference.facts.path,
                self._candidate,
                self._pairs,
                Path(folder),
                threads=self._threads,
                accelerator=accelerator or self._accelerator,
                patch=patch,
            )
            for sample in islice(self._given, min(self._count, samples)):
                isolated.add(_values(reference, sample, self._pairs))
            chance = self._runnable.facts.decided_by_chance
            return {index: one for index, one in isolated.result().items() if index not in chance}

    def observe(self, sums: Mapping[str, ValueSums], samples: int) -> None:
        """Implements `Trials.observe`."""
        reference = self._runnable.fresh_reference()
        for sample in islice(self._given, min(self._count, samples)):
            reference.run(sample)
            for one in sums.values():
                one.add(_real_values(reference, one.tensor))

    def histograms(
        self, pairs: Sequence[Pair], figures: Sequence[LayerFigures], samples: int
    ) -> list[Histogram | None]:
        """Implements `Trials.histograms`."""
        models = self._runnable.reference, self._runnable.candidate
        return histograms(*models, self._given, pairs, figures, limit=min(self._count, samples))

    def try_layers(self, patch: Patch) -> tuple[Mapping[int, Local], Mapping[int, Local]] | None:
        """Implements `Trials.try_layers`: what XNNPACK refuses (some ratios of scales) runs on other kernels."""
        for accelerator in self._kernels:
            try:
                after = self.layers(PROBE_SAMPLES, patch, accelerator=accelerator)
                if accelerator not in self._layers:
                    self._layers[accelerator] = self.layers(PROBE_SAMPLES, accelerator=accelerator)
                return self._layers[accelerator], after
            except UserError:
                continue
        return None

    def try_output(self, patch: Patch) -> tuple[float, float] | None:
        """Implements `Trials.try_output`: the worst of the last layers, or the one that the change moves most."""
        for accelerator in self._kernels:
            try:
                after = self.outputs(patch, accelerator=accelerator)
                if accelerator not in self._outputs:
                    self._outputs[accelerator] = self.outputs(accelerator=accelerator)
                return _moved(self._outputs[accelerator], after)
            except UserError:
                continue
        return None

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> list[tuple[float, float]] | None:
        """Implements `Trials.try_beyond`: also None if some output of the model cannot be judged."""
        if not self._all_judged():
            return None
        both = patch if base is None else all_of([base, patch])
        for accelerator in self._kernels:
            try:
                before, after = (
                    self.outputs(one, accelerator=accelerator, samples=samples, ends=self._all_ends())
                    for one in (base, both)
                )
                return _known(before, after)
            except UserError:
                continue
        return None

    def other_kernels(self, samples: int) -> Mapping[int, Local]:
        """Implements `Trials.other_kernels`."""
        if not self._kernels:
            return {}
        try:
            return self.layers(samples, accelerator=OTHER_KERNELS[self._accelerator])
        except UserError:
            return {}

    def outputs(
        self,
        patch: Patch | None = None,
        *,
        accelerator: Accelerator | None = None,
        samples: int | None = None,
        ends: Sequence[Pair] | None = None,
    ) -> list[float | None]:
        """Runs the whole model and compares its last layers.

        A softmax hides what happens to the logits: the layer before it counts, unless `ends` are given.

        Args:
            patch: a change to try; None: none.
            accelerator: of the candidate; None: that of the run.
            samples: how many; None: OUTPUT_SAMPLES.
            ends: the layers; None: the last ones.

        Returns:
            nRMSE of each; None: it has no figure.
        """
        count = min(self._count, OUTPUT_SAMPLES if samples is None else samples)
        ends = self._ends() if ends is None else ends
        sums = [LayerSums() for _ in ends]
        with tempfile.TemporaryDirectory(prefix="windtunnel-patched-") as folder:
            runner, moved = self._patched(Path(folder), patch, accelerator or self._accelerator)
            reference = self._runnable.fresh_reference()
            for inputs in islice(self._given, count):
                reference.run(inputs)
                runner.run(translate(inputs, reference.facts, runner.facts))
                for pair, one in zip(ends, sums, strict=True):
                    add_layer(one, pair, reference, runner, moved[pair.candidate.tensor.index])
        return [one.figures().nrmse for one in sums]

    def _ends(self) -> list[Pair]:
        """The layers that decide the outputs."""
        candidate = self._matching.candidate
        pairs = {pair.candidate.tensor.index: pair for pair in self._matching.pairs}
        ends = (self._end(output, pairs) for output in candidate.facts.main.output_indices)
        return list({one.candidate.tensor.index: one for one in ends if one is not None}.values())

    def _end(self, output: int, pairs: Mapping[int, Pair]) -> Pair | None:
        """The layer that decides an output; None where that cannot be judged."""
        candidate = self._matching.candidate
        if output in self._runnable.facts.no_figure[1]:
            return None
        index = output
        detections = detection_op(candidate.facts)
        if detections is not None and output in detections.outputs:
            # Raw boxes and raw scores decide the detections.
            index = detections.inputs[0 if output == detections.outputs[0] else 1]
        while (maker := candidate.makers.get(index)) is not None and maker.name in _CLOSING:
            index = maker.inputs[0]
        return pairs.get(index) or pairs.get(output)

    def _all_ends(self) -> list[Pair]:
        """The layers that decide the outputs, and the outputs: what makes a softmax of logits may be what differs."""
        candidate = self._matching.candidate
        pairs = {pair.candidate.tensor.index: pair for pair in self._matching.pairs}
        outputs = [pairs[index] for index in candidate.facts.main.output_indices if index in pairs]
        found = (
            *self._ends(),
            *(one for one in outputs if one.candidate.tensor.index not in self._runnable.facts.no_figure[1]),
        )
        return list({one.candidate.tensor.index: one for one in found}.values())

    def _all_judged(self) -> bool:
        """Whether every output of the candidate can be judged."""
        candidate = self._matching.candidate
        pairs = {pair.candidate.tensor.index: pair for pair in self._matching.pairs}
        return all(self._end(output, pairs) is not None for output in candidate.facts.main.output_indices)

    def _patched(self, folder: Path, patch: Patch | None, accelerator: Accelerator) -> tuple[Runner, Mapping[int, int]]:
        """The candidate with a change, all tensors preserved, and the index of each tensor of the candidate in it."""
        path = self._candidate
        if patch is not None:
            editor = Editor(self._candidate)
            patch(editor)
            path = editor.write(folder / self._candidate.name)
        runner = Runner(path, threads=self._threads, accelerator=accelerator, preserve_all=True)
        return runner, _by_maker(self._runnable.candidate.facts, runner.facts)


def _moved(before: Sequence[float | None], after: Sequence[float | None]) -> tuple[float, float] | None:
    """The worst error before and after, or, where it is the same, the one that changes most; None: one is unknown.

    What had no figure and has one now was infinitely far off.
    """
    if not after or any(one is None for one in after):
        return None
    known = [
        (math.inf if one is None else one, other) for one, other in zip(before, after, strict=True) if other is not None
    ]
    worst = max(one for one, _ in known), max(other for _, other in known)
    return worst if worst[0] != worst[1] else max(known, key=lambda pair: abs(pair[0] - pair[1]))


def _known(before: Sequence[float | None], after: Sequence[float | None]) -> list[tuple[float, float]] | None:
    """The errors before and after, side by side; None: one is unknown."""
    found = [(one, other) for one, other in zip(before, after, strict=True) if one is not None and other is not None]
    return found if found and len(found) == len(before) else None


def _by_maker(before: ModelFacts, after: ModelFacts) -> dict[int, int]:
    """Tensor indices of the results of ops in a copy that has the same ops, perhaps under other indices."""
    return {
        index: other
        for one, two in zip(before.ops, after.ops, strict=True)
        for index, other in zip(one.outputs, two.outputs, strict=True)
    }


def _real_values(runner: Runner, tensor: int) -> NDArray[np.float64]:
    """A tensor's values of the last run as real numbers, as a copy."""
    return dequantize(np.array(runner.view(tensor)), runner.facts.tensors[tensor].quantization)


def _values(reference: Runner, sample: Mapping[str, NDArray[Any]], pairs: Sequence[Pair]) -> dict[int, Stored]:
    """The reference's values of one sample by tensor index, as stored: its inputs and all paired layers."""
    reference.run(sample)
    tensors = reference.facts.tensors
    found = {index: Stored(array, tensors[index].quantization) for index, array in reference.fed.items()}
    for pair in pairs:
        index = pair.reference.tensor.index
        if index not in found:
            found[index] = Stored(np.array(reference.view(index)), tensors[index].quantization)
    return found

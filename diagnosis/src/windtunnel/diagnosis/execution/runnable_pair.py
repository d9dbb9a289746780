"""Which parts of a model can be run and judged, and why the others cannot.

A runtime lacks custom ops; those, and what depends on them, are put out of work in a copy, and the rest is compared.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.accelerators import BUILTIN, XNNPACK
from windtunnel.diagnosis.execution.detection_slots import WHY
from windtunnel.diagnosis.execution.pair_facts import PairFacts, Tensors, downstream, op_title, runs_op
from windtunnel.diagnosis.feeding.paired_inputs import translate
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.scale_overflow import overflowing
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tasks.detection_outputs import detection_op
from windtunnel.tflite import Accelerator, ModelFacts, OpFacts, Runner
from windtunnel.tflite.edit import Editor

# How the runtime says that it lacks an op; the group is the op's name.
_LACKS = (
    re.compile(r"unresolved custom op: ([^\s.]+)"),
    re.compile(r"Node number \d+ \((Flex\w+)\) failed to prepare"),
    re.compile(r"Didn't find op for builtin opcode '(\w+)'"),
)
# How it says that it has one, but not for the types of this model.
_NOT_THESE_TYPES = re.compile(
    r"(?:[Oo]nly supports?|not (?:currently )?supported|[Uu]nsupported).*Node number \d+ \((\w+)\) failed"
)
# XNNPACK names itself where it cannot take what it promised to.
_DELEGATE = "TfLiteXNNPackDelegate"


@dataclass(frozen=True, slots=True)
class Opened:
    """A model ready to run.

    `lost` are the tensors that its copy does not compute, with the reason; empty: it is the file itself.
    The copy has the model's indices.
    """

    runner: Runner
    lost: Mapping[int, str]


class RunnablePair:
    """Both models, ready to run, and what of them can be judged (`facts`).

    Args:
        matching: of the two models.
        opened: both models, ready to run.
    """

    def __init__(self, matching: Matching, opened: tuple[Opened, Opened]) -> None:
        self._opened = opened
        lost = Tensors(opened[0].lost, opened[1].lost)
        self.facts = PairFacts(matching, lost, opened[0].runner.accelerator)

    @property
    def reference(self) -> Runner:
        """The reference, or a copy without the ops that the runtime lacks."""
        return self._opened[0].runner

    @property
    def candidate(self) -> Runner:
        """The candidate, or a copy without the ops that the runtime lacks."""
        return self._opened[1].runner

    def fresh_reference(self) -> Runner:
        """The reference as before its first run."""
        return self.reference.twin() if self.facts.keeps_state else self.reference

    def hidden(self, matching: Matching) -> Tensors:
        """Tensors that the runtime does not compute or show. Call it after a run.

        Args:
            matching: of the two models.

        Returns:
            With the reasons.
        """
        first, second = self._opened
        return Tensors(
            dict(first.lost) | _hidden(first, [pair.reference.tensor.index for pair in matching.pairs]),
            dict(second.lost) | _hidden(second, [pair.candidate.tensor.index for pair in matching.pairs]),
        )

    def feedable(self, matching: Matching) -> frozenset[int]:
        """The candidate's layers that can be fed from outside. Call it after a run.

        Some files do not say how many dimensions a tensor has: the last run decides.

        Args:
            matching: of the two models.

        Returns:
            Tensor indices of the candidate.
        """
        return frozenset(
            pair.candidate.tensor.index
            for pair in matching.pairs
            if self.facts.may_be_fed(pair.candidate.tensor)
            and _fits(self.reference.view(pair.reference.tensor.index).shape, pair.reference.tensor.shape_signature)
            and _fits(self.candidate.view(pair.candidate.tensor.index).shape, pair.candidate.tensor.shape_signature)
        )


@contextmanager
def open_pair(
    matching: Matching,
    sample: Mapping[str, NDArray[Any]],
    *,
    synthetic: bool,
    threads: int,
    accelerator: Accelerator,
) -> Iterator[RunnablePair]:
    """Runs both models once on a sample; copies are removed when the block ends.

    If XNNPACK cannot take a model, both run on the runtime's own kernels, as `PairFacts.accelerator` says.

    Args:
        matching: of the two models.
        sample: of the reference.
        synthetic: the sample is random.
        threads: CPU threads.
        accelerator: of both models.

    Yields:
        The two models.

    Raises:
        InvalidInput: the sample does not fit, or the runtime refuses a model.
        Unsupported: nothing is left without the ops that the runtime lacks.
    """
    reference, candidate = matching.reference.facts, matching.candidate.facts
    inputs = sample, translate(sample, reference, candidate)
    with tempfile.TemporaryDirectory(prefix="windtunnel-copies-") as folder:
        places = Path(folder, "reference"), Path(folder, "candidate")
        for place in places:
            place.mkdir()
        models = list(zip((reference, candidate), inputs, places, strict=True))
        try:
            opened = [_open(*model, threads, accelerator, synthetic=synthetic) for model in models]
        except InvalidInput as error:
            if accelerator != XNNPACK or _DELEGATE not in error.message:
                raise
            opened = [_open(*model, threads, BUILTIN, synthetic=synthetic) for model in models]
        yield RunnablePair(matching, (opened[0], opened[1]))


def _not_run(facts: ModelFacts, error: InvalidInput, *, synthetic: bool) -> InvalidInput:
    """The error of a model's first run, with the model's name and what to do."""
    named = facts.path.name in error.message
    message = error.message if named else f"{facts.path.name} does not run: {error.message}"
    guessed = synthetic and named
    advice = "the inputs are random: give samples" if guessed else "compare models that take the same inputs"
    return InvalidInput(message, hint=error.hint or advice)


def _open(
    facts: ModelFacts,
    inputs: Mapping[str, NDArray[Any]],
    folder: Path,
    threads: int,
    accelerator: Accelerator,
    *,
    synthetic: bool,
) -> Opened:
    """Runs a model once; ops that the runtime lacks are disabled first.

    Raises:
        InvalidInput: the runtime refuses the model.
        Unsupported: nothing is left without the ops that the runtime lacks.
    """
    lacking: dict[str, str] = {}
    lost: dict[int, str] = {}
    target, fatal = facts.path, overflowing(facts)
    if fatal:
        lost = _without(facts, lacking, fatal)
        target = _copy(facts, lost, folder, Unsupported(next(iter(fatal.values()))))
    while True:
        try:
            runner = Runner(target, threads=threads, accelerator=accelerator, preserve_all=True)
            runner.run(inputs)
            return Opened(runner, lost)
        except (InvalidInput, Unsupported) as error:
            named, why = _lacked(str(error))
            if named is None or named in lacking or named == _DELEGATE:
                if isinstance(error, Unsupported):
                    raise
                raise _not_run(facts, error, synthetic=synthetic) from error
            lacking[named] = why
            lost = _without(facts, lacking, fatal)
            hint = f"every layer depends on {named}: compare a model without it, or with builtin ops in its place"
            target = _copy(facts, lost, folder, Unsupported(error.message, hint=hint))


def _copy(facts: ModelFacts, lost: Mapping[int, str], folder: Path, nothing: Unsupported) -> Path:
    """Writes a copy that does not compute the lost tensors; raises `nothing` where it would compute none."""
    editor = Editor(facts.path)
    if not _rest(editor, lost):
        raise nothing from None
    return editor.write(folder / facts.path.name)


def _fits(shape: tuple[int, ...], stated: tuple[int, ...]) -> bool:
    return len(shape) == len(stated) and all(
        size in (-1, reference_output) for size, reference_output in zip(stated, shape, strict=True)
    )


def _hidden(opened: Opened, tensors: Collection[int]) -> dict[int, str]:
    """Tensors whose memory the runtime does not show after a run."""
    found = dict.fromkeys(_unread(opened.runner.facts), "no op reads it, and the runtime leaves it unset")
    detections = detection_op(opened.runner.facts)
    found |= {} if detections is None else dict.fromkeys(detections.outputs, WHY)
    for index in tensors:
        if index not in opened.lost and index not in found:
            try:
                opened.runner.view(index)
            except Unsupported as error:
                found[index] = error.message
    return found


def _unread(facts: ModelFacts) -> frozenset[int]:
    """Results that nothing reads, of control flow or a part of a SPLIT: no memory is kept for them."""
    several = (op for op in facts.ops if op.name in ("WHILE", "IF") or len(op.outputs) > 1)
    return frozenset(index for op in several for index in op.outputs) - facts.main.read


def _lacked(message: str) -> tuple[str | None, str]:
    """The op that the runtime cannot run, and why, from its complaint."""
    name = next((found.group(1) for sign in _LACKS if (found := sign.search(message)) is not None), None)
    found = _NOT_THESE_TYPES.search(message) if name is None else None
    if found is not None:
        return found.group(1), f"the runtime has no {found.group(1)} for the types of this model"
    return name, f"the runtime lacks {name}"


def _without(facts: ModelFacts, names: Mapping[str, str], fatal: Mapping[int, str]) -> dict[int, str]:
    """What is lost without these ops, given with the reason: their results, and all that reads them.

    `names` are kinds of ops, `fatal` single ones by their index.
    """
    ops = {op.index for op in facts.ops if op.index in fatal or runs_op(facts, op, names)}
    return {
        tensor: fatal.get(by) or _missing(facts.ops[by], names)
        if tensor in facts.ops[by].outputs
        else f"it depends on {op_title(facts, by)}, which the runtime cannot run"
        for tensor, by in downstream(facts.main, ops).items()
    }


def _missing(op: OpFacts, names: Mapping[str, str]) -> str:
    return names.get(op.name) or f"{op.name} runs {', '.join(sorted(names))}, which the runtime lacks"


def _rest(editor: Editor, lost: Mapping[int, str]) -> bool:
    """Disables the ops of lost tensors; False if none is left that computes something."""
    facts = editor.facts
    idle = {op.index for op in facts.ops if any(index in lost for index in op.outputs)}
    left = [
        index
        for op in facts.ops
        if op.index not in idle
        for index in op.outputs
        if index >= 0 and index not in facts.main.fixed and facts.tensors[index].dtype not in ("resource", "variant")
    ]
    if not left:
        return False
    editor.drop_ops(idle)
    # What only lost ops read would not be kept.
    read = {index for op in facts.ops if op.index not in idle for index in op.inputs}
    editor.set_outputs(list(dict.fromkeys([*editor.outputs, *(index for index in left if index not in read)])))
    return True

"""What of a model can be run and judged, and why the rest cannot.

A runtime lacks custom ops; those, and what hangs on them, are put out of work in a copy, and the rest is compared.
Random numbers are drawn anew in every run, so what hangs on them is no ground to judge by.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from windtunnel.diagnosis.execution.detection_slots import WHY, detection_op
from windtunnel.diagnosis.feeding.paired_inputs import translate
from windtunnel.diagnosis.findings.comparison import Unmatched
from windtunnel.diagnosis.graph import Matching, Pair
from windtunnel.diagnosis.graph.model_precision import precision_of
from windtunnel.diagnosis.graph.scale_overflow import overflowing
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.static.subgraphs import inner_graphs, inner_layers
from windtunnel.errors import InvalidInput, Unsupported
from windtunnel.tflite import Accelerator, GraphFacts, ModelFacts, OpFacts, Runner, TensorFacts
from windtunnel.tflite.edit import Editor
from windtunnel.tflite.facts import CALLS
from windtunnel.tflite.run import NOT_VALUES

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
_DRAWING = frozenset({"RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"})
_PLAIN = frozenset({"bool", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
# Ops whose results are as long as their inputs' values ask for.
_SIZING = frozenset({"WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "RANGE"})


@dataclass(frozen=True, slots=True)
class Opened:
    """A model ready to run. `lost`: tensors that its copy does not compute, with the reason; empty: it is no copy.

    The copy has the model's indices.
    """

    runner: Runner
    lost: Mapping[int, str]


class Reach:
    """Both models, ready to run, and what of them can be judged."""

    def __init__(self, matching: Matching, opened: tuple[Opened, Opened]) -> None:
        reference, candidate = matching.reference.facts, matching.candidate.facts
        self._facts = reference, candidate
        self.inner = inner_graphs(matching)
        self._opened = opened
        self._hidden: tuple[dict[int, str], dict[int, str]] = dict(opened[0].lost), dict(opened[1].lost)
        self._drawn = _drawn(reference), _drawn(candidate)
        self._exact, self._shifting = _exact_and_shifting(candidate)
        self._coarse = precision_of(matching) != "float32"
        self.keeps_state = _keeps_state(reference) or _keeps_state(candidate)
        self.decided_by_chance = frozenset(
            index for op in candidate.ops if _runs(candidate, op, _DRAWING) for index in op.outputs
        )

    @property
    def reference(self) -> Runner:
        """The reference, or a copy without the ops that the runtime lacks."""
        return self._opened[0].runner

    @property
    def candidate(self) -> Runner:
        """The candidate, or a copy without the ops that the runtime lacks."""
        return self._opened[1].runner

    @property
    def accelerator(self) -> Accelerator:
        """What both models run on."""
        return self.reference.accelerator

    @property
    def no_figure(self) -> tuple[frozenset[int], frozenset[int]]:
        """Outputs of the models that are not computed, hang on chance, or hold no numbers, or only choices."""
        first, second = (
            frozenset(
                tensor.index
                for tensor in facts.outputs
                if tensor.index in opened.lost or tensor.index in drawn or tensor.dtype in NOT_VALUES
            )
            for facts, opened, drawn in zip(self._facts, self._opened, self._drawn, strict=True)
        )
        return first, second | {tensor.index for tensor in self._facts[1].outputs if self.is_choice(tensor)}

    @property
    def repeats(self) -> bool:
        """Whether what a run gives hangs on its inputs alone."""
        return not (self.keeps_state or any(self._drawn))

    @property
    def by_chance(self) -> Collection[int]:
        """The candidate's tensors that hang on random numbers."""
        return self._drawn[1].keys()

    def is_choice(self, tensor: TensorFacts) -> bool:
        """Whether a layer of a coarser candidate holds indices, counts, or as many values as others decide.

        Rounding before it may change it, so another result is not a fault. What follows from shapes and integer inputs
        alone is not rounded.
        """
        if not self._coarse or tensor.index in self._exact:
            return False
        return not _is_real(tensor) or tensor.index in self._shifting

    def fresh_reference(self) -> Runner:
        """The reference as before its first run."""
        return self.reference.twin() if self.keeps_state else self.reference

    @property
    def not_run(self) -> str | None:
        """Why some layers of the candidate cannot be run while all of the reference's can; None: there are none."""
        reference, candidate = (one.lost for one in self._opened)
        return next(iter(candidate.values()), None) if not reference else None

    @property
    def hidden(self) -> tuple[Collection[int], Collection[int]]:
        """Tensors of both that the runtime does not compute or show, as `readable` found them."""
        return self._hidden[0].keys(), self._hidden[1].keys()

    def readable(self, matching: Matching) -> Matching:
        """The matching without layers that the runtime does not compute or show; call it after a run."""
        pairs = matching.pairs
        self._hidden = (
            dict(self._opened[0].lost) | _hidden(self._opened[0], [pair.reference.tensor.index for pair in pairs]),
            dict(self._opened[1].lost) | _hidden(self._opened[1], [pair.candidate.tensor.index for pair in pairs]),
        )
        kept = matching.set_aside(*self._hidden)
        texts = [one for one in _texts(self._facts[1]) if one.name not in {known.name for known in kept.unmatched}]
        return kept.with_unmatched(texts)

    def may_be_fed(self, pair: Pair) -> bool:
        """Whether a layer can be fed by hand.

        Shapes and indices are right or wrong, and fed they fix dynamic shapes; sizes that hang on values may be zero.
        Some files leave out how many dimensions a tensor has. Complex numbers come as pairs, which no tensor takes.
        """
        tensor = pair.candidate.tensor
        if not _is_real(tensor) or tensor.dtype.startswith("complex") or tensor.index in self._shifting:
            return False
        sides = (self.reference, pair.reference.tensor), (self.candidate, tensor)
        return all(_fits(runner.view(one.index).shape, one.shape_signature) for runner, one in sides)

    def judged(self, matching: Matching, figures: Sequence[LayerFigures]) -> Matching:
        """The matching without layers that hang on chance, and those where the reference itself is not finite."""
        why = {
            pair.reference.tensor.index: f"the reference holds NaN or infinity in {one.reference_non_finite} values"
            for pair, one in zip(matching.pairs, figures, strict=True)
            if one.reference_non_finite
        }
        judged = matching.set_aside({**why, **self._drawn[0]}, self._drawn[1])
        return judged.with_unmatched(inner_layers(self.inner))


@contextmanager
def open_pair(
    matching: Matching,
    sample: Mapping[str, NDArray[Any]],
    *,
    synthetic: bool,
    threads: int,
    accelerator: Accelerator,
) -> Iterator[Reach]:
    """Runs both models once on a sample of the reference; copies are gone when the block ends.

    Where XNNPACK cannot take a model, both run on the runtime's own kernels: `Reach.accelerator` tells. `synthetic`
    tells that the sample is random. Raises what `Runner` raises, and Unsupported where nothing is left without the
    ops that the runtime lacks.
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
            if accelerator != "xnnpack" or _DELEGATE not in error.message:
                raise
            opened = [_open(*model, threads, "none", synthetic=synthetic) for model in models]
        yield Reach(matching, (opened[0], opened[1]))


def _not_run(facts: ModelFacts, error: InvalidInput, *, synthetic: bool) -> InvalidInput:
    """The error of a model's first run, with the model's name and what to do."""
    named = facts.path.name in error.message
    message = error.message if named else f"{facts.path.name} does not run: {error.message}"
    guessed = synthetic and named
    advice = "random inputs stand in: give samples" if guessed else "compare models that take the same inputs"
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
    """Runs a model once; ops that the runtime lacks are put out of work first."""
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
            hint = f"every layer hangs on {named}: compare a model without it, or with builtin ops in its place"
            target = _copy(facts, lost, folder, Unsupported(error.message, hint=hint))


def _copy(facts: ModelFacts, lost: Mapping[int, str], folder: Path, nothing: Unsupported) -> Path:
    """Writes a copy that does not compute the lost tensors; raises `nothing` where it would compute none."""
    editor = Editor(facts.path)
    if not _rest(editor, lost):
        raise nothing from None
    return editor.write(folder / facts.path.name)


def _is_real(tensor: TensorFacts) -> bool:
    return tensor.quantization is not None or tensor.dtype.startswith(("float", "bfloat", "complex"))


def _fits(shape: tuple[int, ...], stated: tuple[int, ...]) -> bool:
    return len(shape) == len(stated) and all(
        size in (-1, reference_output) for size, reference_output in zip(stated, shape, strict=True)
    )


def _keeps_state(facts: ModelFacts) -> bool:
    """Whether a run depends on the runs before it: variables, or the inner state of a recurrent op."""
    return any(
        any(tensor.is_variable for tensor in graph.tensors) or any(op.name == "VAR_HANDLE" for op in graph.ops)
        for graph in facts.graphs
    )


def _drawn(facts: ModelFacts) -> dict[int, str]:
    """Tensors of the main graph that hang on random numbers, by index, with the reason."""
    ops = {op.index for op in facts.ops if _runs(facts, op, _DRAWING)}
    return {
        tensor: f"{facts.ops[by].name} draws other numbers in every run"
        if tensor in facts.ops[by].outputs
        else f"it hangs on random numbers of {_title(facts, by)}"
        for tensor, by in _downstream(facts.main, ops).items()
    }


def _exact_and_shifting(facts: ModelFacts) -> tuple[frozenset[int], frozenset[int]]:
    """Tensors of the main graph that no rounding can change, and those whose sizes depend on values.

    Exact are shapes, integer inputs, constants that are not quantized, and what is computed from these alone: the same
    for every candidate. An op that sizes its result by its inputs' values depends on shapes where these are exact.
    """
    inputs = {index for index in facts.main.input_indices if not _is_real(facts.tensors[index])}
    made_or_fed = {index for op in facts.ops for index in op.outputs} | set(facts.main.input_indices)
    # A constant without elements has no bytes: the shape of a scalar is one.
    constants = (one for one in facts.tensors if one.is_constant or (0 in one.shape and one.index not in made_or_fed))
    exact = inputs | {one.index for one in constants if _is_plain(one)}
    shifting: set[int] = set()
    for op in facts.ops:
        given = [index for index in op.inputs if index >= 0]
        made = [index for index in op.outputs if index >= 0]
        if op.name in ("SHAPE", "RANK") and shifting.isdisjoint(given):
            exact.update(made)
        elif given and exact.issuperset(given) and not _runs(facts, op, _DRAWING):
            exact.update(index for index in made if _is_plain(facts.tensors[index]))
        elif op.name in _SIZING or not shifting.isdisjoint(given):
            shifting.update(made)
    return frozenset(exact), frozenset(shifting)


def _is_plain(tensor: TensorFacts) -> bool:
    """Whether a tensor holds integers, truth values or float32, as they are."""
    return tensor.quantization is None and tensor.dtype in _PLAIN


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
    """Results beside others that nobody reads: of control flow, or a part of a SPLIT. No memory is kept for them."""
    several = (op for op in facts.ops if op.name in ("WHILE", "IF") or len(op.outputs) > 1)
    return frozenset(index for op in several for index in op.outputs) - facts.main.read


def _texts(facts: ModelFacts) -> Iterator[Unmatched]:
    for op in facts.ops:
        for index in op.outputs:
            if index >= 0 and facts.tensors[index].dtype == "string":
                yield Unmatched(facts.tensors[index].name, op.name, op.index, "it holds text, no numbers")


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
    ops = {op.index for op in facts.ops if op.index in fatal or _runs(facts, op, names)}
    return {
        tensor: fatal.get(by) or _missing(facts.ops[by], names)
        if tensor in facts.ops[by].outputs
        else f"it hangs on {_title(facts, by)}, which the runtime cannot run"
        for tensor, by in _downstream(facts.main, ops).items()
    }


def _missing(op: OpFacts, names: Mapping[str, str]) -> str:
    return names.get(op.name) or f"{op.name} runs {', '.join(sorted(names))}, which the runtime lacks"


def _rest(editor: Editor, lost: Mapping[int, str]) -> bool:
    """Puts the ops of lost tensors out of work; False where none is left that computes something."""
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


def _downstream(graph: GraphFacts, ops: Collection[int]) -> dict[int, int]:
    """Every tensor that one of these ops decides, and the first op that does."""
    found: dict[int, int] = {}
    for op in graph.ops:
        by = op.index if op.index in ops else next((found[index] for index in op.inputs if index in found), None)
        if by is not None:
            found |= {index: by for index in op.outputs if index >= 0}
    return found


def _runs(facts: ModelFacts, op: OpFacts, names: Collection[str], depth: int = 0) -> bool:
    """Whether an op is one of these, or runs a graph that has one."""
    if op.name in names:
        return True
    called = [op.options[name] for name in CALLS if name in op.options]
    return depth < len(facts.graphs) and any(
        _runs(facts, inner, names, depth + 1)
        for number in called
        if 0 < number < len(facts.graphs)
        for inner in facts.graphs[number].ops
    )


def _title(facts: ModelFacts, op: int) -> str:
    outputs = facts.ops[op].outputs
    return f"{facts.ops[op].name} {facts.tensors[outputs[0]].name!r}" if outputs else facts.ops[op].name

"""Which parts of two models can be judged, and why the others cannot. Needs no interpreter.

Every run draws other random numbers, so what depends on them cannot be judged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from windtunnel.diagnosis.findings.coverage import Unmatched
from windtunnel.diagnosis.graph import Matching
from windtunnel.diagnosis.graph.model_precision import precision_of
from windtunnel.diagnosis.numerics.layer_sums import LayerFigures
from windtunnel.diagnosis.static.subgraphs import nested_graphs, nested_layers
from windtunnel.tflite import Accelerator, GraphFacts, ModelFacts, OpFacts, TensorFacts
from windtunnel.tflite.dtypes import NOT_VALUES
from windtunnel.tflite.facts import CALLS
from windtunnel.tflite.op_kinds import RANDOM

_PLAIN = frozenset({"bool", "float32", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"})
# Ops whose results are as long as their inputs' values ask for.
_SIZING = frozenset({"WHERE", "UNIQUE", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "RANGE"})


@dataclass(frozen=True, slots=True)
class Tensors:
    """Tensors of the reference and of the candidate by index, each with the reason why it is left out."""

    reference: Mapping[int, str] = field(default_factory=dict)
    candidate: Mapping[int, str] = field(default_factory=dict)


class PairFacts:
    """What of both models can be judged.

    Args:
        matching: the layers that structure pairs.
        lost: tensors that the copies of the models do not compute; empty where the models themselves run.
        accelerator: what both models run on.
    """

    def __init__(self, matching: Matching, lost: Tensors, accelerator: Accelerator) -> None:
        reference, candidate = matching.reference.facts, matching.candidate.facts
        self._facts = reference, candidate
        self.lost = lost
        self.accelerator = accelerator
        self.nested = nested_graphs(matching)
        self._drawn = drawn_tensors(reference), drawn_tensors(candidate)
        self._exact, self._shifting = _exact_and_shifting(candidate)
        self._coarse = precision_of(matching) != "float32"
        self.keeps_state = _keeps_state(reference) or _keeps_state(candidate)
        self.decided_by_chance = frozenset(
            index for op in candidate.ops if runs_op(candidate, op, RANDOM) for index in op.outputs
        )

    @property
    def no_figure(self) -> tuple[frozenset[int], frozenset[int]]:
        """Outputs that are not computed, depend on chance, or hold no numbers, or only choices: indices of tensors."""
        first, second = (
            frozenset(
                tensor.index
                for tensor in facts.outputs
                if tensor.index in lost or tensor.index in drawn or tensor.dtype in NOT_VALUES
            )
            for facts, lost, drawn in zip(
                self._facts, (self.lost.reference, self.lost.candidate), self._drawn, strict=True
            )
        )
        return first, second | {tensor.index for tensor in self._facts[1].outputs if self.is_choice(tensor)}

    @property
    def repeats(self) -> bool:
        """Whether the result of a run depends on its inputs alone."""
        return not (self.keeps_state or any(self._drawn))

    @property
    def by_chance(self) -> Collection[int]:
        """The candidate's tensors that depend on random numbers."""
        return self._drawn[1].keys()

    @property
    def not_run(self) -> str | None:
        """Why some layers of the candidate cannot be run while all of the reference's can; None: there are none."""
        return next(iter(self.lost.candidate.values()), None) if not self.lost.reference else None

    def is_choice(self, tensor: TensorFacts) -> bool:
        """Whether a layer of a coarser candidate has indices, counts, or as many values as others decide.

        Rounding before it may change it, so another result is not a fault. What follows from shapes and integer inputs
        alone is not rounded.

        Args:
            tensor: of the candidate.
        """
        if not self._coarse or tensor.index in self._exact:
            return False
        return not _is_real(tensor) or tensor.index in self._shifting

    def may_be_fed(self, tensor: TensorFacts) -> bool:
        """Whether a layer has numbers that can be fed from outside.

        Shapes and indices are right or wrong, and feeding them fixes dynamic shapes. Sizes that depend on values may be
        zero. Complex numbers come as pairs, which no tensor takes.

        Args:
            tensor: of the candidate.
        """
        return _is_real(tensor) and not tensor.dtype.startswith("complex") and tensor.index not in self._shifting

    def without_hidden(self, matching: Matching, hidden: Tensors) -> Matching:
        """The matching without layers that the runtime does not compute or show; layers of text are unmatched.

        Args:
            matching: of the two models.
            hidden: those tensors.

        Returns:
            The matching.
        """
        kept = matching.set_aside(hidden.reference, hidden.candidate)
        texts = [one for one in _texts(self._facts[1]) if one.name not in {known.name for known in kept.unmatched}]
        return kept.with_unmatched(texts)

    def judged(self, matching: Matching, figures: Sequence[LayerFigures]) -> Matching:
        """The matching without layers that depend on chance, and without those that are not finite in the reference.

        Args:
            matching: of the two models.
            figures: of the matching's pairs, in their order.

        Returns:
            The matching.
        """
        why = {
            pair.reference.tensor.index: f"the reference holds NaN or infinity in {one.reference_non_finite} values"
            for pair, one in zip(matching.pairs, figures, strict=True)
            if one.reference_non_finite
        }
        judged = matching.set_aside({**why, **self._drawn[0]}, self._drawn[1])
        return judged.with_unmatched(nested_layers(self.nested))


def _is_real(tensor: TensorFacts) -> bool:
    return tensor.quantization is not None or tensor.dtype.startswith(("float", "bfloat", "complex"))


def _keeps_state(facts: ModelFacts) -> bool:
    """Whether a run depends on the runs before it: variables, or the inner state of a recurrent op."""
    return any(
        any(tensor.is_variable for tensor in graph.tensors) or any(op.name == "VAR_HANDLE" for op in graph.ops)
        for graph in facts.graphs
    )


def drawn_tensors(facts: ModelFacts) -> dict[int, str]:
    """Tensors of the main graph that depend on random numbers.

    Args:
        facts: of the model.

    Returns:
        The reason, by tensor index.
    """
    ops = {op.index for op in facts.ops if runs_op(facts, op, RANDOM)}
    return {
        tensor: f"{facts.ops[by].name} draws other numbers in every run"
        if tensor in facts.ops[by].outputs
        else f"it depends on random numbers of {op_title(facts, by)}"
        for tensor, by in downstream(facts.main, ops).items()
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
        elif given and exact.issuperset(given) and not runs_op(facts, op, RANDOM):
            exact.update(index for index in made if _is_plain(facts.tensors[index]))
        elif op.name in _SIZING or not shifting.isdisjoint(given):
            shifting.update(made)
    return frozenset(exact), frozenset(shifting)


def _is_plain(tensor: TensorFacts) -> bool:
    """Whether a tensor holds integers, truth values or float32, as they are."""
    return tensor.quantization is None and tensor.dtype in _PLAIN


def _texts(facts: ModelFacts) -> Iterator[Unmatched]:
    for op in facts.ops:
        for index in op.outputs:
            if index >= 0 and facts.tensors[index].dtype == "string":
                yield Unmatched(facts.tensors[index].name, op.name, op.index, "it holds text, no numbers")


def downstream(graph: GraphFacts, ops: Collection[int]) -> dict[int, int]:
    """Every tensor that some ops decide.

    Args:
        graph: of the model.
        ops: their indices.

    Returns:
        The first op that does, by tensor index.
    """
    found: dict[int, int] = {}
    for op in graph.ops:
        by = op.index if op.index in ops else next((found[index] for index in op.inputs if index in found), None)
        if by is not None:
            found |= {index: by for index in op.outputs if index >= 0}
    return found


def runs_op(facts: ModelFacts, op: OpFacts, names: Collection[str], depth: int = 0) -> bool:
    """Whether an op is one of a kind, or runs a graph that has one.

    Args:
        facts: of the model.
        op: of any graph.
        names: of the kinds.
        depth: of the graph, to end recursion.

    Returns:
        True: it is, or does.
    """
    if op.name in names:
        return True
    called = [op.options[name] for name in CALLS if name in op.options]
    return depth < len(facts.graphs) and any(
        runs_op(facts, inner, names, depth + 1)
        for number in called
        if 0 < number < len(facts.graphs)
        for inner in facts.graphs[number].ops
    )


def op_title(facts: ModelFacts, op: int) -> str:
    """An op for messages: its kind, and the name of its output.

    Args:
        facts: of the model.
        op: index in the main graph.

    Returns:
        One line.
    """
    outputs = facts.ops[op].outputs
    return f"{facts.ops[op].name} {facts.tensors[outputs[0]].name!r}" if outputs else facts.ops[op].name

"""Which output of the converted model is which of the original: by name, then by the values on a few samples."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.converter.domain.conversion import MAX_OUTPUT_NRMSE
from windtunnel.datacheck.findings import CONVERSION_OUTPUT_ORDER, Finding
from windtunnel.tflite import ModelFacts, TensorFacts
from windtunnel.tflite.tensor_error import RunningNrmse

# Samples on which outputs are recognized by their values.
PROBED: Final = 8

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Matching:
    """`pairs`: output tensors of the converted model to outputs of the original.

    `exchanged`: those whose name is another output's in the original, as values show. `unmatched` says which
    outputs of the original have no counterpart, and what is there instead; empty where all have one.
    """

    pairs: Mapping[str, str]
    exchanged: Mapping[str, str]
    unmatched: str
    findings: tuple[Finding, ...] = ()


class OutputSums:
    """Running sums of one output for sqrt(MSE) / max(range of both), in float64."""

    def __init__(self) -> None:
        self.non_finite = 0
        self.compared = False
        self.other_shape = ""
        self._sums = RunningNrmse()

    def add(self, value: NDArray[Any], reference: NDArray[Any] | None) -> None:
        """Adds one sample.

        Args:
            value: of the converted model.
            reference: of the original; None: it has no counterpart.
        """
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
        self._sums.add(reference, value)

    def nrmse(self) -> float:
        """Over all samples so far; infinity if both sides are constant and differ."""
        figure = self._sums.nrmse()
        return float("inf") if figure is None else figure


def match_outputs(facts: ModelFacts, references: Arrays, probe: Sequence[Arrays]) -> Matching:
    """Finds the counterpart of every output.

    Names decide if the values agree; if they do not, or say nothing, the values decide. What neither decides is paired
    by name, or by the closest values of one shape, so that the figures say how far it is off.

    Args:
        facts: of the converted model.
        references: outputs of the original, (N, ...) by name.
        probe: outputs of the converted model for the first samples, by tensor name and without the batch.

    Returns:
        The pairs.
    """
    if not references:
        return Matching({}, {}, "")
    named = _by_name(facts, references)
    errors = {
        (tensor.name, name): _error(tensor, references[name], [row[tensor.name] for row in probe])
        for tensor, name in itertools.product(facts.outputs, references)
        if _same_shape(tensor, references[name])
    }
    sure = {converted: original for converted, original in named.items() if _agree(errors[converted, original])}
    by_value = _nearest(errors, sure, most=MAX_OUTPUT_NRMSE)
    # In the model's order: which of two pairs is closer depends on the processor's last digits.
    by_value = {tensor.name: by_value[tensor.name] for tensor in facts.outputs if tensor.name in by_value}
    exchanged = {
        converted: original for converted, original in by_value.items() if named.get(converted, original) != original
    }
    pairs = {**sure, **by_value}
    pairs |= {
        converted: original
        for converted, original in named.items()
        if converted not in pairs and original not in pairs.values()
    }
    pairs |= _nearest(errors, pairs, most=np.inf)
    return Matching(
        pairs, exchanged, _unmatched(facts, pairs, references, _again(facts, errors)), _order(facts, pairs, references)
    )


def shown(facts: ModelFacts, tensor: TensorFacts) -> str:
    """The name of an output for people: the name that the signature gives it, or the tensor's.

    Args:
        facts: of the model.
        tensor: the output.

    Returns:
        The name.
    """
    return facts.output_name(tensor) or tensor.name


def _agree(error: float) -> bool:
    return error <= MAX_OUTPUT_NRMSE


def _by_name(facts: ModelFacts, references: Arrays) -> dict[str, str]:
    """Pairs of equal names: the signature's, the tensor's. Only outputs of equal shapes apart from the batch match."""
    pairs: dict[str, str] = {}
    for tensor in facts.outputs:
        for name in (facts.output_name(tensor), tensor.name, tensor.name.split(":")[0]):
            if (
                name is not None
                and name in references
                and name not in pairs.values()
                and _same_shape(tensor, references[name])
            ):
                pairs[tensor.name] = name
                break
    return pairs


def _error(tensor: TensorFacts, reference: NDArray[Any], values: Sequence[NDArray[Any]]) -> float:
    sums = OutputSums()
    for value, row in zip(values, reference, strict=False):
        sums.add(value, row)
    return np.inf if sums.non_finite or sums.other_shape or not sums.compared else sums.nrmse()


def _nearest(errors: Mapping[tuple[str, str], float], taken: Mapping[str, str], *, most: float) -> dict[str, str]:
    """Pairs of what is not `taken` yet whose error is at most `most`, the smallest error first."""
    pairs: dict[str, str] = {}
    for (converted, original), error in sorted(errors.items(), key=lambda item: item[1]):
        used = {*taken.values(), *pairs.values()}
        if error <= most and converted not in taken and converted not in pairs and original not in used:
            pairs[converted] = original
    return pairs


def _same_shape(tensor: TensorFacts, reference: NDArray[Any]) -> bool:
    """Whether shapes agree apart from the batch; a dynamic dimension agrees with any size.

    A constant has no batch: each row of the original's is all of it.
    """
    expected, whole = reference.shape[1:], tensor.shape_signature
    shapes = (whole, whole[1:]) if tensor.shape[:1] in ((), (1,)) else (whole,)
    return any(
        len(shape) == len(expected) and all(size in (-1, got) for size, got in zip(shape, expected, strict=True))
        for shape in shapes
    )


def _again(facts: ModelFacts, errors: Mapping[tuple[str, str], float]) -> set[str]:
    """Names that the signature gives to a tensor which may have another name too: one tensor, given out twice."""
    names = {(facts.tensors[index].name, name) for one in facts.signatures for name, index in one.outputs.items()}
    return {name for (tensor, name), error in errors.items() if (tensor, name) in names and _agree(error)}


def _unmatched(facts: ModelFacts, pairs: Mapping[str, str], references: Arrays, again: Collection[str]) -> str:
    found = {*pairs.values(), *again}
    missing = [f"{name!r} {array.shape[1:]}" for name, array in references.items() if name not in found]
    if not missing:
        return ""
    left = [f"{shown(facts, t)!r} {t.shape[1:]}" for t in facts.outputs if t.name not in pairs]
    return f"the original has {', '.join(missing)}, the converted model {', '.join(left) or 'no other'} (per sample)"


def _order(facts: ModelFacts, pairs: Mapping[str, str], references: Arrays) -> tuple[Finding, ...]:
    """Says that outputs are listed in another order than the original's, which matters to whoever counts them."""
    original = list(references)
    converted = list(dict.fromkeys(pairs[tensor.name] for tensor in facts.outputs if tensor.name in pairs))
    if converted == [name for name in original if name in converted]:
        return ()
    listed = ", ".join(f"{place}: {name}" for place, name in enumerate(converted))
    return (
        Finding(
            CONVERSION_OUTPUT_ORDER,
            f"the .tflite lists its outputs in another order than the original: {listed}",
            "read outputs by the names of the signature, or in this order",
            {"original": original, "converted": converted},
        ),
    )

"""Constants of extreme size that set a tensor's scale: a mask or a padding of -1e9 leaves nothing of the other values.

The tensor holds two kinds of values: those of the mask, and the rest, whose own range is less than a few quantization
steps. Calibrating again cannot help; a smaller mask can, because a softmax makes nothing of what is 20 below the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.causes import Cause
from windtunnel.diagnosis.findings.kinds.ranges import FileScale
from windtunnel.diagnosis.findings.kinds.scales import MaskConstant, MaskScale
from windtunnel.diagnosis.findings.trial import OutputTrial, Trial
from windtunnel.diagnosis.graph import FusedModel, Matching, Node, Pair
from windtunnel.diagnosis.numerics.isolated_sums import representable
from windtunnel.diagnosis.rules.effect_on_outputs import Ends, gain
from windtunnel.diagnosis.static.patches import put_activation, put_constant
from windtunnel.diagnosis.static.suspect import Patch, all_of
from windtunnel.diagnosis.thresholds.confidences import MASK, MASK_VERIFIED
from windtunnel.diagnosis.thresholds.rule_thresholds import EFFECT_SAMPLES, OUTPUT_BETTER
from windtunnel.diagnosis.thresholds.scale_thresholds import (
    MASK_BELOW,
    MASK_DEPTH,
    MASK_LARGEST,
    MASK_REST_SHARE,
    MASK_SHARE,
    MASK_SIZE,
)
from windtunnel.tflite import Quantization
from windtunnel.tflite.dtypes import ACTIVATION_DTYPES
from windtunnel.tflite.op_kinds import CHOOSING, RESTATING, SHAPING

# With a value of extreme size these need no softmax: any value at the end of the data does the same.
_BOUNDING: Final = CHOOSING | {"PADV2", "CONCATENATION"}
_COMBINING: Final = frozenset({"ADD", "SUB", "SELECT", "SELECT_V2", "MUL"}) | _BOUNDING
# On its way a mask may be moved, negated, and multiplied by what says where it applies.
_CARRYING: Final = (
    RESTATING | SHAPING | {"MUL", "SUB", "ADD", "NEG", "TILE", "BROADCAST_TO", "SELECT", "SELECT_V2", "FILL"}
)


@dataclass(frozen=True, slots=True)
class Masked:
    """A layer that combines values with a mask of this `size`; `constant` is the reference's tensor that holds it.

    `runs` False: no kernels can run the candidate's layer.
    """

    pair: Pair
    quantization: Quantization
    size: float
    constant: str
    runs: bool = True

    @property
    def bounds(self) -> bool:
        """Whether a value at the end of the data would do the same as the constant."""
        return self.pair.reference.op in _BOUNDING


@dataclass
class Rest:
    """The values of a masked layer of the reference other than the mask."""

    tensor: int
    size: float
    low: float = math.inf
    high: float = -math.inf
    masked: int = 0

    def state(self) -> list[float]:
        """The sums, for `restore`."""
        return [self.low, self.high, self.masked]

    def restore(self, state: Sequence[float]) -> None:
        """Replaces the sums with those of another `state`.

        Args:
            state: three numbers.
        """
        self.low, self.high, self.masked = state[0], state[1], int(state[2])

    def add(self, values: NDArray[np.float64]) -> None:
        """Adds one sample.

        Args:
            values: of the layer, in real units.
        """
        sizes, size = np.abs(values), self.size
        limit = MASK_REST_SHARE * size if math.isfinite(size) else math.inf
        rest = values[sizes < limit]
        self.masked += int(np.count_nonzero(~(sizes < (MASK_SHARE * size if math.isfinite(size) else math.inf))))
        if rest.size:
            self.low, self.high = min(self.low, float(rest.min())), max(self.high, float(rest.max()))


def masked_layers(matching: Matching, overflowed: Sequence[Pair] = ()) -> Iterator[Masked]:
    """The candidate's quantized layers that a constant of extreme size reaches in the reference.

    Args:
        matching: the two models.
        overflowed: layers that the candidate cannot run, in addition to the matching's pairs.

    Yields:
        Each layer.
    """
    reference = matching.reference
    for pair in (*matching.pairs, *overflowed):
        quantization = pair.candidate.tensor.quantization
        if quantization is None or len(quantization.scales) != 1 or pair.reference.op not in _COMBINING:
            continue
        found = _extreme(reference, pair.reference.tensor.index, MASK_DEPTH)
        if found is not None:
            yield Masked(pair, quantization, *found, runs=pair not in overflowed)


def is_masked(side: FusedModel, node: Node) -> bool:
    """Whether a constant of extreme size, such as the -1e9 of an attention mask, reaches a layer.

    Args:
        side: the model.
        node: its layer.
    """
    return _extreme(side, node.tensor.index, MASK_DEPTH) is not None


def _extreme(side: FusedModel, tensor: int, depth: int) -> tuple[float, str] | None:
    """The size and the name of the largest constant of extreme size that a tensor is made with; None: there is none."""
    maker = side.makers.get(tensor)
    if maker is None or depth == 0 or maker.name not in _COMBINING | _CARRYING:
        return None
    found = []
    for index in maker.inputs:
        constant = side.constants.find(index)
        values = None if constant is None or not _is_real(side, index) else side.constants.real(constant)
        if constant is not None and values is not None and values.size:
            size = float(np.nanmax(np.abs(values)))
            found += [(size, constant.stored.name)] if size >= MASK_SIZE else []
        elif index >= 0 and (deeper := _extreme(side, index, depth - 1)) is not None:
            found.append(deeper)
    return max(found, default=None)


def _is_real(side: FusedModel, tensor: int) -> bool:
    """Whether a tensor holds real numbers: sizes, shapes and places are not."""
    facts = side.facts.tensors[tensor]
    return facts.quantization is not None or facts.dtype.startswith("float")


def mask_causes(
    matching: Matching, seen: Mapping[int, tuple[Masked, Rest]], fewest_steps: float, ends: Ends
) -> list[tuple[Cause, Quantization]]:
    """Masks that leave too few quantization steps to the other values, put to the test with a smaller mask.

    Args:
        matching: the two models.
        seen: masked layers with the range of their other values, by tensor index.
        fewest_steps: so many quantization steps are enough.
        ends: runs the candidate with changes.

    Returns:
        Each cause, with the quantization of its tensor.
    """
    candidate = matching.candidate
    found = []
    for masked, rest in seen.values():
        width, scale = rest.high - rest.low, masked.quantization.scales[0]
        fused_layers = width / scale if 0.0 < scale < math.inf else 0.0
        tensor, size = masked.pair.candidate.tensor, masked.size
        # A bound need not be reached to set the scale.
        sets = rest.masked or (masked.bounds and _has_mask_size(masked.quantization, tensor.dtype, size))
        if not sets or not 0.0 < width < math.inf or fused_layers >= fewest_steps:
            continue
        smaller = float(f"{width + MASK_BELOW:.1g}")
        cause = _cause(masked, rest, fused_layers, smaller)
        if masked.runs and not masked.bounds:
            cause = _tested(cause, _patch(candidate, masked.size, rest, smaller), ends)
        found.append((cause, masked.quantization))
    return found


def _cause(masked: Masked, rest: Rest, fused_layers: float, smaller: float) -> Cause:
    node = masked.pair.candidate
    size = masked.size if math.isfinite(masked.size) else None
    scale = masked.quantization.scales[0]
    finding = MaskScale(
        mask=MaskConstant(masked.constant, size),
        rest=(rest.low, rest.high),
        steps=round(fused_layers, 3),
        scale=FileScale(scale if math.isfinite(scale) else None),
        smaller=None if masked.bounds else smaller,
    )
    return Cause(finding, MASK, node.tensor.name, node.op_index, rule="mask_sets_scale")


def _tested(cause: Cause, patch: Patch | None, ends: Ends) -> Cause:
    """The cause with what a smaller mask does to the outputs."""
    moved = None if patch is None else ends.try_beyond(None, patch, EFFECT_SAMPLES)
    if moved is None:
        return cause
    before, after = max(moved, key=lambda pair: gain(*pair))
    trial = Trial(output=OutputTrial(before, after))
    verified = gain(before, after) > OUTPUT_BETTER
    return replace(cause, trial=trial, verified=verified, confidence=MASK_VERIFIED if verified else cause.confidence)


def _patch(candidate: FusedModel, size: float, rest: Rest, smaller: float) -> Patch | None:
    """A smaller mask: constants and scales that reach as far as the mask's end at `smaller` below the rest."""
    limit = smaller + max(abs(rest.low), abs(rest.high))
    patches: list[Patch] = []
    for tensor in candidate.facts.tensors:
        quantization = tensor.quantization
        if quantization is None or len(quantization.scales) != 1 or tensor.dtype not in ACTIVATION_DTYPES:
            continue
        if not _has_mask_size(quantization, tensor.dtype, size):
            continue
        constant = candidate.constants.find(tensor.index)
        if constant is None:
            fitted = _fitted(quantization, tensor.dtype, limit)
            patches.append(put_activation(candidate, frozenset({tensor.index}), fitted))
            continue
        values = candidate.constants.real(constant)
        if values is None or not np.isfinite(values).all():
            return None
        patch = put_constant(constant, np.clip(values, -limit, limit))
        patches += [] if patch is None or constant.stored.index != tensor.index else [patch]
    return all_of(patches) if patches else None


def _has_mask_size(quantization: Quantization, dtype: str, size: float) -> bool:
    return max(map(abs, representable(quantization, dtype))) >= MASK_SHARE * min(size, MASK_LARGEST)


def _fitted(quantization: Quantization, dtype: str, limit: float) -> Quantization:
    """The same kind of range, cut off at `limit` on both sides."""
    low, high = (float(np.clip(end, -limit, limit)) for end in representable(quantization, dtype))
    kind = np.iinfo(np.dtype(dtype))
    if dtype == "int16":
        return Quantization((max(-low, high) / kind.max,), (0,))
    scale = (high - low) / (kind.max - kind.min)
    return Quantization((scale,), (int(np.clip(round(kind.min - low / scale), kind.min, kind.max)),))

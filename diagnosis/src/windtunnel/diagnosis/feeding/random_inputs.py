"""Random inputs for two models without samples, in the range that both take.

Outside its calibrated range a quantized model clips what the other does not, and would be blamed for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.thresholds.execution_thresholds import INPUT_RANGE_SHARE
from windtunnel.pipeline import Feed
from windtunnel.tflite import ModelFacts, TensorFacts

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class StretchedFeed:
    """A feed of real numbers in [-1, 1), stretched to `ranges` by input name; inputs without one stay."""

    feed: Feed
    ranges: Mapping[str, Range]

    @property
    def count(self) -> int:
        """How many samples there are."""
        return self.feed.count

    @property
    def labels(self) -> NDArray[Any] | None:
        """The labels of the feed, None where it has none."""
        return self.feed.labels

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for inputs in self.feed:
            yield {name: _stretch(values, self.ranges.get(name)) for name, values in inputs.items()}


def common_range(
    reference: ModelFacts, reference_input: TensorFacts, candidate: ModelFacts, candidate_input: TensorFacts
) -> Range | None:
    """The range of real numbers that both models take at an input.

    Args:
        reference: the reference model.
        reference_input: its input.
        candidate: the candidate model.
        candidate_input: its input.

    Returns:
        The reference's if the two ranges have little or nothing in common; None if neither model states one.
    """
    stated = [_quantized_range(reference, reference_input), _quantized_range(candidate, candidate_input)]
    found = [bounds for bounds in stated if bounds is not None]
    if not found:
        return None
    low, high = max(low for low, _ in found), min(high for _, high in found)
    width = found[0][1] - found[0][0]
    return (low, high) if high - low >= INPUT_RANGE_SHARE * width else found[0]


def _stretch(values: NDArray[Any], bounds: Range | None) -> NDArray[Any]:
    if bounds is None or values.dtype.kind != "f":
        return values
    low, high = bounds
    return np.clip(low + (values.astype(np.float64) + 1) / 2 * (high - low), low, high).astype(values.dtype)


def _quantized_range(model: ModelFacts, tensor: TensorFacts) -> Range | None:
    """The real numbers that a quantized input can represent, also if a QUANTIZE op comes first.

    A 16-bit input is always symmetric about 0, so its negative half may never have been calibrated: it is left out.
    """
    if tensor.quantization is None:
        makers = [op for op in model.ops if op.name == "QUANTIZE" and op.inputs[:1] == (tensor.index,)]
        if not makers:
            return None
        tensor = model.tensors[makers[0].outputs[0]]
    kind = np.dtype(tensor.dtype)
    if tensor.quantization is None or len(tensor.quantization.scales) != 1 or kind.kind not in "iu":
        return None
    scale, zero = tensor.quantization.scales[0], tensor.quantization.zero_points[0]
    info = np.iinfo(kind)
    lowest = 0 if kind == np.int16 and zero == 0 else int(info.min)
    bounds = (scale * (lowest - zero), scale * (int(info.max) - zero))
    return bounds if np.isfinite(bounds).all() and bounds[0] < bounds[1] else None

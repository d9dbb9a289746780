"""What is summed up over the values of a layer: all that its metrics are computed from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from windtunnel.diagnosis.numerics.channel_sums import ChannelSums
    from windtunnel.diagnosis.numerics.nrmse_interval import SampleMoments

Range = tuple[float, float]
NO_RANGE: Range = (math.inf, -math.inf)


@dataclass(frozen=True, slots=True)
class CloseTotals:
    """Sums over the samples that were examined closely: a is the reference, b the candidate, d = b - a, in real units.

    Args:
        samples: how many samples these are.
        count: how many values they have.
        reference: sum a^2.
        products: sum a b.
        candidate: sum b^2.
        squares: sum d^2.
        difference: sum d.
        stored: the candidate's stored integers: all, at the low end of their type, at the high end.
        channels: sums of each channel; None if the layer has no channels.
        scales: what makes the ends of the channels real, of the reference and of the candidate.
        further: what `Metric.sums` adds up, by the name of the metric.
    """

    samples: int = 0
    count: float = 0.0
    reference: float = 0.0
    products: float = 0.0
    candidate: float = 0.0
    squares: float = 0.0
    difference: float = 0.0
    stored: tuple[int, int, int] = (0, 0, 0)
    channels: ChannelSums | None = None
    scales: tuple[float, float] = (1.0, 1.0)
    further: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LayerTotals:
    """Sums over all samples of a layer: a is the reference, b the candidate, d = b - a, in real units.

    Args:
        samples: how many samples were added.
        count: how many values they have.
        squares: sum d^2.
        largest: max |d|.
        reference_range: (min a, max a).
        candidate_range: (min b, max b).
        moments: the same sums sample by sample; None if they are not known.
        close: sums over the samples that were examined closely.
    """

    samples: int
    count: float
    squares: float
    largest: float
    reference_range: Range = NO_RANGE
    candidate_range: Range = NO_RANGE
    moments: SampleMoments | None = None
    close: CloseTotals = field(default_factory=CloseTotals)

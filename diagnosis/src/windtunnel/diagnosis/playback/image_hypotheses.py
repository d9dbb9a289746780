"""Hypotheses about what an app does to images, and how well each explains what it fed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.channel_fits import Moments, moments, total_of
from windtunnel.diagnosis.playback.color_maps import UNCHANGED, ColorMap
from windtunnel.diagnosis.playback.framing import Geometry, Orientation
from windtunnel.diagnosis.playback.roundings import Rounding
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import ROUNDED_PIXEL_SLACK

Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

ORDERS: Final = tuple(itertools.permutations(range(3)))
STRAIGHT: Final = (0, 1, 2)


@dataclass(frozen=True, slots=True)
class Range:
    """value = pixel * scale + offset, channel by channel of the model's input (3,)."""

    scale: Floats
    offset: Floats

    def of(self, pixels: NDArray[Any]) -> NDArray[np.float64]:
        """The values of pixels.

        Args:
            pixels: (..., 3).

        Returns:
            (..., 3).
        """
        return np.asarray(pixels * self.scale + self.offset, np.float64)


@dataclass(frozen=True, slots=True)
class ImageHypothesis:
    """What an app may do; the fields that a pipeline decides have its values where the app follows it.

    Attributes:
        geometry: framing, resize and the usual orientation.
        orientations: of each frame.
        colors: what happens to the colors, after the resize.
        order: of the channels, of those that the pipeline gives.
        range: from pixels to values.
        rounding: on the way.
        memory: the memory is in the other order.
        families: codes of what differs from the pipeline.
    """

    geometry: Geometry
    orientations: tuple[Orientation, ...]
    colors: ColorMap
    order: tuple[int, ...]
    range: Range
    rounding: Rounding
    memory: bool
    families: frozenset[CauseCode]


@dataclass(frozen=True, slots=True)
class Judged:
    """A hypothesis and its misfit: the nRMSE of what it gives against what the app fed."""

    hypothesis: ImageHypothesis
    misfit: float

    @property
    def differences(self) -> frozenset[CauseCode]:
        """What differs from the pipeline."""
        return self.hypothesis.families


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames that are explained.

    Attributes:
        raw: (H, W, 3) each.
        fed: (h, w, 3) each, real numbers.
        width: of the range of what the app fed.
        picked: of each frame, indices of the pixels (of h * w) by which values are judged.
    """

    raw: Sequence[NDArray[Any]]
    fed: Sequence[NDArray[np.float64]]
    width: float
    picked: Sequence[NDArray[np.intp]]

    def values(self) -> Iterator[NDArray[np.float64]]:
        """The picked values of each frame, (pixels, 3)."""
        for one, picked in zip(self.fed, self.picked, strict=True):
            yield one.reshape(-1, 3)[picked]


@dataclass(frozen=True, slots=True)
class OwnValues:
    """What the pipeline does to values after the geometry.

    Attributes:
        colors: its color steps.
        order: of channels: input channel k is image channel order[k].
        range: of the channels in that order.
    """

    colors: ColorMap
    order: tuple[int, ...]
    range: Range


# Ranges that models are trained with: scale and offset of pixels from 0 to 255.
KNOWN_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "0..255": (1.0, 0.0),
    "0..1": (1 / 255, 0.0),
    "-1..1": (2 / 255, -1.0),
    "-128..127": (1.0, -128.0),
    "-0.5..0.5": (1 / 255, -0.5),
}


def value_hypotheses(
    sums: Moments, own: OwnValues, width: float
) -> Iterator[tuple[tuple[int, ...], Range, frozenset[CauseCode], float]]:
    """Channel orders and ranges on top of given pixels.

    Args:
        sums: of pixels (x) and of what the app fed (v).
        own: what the pipeline does.
        width: of the range of values.

    Yields:
        Order, range, what differs from the pipeline, and the misfit.
    """
    for order in ORDERS:
        swapped = frozenset() if order == STRAIGHT else frozenset({CauseCode.PREPROCESSING_CHANNEL_ORDER})
        source = tuple(own.order[place] for place in order)
        moved = Range(own.range.scale[list(order)], own.range.offset[list(order)])
        fitted = Range(*sums.line(source))
        for span, extra in ((own.range, frozenset()), (moved, frozenset()), (fitted, _RANGE)):
            mse = sums.mapped_mse(source, span.scale, span.offset)
            yield order, span, swapped | extra, float(np.sqrt(mse)) / width


_RANGE: Final = frozenset({CauseCode.PREPROCESSING_RANGE})


def pixels_of(frames: Frames, geometry: Geometry, orientations: Sequence[Orientation]) -> list[Pixels]:
    """What a geometry makes of the raw frames.

    Args:
        frames: the frames.
        geometry: framing and resize.
        orientations: of each frame.

    Returns:
        The picked pixels of each, (pixels, 3).
    """
    return [
        geometry.of(image, turned).reshape(-1, 3)[picked]
        for image, turned, picked in zip(frames.raw, orientations, frames.picked, strict=True)
    ]


def sums_of(pixels: Sequence[Pixels], frames: Frames, colors: ColorMap) -> Moments:
    """The sums of all frames.

    Args:
        pixels: of each frame.
        frames: what the app fed.
        colors: what happens to the pixels.

    Returns:
        The sums.
    """
    pairs = zip(pixels, frames.values(), strict=True)
    return total_of([moments(image if colors is UNCHANGED else colors.of(image), fed) for image, fed in pairs])


def misfit_of(pixels: Sequence[Pixels], frames: Frames, own: OwnValues, hypothesis: ImageHypothesis) -> float:
    """The nRMSE of a hypothesis.

    A rounding turns small differences of another implementation into whole steps. So a value counts as right between
    what the rounding gives for a pixel a little below and a little above.

    Args:
        pixels: of each frame, after its geometry.
        frames: what the app fed.
        own: what the pipeline does.
        hypothesis: what is judged.

    Returns:
        The misfit.
    """
    squares, count = np.zeros(2), 0
    for image, fed in zip(pixels, frames.values(), strict=True):
        ends = [_between(image, own, hypothesis), _rounded_before_colors(image, own, hypothesis)]
        squares += [float((np.maximum(np.maximum(low - fed, fed - high), 0) ** 2).sum()) for low, high in ends]
        count += fed.size
    return float(np.sqrt(squares.min() / count)) / frames.width


def _rounded_before_colors(pixels: Pixels, own: OwnValues, hypothesis: ImageHypothesis) -> tuple[Floats, Floats]:
    """The same where pixels are rounded before their colors change, without room: it is not monotonic."""
    rounding = hypothesis.rounding
    if rounding.of is None or rounding.stage != "pixels" or hypothesis.colors is UNCHANGED:
        return _between(pixels, own, hypothesis)
    colored = hypothesis.colors.of(np.asarray(rounding.of(pixels), np.float32))
    values = hypothesis.range.of(colored[..., [own.order[place] for place in hypothesis.order]])
    return values, values


def _between(pixels: Pixels, own: OwnValues, hypothesis: ImageHypothesis) -> tuple[Floats, Floats]:
    """The least and the largest value that a hypothesis allows, (pixels, 3) each."""
    colored = np.asarray(hypothesis.colors.of(pixels), np.float64)
    source = [own.order[place] for place in hypothesis.order]
    span, rounding = hypothesis.range, hypothesis.rounding
    if rounding.of is None:
        values = span.of(colored[..., source])
        return values, values
    if rounding.stage == "pixels":
        slack = min(1.0, rounding.step * ROUNDED_PIXEL_SLACK)
        ends = [span.of(rounding.of(colored + sign * slack)[..., source]) for sign in (-1, 1)]
    else:
        unit = float(np.abs(span.scale).max()) or 1.0
        slack = min(1.0, rounding.step / unit * ROUNDED_PIXEL_SLACK)
        ends = [rounding.of(span.of((colored + sign * slack)[..., source])) for sign in (-1, 1)]
    return np.minimum(*ends), np.maximum(*ends)

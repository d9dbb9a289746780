"""Explains what an app fed to an image model: by which changes of the pipeline its inputs are reproduced.

Analysis by synthesis. First the geometry is found on small copies, whatever happened to the colors (`align_images`).
Then every method of resizing, change of colors, channel order, range and rounding is played back on the raw frames and
compared with what the app fed. The explanation with the fewest differences is taken, unless one with more leaves a much
smaller misfit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.playback.align_images import Alignment, align, polished
from windtunnel.diagnosis.playback.color_maps import UNCHANGED, ColorMap, color_maps, finest_gamma
from windtunnel.diagnosis.playback.framing import LETTERBOXES, Geometry, Orientation
from windtunnel.diagnosis.playback.image_hypotheses import (
    KNOWN_RANGES,
    ORDERS,
    STRAIGHT,
    Frames,
    ImageHypothesis,
    Judged,
    OwnValues,
    Pixels,
    Range,
    misfit_of,
    pixels_of,
    sums_of,
    value_hypotheses,
)
from windtunnel.diagnosis.playback.resampling import SAMPLERS, Sampler
from windtunnel.diagnosis.playback.roundings import EXACT, roundings_for
from windtunnel.diagnosis.playback.synthesis.table import Table
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import (
    DEEPLY_TRIED,
    EXPLAINED_RATIO,
    HOPELESS_TIMES,
    INSIDE_LEAST,
    PIXELS_JUDGED,
    ROUNDING_MISFIT,
    TURNED_SHARE,
)

Families = frozenset[CauseCode]


class ImageSearch:
    """The search for the changes that reproduce what an app fed.

    Args:
        frames: raw images, and what the app fed for each.
        geometry: the pipeline's.
        own: what the pipeline does to values.
        memory: what the app fed is read in the other memory order.
        from_yuv: the raw images are YUV.
        step: rounding that the input's type explains, in its unit; 0: none.
    """

    def __init__(
        self, frames: Frames, geometry: Geometry, own: OwnValues, *, memory: bool, from_yuv: bool, step: float = 0.0
    ) -> None:
        self._frames = frames
        self._geometry = geometry
        self._own = own
        self._memory = memory
        self._maps = color_maps(from_yuv=from_yuv)
        self._roundings = roundings_for(list(frames.values()))
        self._floor = floor_of(frames, step)
        self.table: Table[Judged] = Table()

    def run(self) -> Judged:
        """Judges all hypotheses.

        Returns:
            The one with the fewest differences that explains enough; `table` has the others.
        """
        found = align(self._frames.raw, self._frames.fed, self._geometry)
        # Before it is polished: then shares are of the images themselves.
        nearest = min(found, key=lambda one: one.unexplained)
        alignments = [self._polished(one) if one is nearest and number else one for number, one in enumerate(found)]
        alignments += self._letterboxes(alignments[0])
        hopeless = HOPELESS_TIMES * min(one.unexplained for one in alignments) + TURNED_SHARE
        placed = [
            one
            for number, alignment in enumerate(alignments)
            if number == 0 or alignment.unexplained <= hopeless
            for one in self._geometries(alignment, with_others=alignment.unexplained <= hopeless)
        ]
        placed.sort(key=lambda one: one[0])
        for _, geometry, turned, pixels in self._worth(placed):
            self._colors(geometry, turned, pixels)
        return self.simplest()

    def _letterboxes(self, own: Alignment) -> list[Alignment]:
        """The same letterbox with other roundings to whole pixels: small copies do not distinguish them."""
        if self._geometry.framing.name != "letterbox":
            return []
        return [replace(own, framing=replace(self._geometry.framing, name=name)) for name in LETTERBOXES]

    def _polished(self, alignment: Alignment) -> Alignment:
        if alignment.framing.name != "window" or alignment.framing == self._geometry.framing:
            return alignment
        better = polished(alignment, self._frames.raw, self._frames.fed, self._geometry)
        return replace(better, unexplained=alignment.unexplained)

    def simplest(self) -> Judged:
        """The hypothesis with the fewest differences among those that explain enough."""
        return self.table.simplest(self._floor, EXPLAINED_RATIO)

    def _geometries(
        self, alignment: Alignment, *, with_others: bool
    ) -> Iterator[tuple[float, Geometry, tuple[Orientation, ...], list[Pixels]]]:
        """The methods of resizing with one framing, with the unexplained share of each."""
        own = self._geometry.sampler
        others = [one for one in SAMPLERS.values() if one != own and with_others]
        for sampler in (own, *others):
            geometry = replace(
                self._geometry, framing=alignment.framing, sampler=sampler, orientation=alignment.orientation
            )
            pixels = pixels_of(self._frames, geometry, alignment.orientations)
            sums = sums_of(pixels, self._frames, UNCHANGED)
            yield float(np.sqrt(sums.free_mse())), geometry, alignment.orientations, pixels

    def _worth(self, placed: Sequence[Any]) -> list[Any]:
        """The best geometries, and those that differ less from the pipeline."""
        chosen = list(placed[:DEEPLY_TRIED])
        simple = [self._is_framed, self._is_sampled, self._is_own]
        for is_simple in simple:
            chosen += [one for one in placed if is_simple(one[1])][:1]
        return [one for number, one in enumerate(chosen) if all(one is not other for other in chosen[:number])]

    def _is_framed(self, geometry: Geometry) -> bool:
        return geometry.framing == self._geometry.framing

    def _is_sampled(self, geometry: Geometry) -> bool:
        return geometry.sampler == self._geometry.sampler

    def _is_own(self, geometry: Geometry) -> bool:
        return self._is_framed(geometry) and self._is_sampled(geometry)

    def _families(self, geometry: Geometry, turned: Sequence[Orientation]) -> Families:
        found = set()
        if any(one != self._geometry.orientation for one in turned):
            found.add(CauseCode.PREPROCESSING_ORIENTATION)
        if not self._is_framed(geometry):
            found.add(CauseCode.PREPROCESSING_CROP)
        if not self._is_sampled(geometry):
            found.add(CauseCode.PREPROCESSING_RESIZE)
        if self._memory:
            found.add(CauseCode.PREPROCESSING_LAYOUT)
        return frozenset(found)

    def _colors(self, geometry: Geometry, turned: tuple[Orientation, ...], pixels: list[Pixels]) -> None:
        families = self._families(geometry, turned)
        base = ImageHypothesis(
            geometry, turned, self._own.colors, STRAIGHT, self._own.range, EXACT, self._memory, families
        )
        self._values(base, pixels)
        colored = families | {CauseCode.PREPROCESSING_COLOR}
        tried = []
        for change in self._maps:
            tried.append((self._misfit(change, pixels), change))
        best = sorted(tried, key=lambda one: one[0])[:2]
        for _, change in best:
            finest = finest_gamma(change, lambda one: self._misfit(one, pixels))
            self._values(replace(base, colors=finest, families=colored), pixels)
        self._round(base, pixels)

    def _misfit(self, change: ColorMap, pixels: Sequence[Pixels]) -> float:
        """The best misfit of any order and range after a change of colors."""
        sums = sums_of(pixels, self._frames, change)
        return min(misfit for _, _, _, misfit in value_hypotheses(sums, self._own, self._frames.width))

    def _values(self, base: ImageHypothesis, pixels: Sequence[Pixels]) -> None:
        sums = sums_of(pixels, self._frames, base.colors)
        for order, span, extra, misfit in value_hypotheses(sums, self._own, self._frames.width):
            hypothesis = replace(base, order=order, range=span, families=base.families | extra)
            self.table.add(Judged(hypothesis, misfit))

    def _round(self, base: ImageHypothesis, pixels: Sequence[Pixels]) -> None:
        """Roundings on top of what explains most so far, and of the ranges that models are trained with."""
        if not self._roundings:
            return
        known = [one.hypothesis for one in self.table.best.values() if one.hypothesis.geometry == base.geometry]
        known.sort(key=lambda one: self.table.best[one.families].misfit)
        tried = [*known[:3], base]
        tried += [replace(base, range=span, families=base.families | _RANGE) for span in _known_ranges()]
        tried += [
            replace(one, order=order, families=one.families | _ORDER) for one in tried[3:] for order in ORDERS[1:]
        ]
        for hypothesis in tried:
            if hypothesis.rounding is not EXACT:
                continue
            for rounding in self._roundings:
                families = hypothesis.families | {CauseCode.PREPROCESSING_DTYPE}
                changed = replace(hypothesis, rounding=rounding, families=families)
                self.table.add(Judged(changed, misfit_of(pixels, self._frames, self._own, changed)))


_RANGE: Final = frozenset({CauseCode.PREPROCESSING_RANGE})
_ORDER: Final = frozenset({CauseCode.PREPROCESSING_CHANNEL_ORDER})


def _known_ranges() -> list[Range]:
    return [Range(np.full(3, scale), np.full(3, offset)) for scale, offset in KNOWN_RANGES.values()]


def is_alike(first: Sampler, second: Sampler) -> bool:
    """Whether two ways to resize differ only in details that no pipeline states.

    Args:
        first: one.
        second: the other.

    Returns:
        Whether they do.
    """
    return first == second or (first.alike != "" and first.alike == second.alike)


def floor_of(frames: Frames, step: float) -> float:
    """The misfit that rounding to 8 bits and to the steps of the input explain.

    Args:
        frames: what the app fed.
        step: of the input's quantization; 0: it is not quantized.

    Returns:
        nRMSE.
    """
    return float(ROUNDING_MISFIT + step / np.sqrt(12) / frames.width)


def frames_of(
    raw: Sequence[NDArray[Any]],
    fed: Sequence[NDArray[Any]],
    reference: Sequence[NDArray[Any]],
    limits: tuple[float, float] | None = None,
) -> Frames:
    """The frames to explain.

    Args:
        raw: raw images (H, W, 3).
        fed: what the app fed, (h, w, 3) real numbers.
        reference: what the pipeline feeds, in the same order.
        limits: between which the input can represent numbers; None: it is not quantized.

    Returns:
        The frames.
    """
    values = [np.asarray(one, np.float64) for one in fed]
    # Misfits are errors of what the app fed, in its own unit.
    span = float(np.ptp(np.stack(values))) or float(np.ptp(np.stack(list(reference)))) or 1.0
    return Frames(raw, values, span, _picked(values, limits))


def _picked(fed: Sequence[NDArray[np.float64]], limits: tuple[float, float] | None) -> list[NDArray[np.intp]]:
    """Pixels by which values are judged: at random, without those that a quantized input clips."""
    draw, few = np.random.default_rng(0), max(1, PIXELS_JUDGED // len(fed))
    rows = [one.reshape(-1, 3) for one in fed]
    everywhere: list[NDArray[np.bool_]] = [np.ones(len(one), np.bool_) for one in rows]
    inside = everywhere
    if limits is not None:
        slack = (limits[1] - limits[0]) / 512
        inside = [np.all((one > limits[0] + slack) & (one < limits[1] - slack), axis=1) for one in rows]
        if sum(one.sum() for one in inside) < INSIDE_LEAST * sum(map(len, rows)):
            inside = everywhere
    found = [np.flatnonzero(one) for one in inside]
    return [one if len(one) <= few else draw.choice(one, few, replace=False) for one in found]

"""Which orientation and framing explain what an app fed: tried on small copies, whatever happened to the colors.

A candidate is judged by the share of variance that no affine map between the channels explains, so that another
channel order, range or color space does not hide the right geometry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.playback.channel_fits import Moments, moments, total_of
from windtunnel.diagnosis.playback.framing import (
    ORIENTATIONS,
    Framing,
    Geometry,
    Orientation,
    framings,
    moved_framings,
)
from windtunnel.diagnosis.playback.resampling import SAMPLERS, Span, span_taps, weighted
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import (
    ALIGNED_BETTER,
    ALIGNED_SIDE,
    ALIGNED_SOURCE,
    ALIGNED_WELL,
    FRAMES_POLISHED,
    TURNED_BETTER,
    TURNED_SHARE,
    WHOLE_PIXELS_WORSE,
)

Images = Sequence[NDArray[Any]]
_SMOOTH: Final = SAMPLERS["bilinear_antialias"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """A framing and each frame's orientation. `unexplained`: share of the variance, 0 to 1."""

    framing: Framing
    orientations: tuple[Orientation, ...]
    unexplained: float

    @property
    def orientation(self) -> Orientation:
        """That of most frames."""
        return Counter(self.orientations).most_common(1)[0][0]


def align(raw: Images, fed: Images, own: Geometry) -> list[Alignment]:
    """The alignments that explain the frames best.

    Args:
        raw: raw images (H, W, 3).
        fed: what the app fed for each, (h, w, 3) in real numbers.
        own: the pipeline's geometry.

    Returns:
        The pipeline's own framing in the best orientation first, then others, best first.
    """
    small = _Small(raw, fed, own)
    tried = [small.best(framing) for framing in framings(own.framing)]
    if min(one.unexplained for one in tried) > ALIGNED_WELL:
        tried += [small.best(framing) for framing in moved_framings()]
    best = sorted(tried[1:], key=lambda one: one.unexplained)[:3]
    refined = [small.refined(one) for one in (tried[0], *best[:1])]
    others = sorted([*best, *(one for one in refined if one is not None)], key=lambda one: one.unexplained)
    return [tried[0], *others]


class _Small:
    """Small copies of all frames.

    Args:
        raw: raw images (H, W, 3).
        fed: what the app fed for each.
        own: the pipeline's geometry.
    """

    def __init__(self, raw: Images, fed: Images, own: Geometry) -> None:
        self._own = own
        side = min(1.0, ALIGNED_SIDE / max(own.size))
        self._size = max(4, round(own.size[0] * side)), max(4, round(own.size[1] * side))
        self._raw = [_shrunk(one, ALIGNED_SOURCE) for one in raw]
        self._fed = [_to(np.asarray(one, np.float32), self._size) for one in fed]

    def best(self, framing: Framing) -> Alignment:
        """The best orientation of each frame with a framing.

        Args:
            framing: of all frames.

        Returns:
            The alignment.
        """
        sums = [[self._moments(index, framing, one) for one in ORIENTATIONS] for index in range(len(self._raw))]
        pooled = [_share(total_of([row[number] for row in sums])) for number in range(len(ORIENTATIONS))]
        own = ORIENTATIONS.index(self._own.orientation)
        best = int(np.argmin(pooled))
        most = own if pooled[own] <= pooled[best] * TURNED_BETTER + TURNED_SHARE / 10 else best
        chosen = [self._turned(row, most, own) for row in sums]
        together = _share(total_of([row[number] for row, number in zip(sums, chosen, strict=True)]))
        return Alignment(framing, tuple(ORIENTATIONS[number] for number in chosen), together)

    def _turned(self, sums: Sequence[Moments], most: int, own: int) -> int:
        """The orientation of one frame: that of most frames, unless another one is clearly better."""
        shares = [_share(one) for one in sums]
        for likely in (most, own):
            if shares[likely] <= min(shares) * TURNED_BETTER + TURNED_SHARE:
                return likely
        return int(np.argmin(shares))

    def _moments(self, index: int, framing: Framing, orientation: Orientation) -> Moments:
        geometry = Geometry(self._size, framing, _SMOOTH, orientation)
        return moments(geometry.of(self._raw[index]), self._fed[index])

    def refined(self, start: Alignment) -> Alignment | None:
        """A window of any size and place near a framing, by descent along each of its four figures.

        Args:
            start: the framing, with orientations.

        Returns:
            The alignment; None: no window near it is much better.
        """
        if start.framing.name.startswith("letterbox"):
            return None

        usual = start.orientation
        alike = [index for index, turned in enumerate(start.orientations) if turned == usual]

        def misfit(figures: tuple[float, ...]) -> float:
            framing = _moved(start.framing, figures)
            return _share(total_of([self._moments(index, framing, usual) for index in alike]))

        before = misfit((1.0, 1.0, 0.0, 0.0))
        figures, best = _descend(misfit, before, (0.08, 0.002))
        if best > before * ALIGNED_BETTER:
            return None
        # The orientations of single frames show better in the right window.
        return self.best(_moved(start.framing, figures))


def polished(start: Alignment, raw: Images, fed: Images, own: Geometry) -> Alignment:
    """A window to the pixel: on the images themselves, and at whole pixels if these fit as well.

    Args:
        start: near the right window.
        raw: raw images (H, W, 3).
        fed: what the app fed for each.
        own: the pipeline's geometry.

    Returns:
        The alignment; its unexplained share is that of the images themselves.
    """
    few = range(min(len(raw), FRAMES_POLISHED))
    samplers = dict.fromkeys((own.sampler, _SMOOTH))

    def misfit(framing: Framing) -> float:
        return min(
            _share(
                total_of(
                    [
                        moments(Geometry(own.size, framing, one, start.orientations[index]).of(raw[index]), fed[index])
                        for index in few
                    ]
                )
            )
            for one in samplers
        )

    figures, best = _descend(lambda moved: misfit(_moved(start.framing, moved)), misfit(start.framing), (0.004, 0.0005))
    framing = _moved(start.framing, figures)
    whole = _at_whole_pixels(framing, [start.orientations[index].of(raw[index]).shape for index in few], own.size)
    if whole is not None and (found := misfit(whole)) <= best * WHOLE_PIXELS_WORSE:
        framing, best = whole, found
    return replace(start, framing=framing, unexplained=best)


def _at_whole_pixels(framing: Framing, shapes: Sequence[tuple[int, ...]], size: tuple[int, int]) -> Framing | None:
    """The window with its edges at whole pixels of the raw image; None: raw images differ in size."""
    if len({shape[:2] for shape in shapes}) != 1:
        return None
    height, width = shapes[0][:2]
    window = framing.window(height, width, size)
    top, bottom = round(window.top * height), round((window.top + window.height) * height)
    left, right = round(window.left * width), round((window.left + window.width) * width)
    tall, wide = (bottom - top) / height, (right - left) / width
    shift = (top / height - (1 - tall) / 2, left / width - (1 - wide) / 2)
    return Framing("window", windows=(tall, wide), shift=shift)


def _descend(
    misfit: Callable[[tuple[float, ...]], float], best: float, steps: tuple[float, float]
) -> tuple[tuple[float, ...], float]:
    """Descent along each figure, with steps that get smaller from the first to the last."""
    figures: tuple[float, ...] = (1.0, 1.0, 0.0, 0.0)
    step = steps[0]
    while step > steps[1]:
        improved = False
        for axis in range(4):
            for sign in (1, -1):
                tried = (*figures[:axis], figures[axis] + sign * step, *figures[axis + 1 :])
                if tried[0] <= 0.2 or tried[1] <= 0.2:
                    continue
                if (found := misfit(tried)) < best * 0.995:
                    figures, best, improved = tried, found, True
        step = step if improved else step / 2
    return figures, best


def _moved(framing: Framing, figures: tuple[float, ...]) -> Framing:
    """A framing with its window stretched (down, right) and moved (down, right)."""
    if framing.name in ("squash", "window"):
        tall, wide = framing.windows or (1.0, 1.0)
        shift = framing.shift[0] + figures[2], framing.shift[1] + figures[3]
        sizes = tall * framing.zoom * figures[0], wide * framing.zoom * figures[1]
        return Framing("window", windows=sizes, shift=shift)
    zoom = framing.zoom * (figures[0] + figures[1]) / 2
    return replace(framing, zoom=zoom, shift=(framing.shift[0] + figures[2], framing.shift[1] + figures[3]))


def _share(sums: Moments) -> float:
    variance = sums.variance
    return 1.0 if variance < 1e-12 else min(1.0, sums.free_mse() / variance)


def _shrunk(image: NDArray[Any], longest: int) -> NDArray[np.float32]:
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    return _to(image, (max(1, round(height * scale)), max(1, round(width * scale))))


def _to(image: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    if image.shape[:2] == size:
        return np.asarray(image, np.float32)
    axes = [span_taps(image.shape[axis], size[axis], Span(0.0, image.shape[axis]), SAMPLERS["area"]) for axis in (0, 1)]
    return weighted(image, *axes)

"""Which part of a raw image fills the model's input, and how it is turned: what the pipeline says, and alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.playback.resampling import SAMPLERS, Sampler, Span, sampler_of, span_taps, weighted
from windtunnel.pipeline import Step

# Letterboxes that round sizes and gaps to whole pixels differently, which no pipeline states.
LETTERBOXES: Final = ("letterbox_whole", "letterbox_whole_later", "letterbox_nearest", "letterbox_nearest_later")
GEOMETRY: Final = frozenset({"resize", "central_crop", "letterbox", "rotate", "mirror"})
_TURNS: Final = ("as it is", "rotated by 90° counter-clockwise", "rotated by 180°", "rotated by 90° clockwise")


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to turn an image: first mirrored left to right, then turned counter-clockwise.

    `turns` counts quarter turns.
    """

    turns: int = 0
    mirrored: bool = False

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """The image turned so.

        Args:
            image: (H, W, C).

        Returns:
            (H, W, C) or (W, H, C), a view.
        """
        return np.rot90(image[:, ::-1] if self.mirrored else image, self.turns)

    def then(self, later: Orientation) -> Orientation:
        """Both, one after the other.

        Args:
            later: what follows.

        Returns:
            What they amount to.
        """
        # A mirror after turns is the mirror before the turns in the other direction.
        turns = -self.turns if later.mirrored else self.turns
        return Orientation((turns + later.turns) % 4, self.mirrored != later.mirrored)

    def words(self) -> str:
        """For people."""
        if not self.mirrored:
            return _TURNS[self.turns]
        named = {0: "mirrored left to right", 2: "mirrored top to bottom"}
        return named.get(self.turns, f"mirrored left to right and {_TURNS[self.turns]}")


UPRIGHT: Final = Orientation()
ORIENTATIONS: Final = tuple(Orientation(turns, mirrored) for mirrored in (False, True) for turns in range(4))


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the raw image that fills a window of the result, in fractions of either.

    `pad`: the value around the window in the result, in the unit of pixels; None: nothing is around it.
    """

    top: float = 0.0
    left: float = 0.0
    height: float = 1.0
    width: float = 1.0
    into: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    pad: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Framing:
    """How a raw image becomes as large as the model's input.

    Attributes:
        name: of the way, in documents: `squash`, `center`, `letterbox`, `window` ...
        zoom: the part of the largest possible window that is taken; 1: all of it.
        shift: of the window's center, in fractions of the raw image: down, right.
        windows: of a `window`: height and width in fractions of the raw image.
        pad: of letterboxes.
    """

    name: str
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    windows: tuple[float, float] | None = None
    pad: tuple[float, ...] = (0.0,)

    def window(self, height: int, width: int, size: tuple[int, int]) -> Window:
        """The window for an image of this size.

        Args:
            height: of the raw image, in pixels.
            width: of it.
            size: height and width of the result.

        Returns:
            The window.
        """
        if self.name.startswith("letterbox"):
            return _letterbox(height, width, size, self.pad, self.name)
        if self.name == "pixels" or self.name == "pixels_corner":
            part = min(1.0, size[0] / height), min(1.0, size[1] / width)
        elif self.windows is not None:
            part = self.windows
        elif self.name in ("center", "corner", "corner_end"):
            fit = min(height / size[0], width / size[1])
            part = fit * size[0] / height, fit * size[1] / width
        else:
            part = 1.0, 1.0
        tall, wide = part[0] * self.zoom, part[1] * self.zoom
        top, left = (1 - tall) / 2, (1 - wide) / 2
        if self.name in ("corner", "pixels_corner"):
            top, left = 0.0, 0.0
        if self.name == "corner_end":
            top, left = 1 - tall, 1 - wide
        return Window(top + self.shift[0], left + self.shift[1], tall, wide)

    def words(self) -> str:
        """For people."""
        pad = ", ".join(f"{one:g}" for one in self.pad)
        said = {
            "squash": "the whole image is squeezed into the input",
            "center": "the center of the image with the aspect of the input is taken",
            "corner": "the part at the top left with the aspect of the input is taken",
            "corner_end": "the part at the bottom right with the aspect of the input is taken",
            "letterbox": f"the whole image is fitted inside and padded with {pad} around it",
            **dict.fromkeys(LETTERBOXES, f"the whole image is fitted inside and padded with {pad}, shifted by a pixel"),
            "letterbox_corner": f"the whole image is fitted into the top left and padded with {pad}",
            "pixels": "the center is cut out without resizing",
            "pixels_corner": "the top left is cut out without resizing",
        }.get(self.name)
        if said is None:
            tall, wide = self.windows or (1.0, 1.0)
            said = f"a window of {tall * self.zoom:.1%} of the height and {wide * self.zoom:.1%} of the width is taken"
        elif self.zoom != 1:
            said += f", {self.zoom:.1%} of it"
        if self.shift != (0.0, 0.0):
            said += f", moved by {self.shift[0]:+.1%} down and {self.shift[1]:+.1%} right"
        return said


def _letterbox(height: int, width: int, size: tuple[int, int], pad: tuple[float, ...], name: str) -> Window:
    # As tf.image.resize_with_pad: the gap is that of the size before it is cut to whole pixels.
    fit = max(height / size[0], width / size[1])
    fitted = height / fit + 1e-4, width / fit + 1e-4
    whole = round if name.startswith("letterbox_nearest") else int
    tall, wide = max(1, whole(fitted[0])), max(1, whole(fitted[1]))
    if name == "letterbox":
        top, left = (int(max(0.0, (side - inner) / 2 + 1e-4)) for side, inner in zip(size, fitted, strict=True))
    elif name == "letterbox_corner":
        top = left = 0
    else:
        later = int(name.endswith("_later"))
        top, left = ((side - inner + later) // 2 for side, inner in ((size[0], tall), (size[1], wide)))
    into = (top / size[0], left / size[1], tall / size[0], wide / size[1])
    return Window(into=into, pad=pad)


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a raw image is framed, turned and resized. `size`: height and width of the result."""

    size: tuple[int, int]
    framing: Framing
    sampler: Sampler
    orientation: Orientation = UPRIGHT

    def of(self, image: NDArray[Any], orientation: Orientation | None = None) -> NDArray[np.float32]:
        """What becomes of a raw image.

        Args:
            image: (H, W, C).
            orientation: instead of its own; None: its own.

        Returns:
            (h, w, C) float32, in the unit of the image.
        """
        turned = (orientation or self.orientation).of(image)
        height, width = turned.shape[:2]
        window = self.framing.window(height, width, self.size)
        inner = round(window.into[2] * self.size[0]), round(window.into[3] * self.size[1])
        rows = span_taps(height, inner[0], Span(window.top * height, window.height * height), self.sampler)
        columns = span_taps(width, inner[1], Span(window.left * width, window.width * width), self.sampler)
        filled = weighted(turned, rows, columns)
        if window.pad is None:
            return filled
        result = np.empty((*self.size, image.shape[2]), np.float32)
        result[:] = np.asarray(window.pad, np.float32)
        top, left = round(window.into[0] * self.size[0]), round(window.into[1] * self.size[1])
        result[top : top + inner[0], left : left + inner[1]] = filled
        return result


def geometry_of(steps: Sequence[Step], size: tuple[int, int]) -> Geometry | None:
    """What the steps of a pipeline do to the geometry of an image.

    Args:
        steps: of a pipeline for images.
        size: height and width of its result.

    Returns:
        The geometry; None: its steps are combined in a way that no single window describes.
    """
    found = Geometry(size, Framing("pixels"), SAMPLERS["bilinear"])
    shape: tuple[int, int] | None = None
    for step in steps:
        fields = step.fields
        if step.op == "rotate":
            found = replace(found, orientation=found.orientation.then(Orientation(fields["degrees"] // 90)))
        elif step.op == "mirror":
            turns = 0 if fields["axis"] == "horizontal" else 2
            found = replace(found, orientation=found.orientation.then(Orientation(turns, mirrored=True)))
        elif step.op in ("resize", "letterbox"):
            if shape is not None:
                return None
            shape = fields["size"][0], fields["size"][1]
            sampler = sampler_of(fields["method"], antialias=fields["antialias"])
            if step.op == "resize":
                framing = Framing("squash")
            else:
                value = fields["value"]
                framing = Framing("letterbox", pad=tuple(value) if isinstance(value, list) else (float(value),))
            found = replace(found, sampler=sampler, framing=framing)
        elif step.op == "central_crop":
            if shape is None:
                continue
            if found.framing.name != "squash":
                return None
            part = fields["size"][0] / shape[0], fields["size"][1] / shape[1]
            found = replace(found, framing=_cropped(part, shape, (fields["size"][0], fields["size"][1])))
            shape = fields["size"][0], fields["size"][1]
    return found


def _cropped(part: tuple[float, float], shape: tuple[int, int], size: tuple[int, int]) -> Framing:
    """A central crop after a resize; the odd pixel stays below and to the right."""
    shift = tuple(((shape[axis] - size[axis]) // 2) / shape[axis] - (1 - part[axis]) / 2 for axis in (0, 1))
    return Framing("window", windows=part, shift=(shift[0], shift[1]))


def framings(own: Framing) -> tuple[Framing, ...]:
    """The framings that apps use, the pipeline's own first.

    Args:
        own: the pipeline's.

    Returns:
        The framings.
    """
    zooms = (0.95, 0.9, 0.875, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)
    pads = dict.fromkeys((own.pad, (0.0,), (114.0,), (127.5,), (255.0,)))
    others = [Framing("squash"), Framing("center")]
    others += [Framing(name, pad=pad) for name in ("letterbox", "letterbox_corner") for pad in pads]
    others += [Framing(name) for name in ("corner", "corner_end", "pixels", "pixels_corner")]
    others += [Framing("center", zoom) for zoom in zooms]
    others += [Framing("squash", zoom) for zoom in zooms]
    return (own, *(one for one in others if one != own))


def moved_framings() -> tuple[Framing, ...]:
    """Smaller windows at the edges and corners of the whole image and of its center: starts for a search."""
    places = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
    found = []
    for zoom in (0.9, 0.8, 0.7, 0.6, 0.5):
        room = (1 - zoom) / 2
        for down, right in places:
            found += [Framing(name, zoom, (down * room, right * room)) for name in ("squash", "center")]
    return tuple(found)

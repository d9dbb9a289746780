"""Findings about images: what the app does, what the pipeline says, and what to change, in words."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.preprocessing import (
    ChannelOrderFinding,
    ColorFinding,
    CropFinding,
    DtypeFinding,
    LayoutFinding,
    OrientationFinding,
    PreprocessingFinding,
    Proof,
    ResizeFinding,
    ValueRangeFinding,
)
from windtunnel.diagnosis.playback.color_maps import UNCHANGED
from windtunnel.diagnosis.playback.framing import Geometry, Orientation
from windtunnel.diagnosis.playback.image_hypotheses import ImageHypothesis, OwnValues, Range
from windtunnel.plain_text import figure

_NAMES = ("R", "G", "B")


def finding_of(
    code: CauseCode, found: ImageHypothesis, geometry: Geometry, own: OwnValues, proof: Proof
) -> PreprocessingFinding:
    """The finding of one difference.

    Args:
        code: of the difference.
        found: what the app does.
        geometry: of the pipeline.
        own: values of the pipeline.
        proof: of the replay.

    Returns:
        The finding.
    """
    if code == CauseCode.PREPROCESSING_ORIENTATION:
        return _orientation(found, geometry, proof)
    if code == CauseCode.PREPROCESSING_CROP:
        return CropFinding(
            app=found.geometry.framing.words(),
            pipeline=geometry.framing.words(),
            how="cut and fit the image as the pipeline does, before the resize",
            framing=found.geometry.framing.name,
            proof=proof,
        )
    if code == CauseCode.PREPROCESSING_RESIZE:
        return ResizeFinding(
            app=found.geometry.sampler.words,
            pipeline=geometry.sampler.words,
            how=f"resize by {geometry.sampler.words}",
            method=found.geometry.sampler.name,
            proof=proof,
        )
    if code == CauseCode.PREPROCESSING_LAYOUT:
        return LayoutFinding(
            app="the memory is in the other order (planes of channels for pixels, or pixels for planes)",
            pipeline="channels lie as the input of the model has them",
            how="transpose the array before it is fed, instead of reshaping it",
            proof=proof,
        )
    return _of_values(code, found, own, proof)


def _of_values(code: CauseCode, found: ImageHypothesis, own: OwnValues, proof: Proof) -> PreprocessingFinding:
    if code == CauseCode.PREPROCESSING_CHANNEL_ORDER:
        order = [own.order[place] for place in found.order]
        app, right = ("".join(_NAMES[place] for place in one) for one in (order, own.order))
        how = f"give the channels in the order {right} before the normalization"
        return ChannelOrderFinding(app=app, pipeline=right, how=how, order=tuple(found.order), proof=proof)
    if code == CauseCode.PREPROCESSING_RANGE:
        return _range(found.range, own.range, proof)
    if code == CauseCode.PREPROCESSING_COLOR:
        right = own.colors.words if own.colors is not UNCHANGED else "colors are not changed"
        how = "convert colors as the pipeline does"
        return ColorFinding(app=found.colors.words, pipeline=right, how=how, change=found.colors.name, proof=proof)
    if code == CauseCode.PREPROCESSING_DTYPE:
        return DtypeFinding(
            app=found.rounding.words,
            pipeline="values keep their fraction",
            how="scale values as floating point; if the input takes integers, round to the nearest",
            rounding=found.rounding.name,
            proof=proof,
        )
    raise ValueError(f"{code} is not found in images")


def _orientation(found: ImageHypothesis, geometry: Geometry, proof: Proof) -> OrientationFinding:
    turned = [one for one in found.orientations if one != geometry.orientation]
    most = Counter(turned).most_common(1)[0][0]
    relative = _relative(geometry.orientation, most)
    who = (
        "images are"
        if len(turned) == len(found.orientations)
        else f"{len(turned)} of {len(found.orientations)} images are"
    )
    how = f"turn them back ({_inverse(relative).words()})"
    if len(turned) < len(found.orientations):
        how += "; if only some are turned, apply the EXIF orientation of photos"
    return OrientationFinding(
        app=f"{who} {relative.words()}",
        pipeline="images are upright" if geometry.orientation == Orientation() else geometry.orientation.words(),
        how=how,
        turned=len(turned),
        of_frames=len(found.orientations),
        proof=proof,
    )


def _inverse(one: Orientation) -> Orientation:
    return one if one.mirrored else Orientation((-one.turns) % 4)


def _relative(before: Orientation, after: Orientation) -> Orientation:
    """What turns an image that the pipeline turned into one that the app turned."""
    return _inverse(before).then(after)


def _range(app: Range, right: Range, proof: Proof) -> ValueRangeFinding:
    scale = np.where(np.abs(app.scale) > 1e-12, right.scale / np.where(app.scale == 0, 1.0, app.scale), 0.0)
    offset = right.offset - scale * app.offset
    factors, added = _numbers(scale), _numbers(offset)
    how = f"multiply by {_shown(factors)} and add {_shown(added)}, channel by channel in the order of the input"
    return ValueRangeFinding(app=_span(app), pipeline=_span(right), how=how, scale=factors, offset=added, proof=proof)


def _numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    """One number where all channels have the same, to six digits."""
    known = [float(f"{value:.6g}") for value in values]
    alike = max(known) - min(known) <= 1e-3 * max(1e-6, max(abs(one) for one in known))
    return (known[0],) if alike else tuple(known)


def _shown(values: tuple[float, ...]) -> str:
    return figure(values[0], ".5g") if len(values) == 1 else "[" + ", ".join(figure(one, ".5g") for one in values) + "]"


def _span(one: Range) -> str:
    ends = np.stack([one.offset, one.scale * 255 + one.offset])
    # Digits below a thousandth of the range are noise of the fit.
    unit = max(1e-9, float(np.ptp(ends, axis=0).max()) / 1000)
    low, high = (np.rint(side / unit) * unit + 0.0 for side in ends)
    pairs = [f"{figure(float(a), '.3g')} to {figure(float(b), '.3g')}" for a, b in zip(low, high, strict=True)]
    if len(set(pairs)) == 1:
        return f"pixels 0 to 255 become {pairs[0]}"
    return f"pixels 0 to 255 become, by channel, {', '.join(pairs)}"

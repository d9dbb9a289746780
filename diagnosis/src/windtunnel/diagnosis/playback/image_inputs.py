"""What an app fed to an image model, against its pipeline: the memory order, the search, and its findings in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.preprocessing import Proof
from windtunnel.diagnosis.playback.align_images import align
from windtunnel.diagnosis.playback.color_maps import UNCHANGED, ColorMap
from windtunnel.diagnosis.playback.explain_images import ImageSearch, floor_of, frames_of, is_alike
from windtunnel.diagnosis.playback.framing import GEOMETRY, LETTERBOXES, Geometry, geometry_of
from windtunnel.diagnosis.playback.image_hypotheses import Judged, OwnValues, Range
from windtunnel.diagnosis.playback.image_words import finding_of
from windtunnel.diagnosis.playback.synthesis.explanation import Explanation
from windtunnel.diagnosis.thresholds.apps.playback_thresholds import (
    FRAMES_EXPLAINED,
    MEMORY_BETTER,
    MEMORY_DOUBTFUL,
    SAME_KIND,
)
from windtunnel.pipeline import Pipeline, Step, Values, advance, finished
from windtunnel.tflite.tensor_error import nrmse_of

_COLORS: Final = frozenset({"yuv_to_rgb", "gamma"})
# Numbers from which the affine map of value steps is read off.
_PROBES: Final = np.array([[100.0, 120.0, 140.0], [110, 120, 140], [100, 130, 140], [100, 120, 150]])


def explain_image_inputs(
    pipeline: Pipeline,
    raw: Sequence[NDArray[np.uint8]],
    fed: NDArray[np.float64],
    reference: NDArray[np.float64],
    step: float = 0.0,
    limits: tuple[float, float] | None = None,
) -> Explanation:
    """Explains how what an app fed differs from what its pipeline feeds.

    Args:
        pipeline: of the model's input.
        raw: raw images (H, W, 3), one for each frame.
        fed: what the app fed, (N, ...) real numbers, as many values a frame as the reference, in any shape.
        reference: what the pipeline feeds, (N, h, w, 3) or (N, 3, h, w).
        step: of the input's quantization; 0: it is not quantized.
        limits: between which the input can represent numbers; None: it is not quantized.

    Returns:
        The explanation.
    """
    planar = _is_planar(pipeline)
    images = reference.transpose(0, 2, 3, 1) if planar else reference
    size = images.shape[1], images.shape[2]
    geometry = geometry_of([one for one in pipeline.steps if one.op in GEOMETRY], size)
    own = own_values(pipeline)
    before = nrmse_of(reference, fed.reshape(reference.shape))
    if geometry is None or own is None:
        why = "its steps are combined in a way that is not searched for differences"
        return Explanation((), before, before or 0.0, len(raw), (why,))
    picked = _most_contrast(images)
    raws = [raw[index] for index in picked]
    straight, other = (_as_images(fed[picked], size, planar=one) for one in (planar, not planar))
    frames = frames_of(raws, list(straight), list(images[picked]), limits)
    if before is not None and before <= floor_of(frames, step):
        return Explanation((), before, before, len(raw))
    memory = _is_other_memory(raws, straight, other, geometry)
    if memory:
        frames = frames_of(raws, list(other), list(images[picked]), limits)
    from_yuv = any(one.op == "yuv_to_rgb" for one in pipeline.steps)
    search = ImageSearch(frames, geometry, own, memory=memory, from_yuv=from_yuv, step=step)
    found, notes = _without_alike(search, search.run(), geometry)
    proof_of = _Proofs(search, found, before, len(picked))
    families = set(found.hypothesis.families)
    if found.hypothesis.geometry.framing.name in LETTERBOXES:
        families.discard(CauseCode.PREPROCESSING_CROP)
        notes = (*notes, "the app's letterbox rounds to whole pixels differently, which the pipeline does not state")
    findings = tuple(finding_of(code, found.hypothesis, geometry, own, proof_of(code)) for code in sorted(families))
    return Explanation(findings, before, found.misfit, len(picked), notes)


class _Proofs:
    """What the replay showed of each finding.

    Args:
        search: has judged all hypotheses.
        found: the one that was chosen.
        before: nRMSE of what the app fed.
        frames: how many were replayed.
    """

    def __init__(self, search: ImageSearch, found: Judged, before: float | None, frames: int) -> None:
        self._search, self._found, self._before, self._frames = search, found, before, frames

    def __call__(self, code: CauseCode) -> Proof:
        without = self._search.table.without(code)
        before = self._before or 0.0
        return Proof(before, without if np.isfinite(without) else before, self._found.misfit, self._frames)


def _without_alike(search: ImageSearch, found: Judged, own: Geometry) -> tuple[Judged, tuple[str, ...]]:
    """Another kernel of the same name is a note, not a finding."""
    hypothesis = found.hypothesis
    resize = CauseCode.PREPROCESSING_RESIZE
    if resize not in hypothesis.families or not is_alike(hypothesis.geometry.sampler, own.sampler):
        return found, ()
    rest = search.table.best.get(hypothesis.families - {resize})
    if rest is None or rest.misfit > SAME_KIND:
        return found, ()
    return rest, (f"the app resizes by {hypothesis.geometry.sampler.words}, which is a kernel of the same kind",)


def own_values(pipeline: Pipeline) -> OwnValues | None:
    """What a pipeline does to the values of pixels.

    Args:
        pipeline: for images.

    Returns:
        Its colors, channel order and range; None: no such three describe it.
    """
    color = [one for one in pipeline.steps if one.op in _COLORS]
    later = [one for one in pipeline.steps if one.op in ("normalize", "channel_order")]
    places = [number for number, one in enumerate(pipeline.steps) if one.op in (*_COLORS, "normalize", "channel_order")]
    if color and [pipeline.steps[number] for number in places][: len(color)] != color:
        return None
    values = _run(later, _PROBES)
    matrix = np.stack([(values[1 + axis] - values[0]) / 10 for axis in range(3)])
    order = tuple(int(np.argmax(np.abs(matrix[:, channel]))) for channel in range(3))
    scale = matrix[list(order), range(3)]
    offset = values[0] - scale * _PROBES[0][list(order)]
    return OwnValues(_color_map(color), order, Range(scale, offset))


def _color_map(steps: Sequence[Step]) -> ColorMap:
    if not steps:
        return UNCHANGED
    return ColorMap("pipeline", "as the pipeline says", lambda pixels: _run(steps, pixels).astype(np.float32))


def _run(steps: Sequence[Step], pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Steps that work pixel by pixel, on (..., 3) numbers."""
    if not steps:
        return np.asarray(pixels, np.float64)
    rows: NDArray[Any] = np.asarray(pixels, np.float32).reshape(1, -1, 1, 3)
    result = finished(advance(Values((rows,), "image"), steps))
    return np.asarray(result, np.float64).reshape(np.shape(pixels))


def _is_planar(pipeline: Pipeline) -> bool:
    layouts = [step.fields["to"] for step in pipeline.steps if step.op == "layout"]
    return bool(layouts) and layouts[-1] == "NCHW"


def _as_images(fed: NDArray[np.float64], size: tuple[int, int], *, planar: bool) -> NDArray[np.float64]:
    """The memory of what was fed, read in one of the two orders, as (N, h, w, 3)."""
    if planar:
        return fed.reshape(len(fed), 3, *size).transpose(0, 2, 3, 1)
    return fed.reshape(len(fed), *size, 3)


def _is_other_memory(
    raw: Sequence[NDArray[Any]], straight: NDArray[np.float64], other: NDArray[np.float64], own: Geometry
) -> bool:
    """Whether what was fed makes sense only in the other memory order."""
    few = slice(0, 3)
    left = min(one.unexplained for one in align(raw[few], list(straight[few]), own))
    if left <= MEMORY_DOUBTFUL:
        return False
    return min(one.unexplained for one in align(raw[few], list(other[few]), own)) < left * MEMORY_BETTER


def _most_contrast(images: NDArray[np.float64]) -> NDArray[np.intp]:
    """The frames with the most contrast, in their order."""
    contrast = images.reshape(len(images), -1).std(axis=1)
    return np.sort(np.argsort(-contrast, kind="stable")[:FRAMES_EXPLAINED])

"""What is right for samples besides `y`: boxes, masks, targets and keypoints, as arrays of an .npz file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.task_names import TaskName

# Names of the arrays; `masks` and `targets` are labels as `y` is.
NAMES: Final = ("boxes", "classes", "counts", "crowd", "masks", "targets", "keypoints")
_LABELS: Final[Mapping[str, TaskName]] = {"masks": "segmentation", "targets": "regression"}
_NONE: Final = -1
# Boxes may reach over the edge of an image; pixels are far above this.
_LARGEST: Final = 4.0


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """What is right for N samples, besides labels.

    `boxes`: (N, M, 4), ymin, xmin, ymax, xmax as shares of the image; with `classes` (N, M), -1 where a row is not
    used, and `crowd` (N, M). `keypoints`: (N, K, 2), y and x as shares of the image, with `visible` (N, K).
    `declares`: the task that the arrays are of; None: they do not say.
    """

    declares: TaskName | None = None
    boxes: NDArray[Any] | None = None
    classes: NDArray[np.int64] | None = None
    crowd: NDArray[np.bool_] | None = None
    keypoints: NDArray[Any] | None = None
    visible: NDArray[np.bool_] | None = None

    def take(self, indices: Any) -> GroundTruth:
        """Of some of the samples.

        Args:
            indices: of the samples, or a slice of them.

        Returns:
            In that order.
        """
        kept = {one.name: getattr(self, one.name) for one in fields(self)}
        return GroundTruth(
            **{name: value[indices] if isinstance(value, np.ndarray) else value for name, value in kept.items()}
        )


NO_TRUTH: Final = GroundTruth()


def take_ground_truth(file: str, arrays: dict[str, NDArray[Any]]) -> tuple[GroundTruth, NDArray[Any] | None]:
    """Takes the arrays that say what is right out of those of an .npz file.

    Args:
        file: its name, for messages.
        arrays: by name; those of `NAMES` are removed.

    Returns:
        What is right, and `masks` or `targets`, which are labels; None: there are none.

    Raises:
        InvalidInput: an array does not have the shape or the values that it must have; the message names it.
    """
    given: dict[str, NDArray[Any]] = {name: arrays.pop(name) for name in NAMES if name in arrays}
    for name, array in given.items():
        if array.dtype.kind not in "buif" or not array.ndim:
            raise _wrong(file, name, array, "numbers, one entry for each sample")
    labels = [name for name in _LABELS if name in given]
    if len(labels) > 1 or (labels and "y" in arrays):
        also = "y" if "y" in arrays else labels[1]
        raise InvalidInput(f"{file} has both {labels[0]} and {also}", hint="give the one that the model is judged by")
    _require_counts(
        file, {**given, **{name: one for name, one in arrays.items() if name in ("x", "y") or name.startswith("x/")}}
    )
    points, visible = _keypoints(file, given["keypoints"]) if "keypoints" in given else (None, None)
    boxes, classes, crowd = _objects(file, given, alone=points is not None)
    declared: TaskName | None = _LABELS[labels[0]] if labels else None
    declared = "keypoints" if points is not None else "detection" if boxes is not None else declared
    return GroundTruth(declared, boxes, classes, crowd, points, visible), given[labels[0]] if labels else None


def _wrong(file: str, name: str, array: NDArray[Any], expected: str) -> InvalidInput:
    return InvalidInput(f"{file}: {name} is {array.dtype} {list(array.shape)}", hint=f"{name} is {expected}")


def _require_counts(file: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    counts = {name: len(array) for name, array in arrays.items() if array.ndim}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InvalidInput(
            f"{file}: the arrays have different counts of samples: {said}",
            hint="every array has one entry per sample, in the same order",
        )


def _objects(
    file: str, given: Mapping[str, NDArray[Any]], *, alone: bool
) -> tuple[NDArray[Any] | None, NDArray[np.int64] | None, NDArray[np.bool_] | None]:
    """Boxes, classes and crowds; with keypoints boxes may stand alone.

    Raises:
        InvalidInput: one does not fit the others.
    """
    if "boxes" not in given:
        missing = next((name for name in ("classes", "counts", "crowd") if name in given), None)
        if missing is not None:
            raise InvalidInput(f"{file} has an array {missing!r} and no array 'boxes'", hint="boxes is (N, M, 4)")
        return None, None, None
    boxes = given["boxes"]
    boxes = boxes[:, None] if boxes.ndim == 2 else boxes
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        expected = "(N, M, 4): ymin, xmin, ymax, xmax of up to M objects of each sample"
        raise _wrong(file, "boxes", given["boxes"], expected)
    if "classes" in given:
        classes = _per_object(file, "classes", given["classes"], boxes.shape[:2])
        if not (classes == np.rint(classes)).all():
            raise _wrong(file, "classes", given["classes"], "(N, M) class indices, -1 where a row of boxes is not used")
    elif alone:
        classes = np.zeros(boxes.shape[:2])
    else:
        raise InvalidInput(f"{file} has boxes {list(boxes.shape)} and no array 'classes'", hint="classes is (N, M)")
    classes = classes.astype(np.int64)
    if "counts" in given:
        counts = _whole_counts(file, given["counts"], boxes.shape[1])
        classes = np.where(np.arange(boxes.shape[1])[None, :] < counts[:, None], classes, _NONE)
    crowd = np.zeros(boxes.shape[:2], bool)
    if "crowd" in given:
        crowd = _per_object(file, "crowd", given["crowd"], boxes.shape[:2]).astype(bool)
    _require_boxes(file, boxes, classes)
    return np.asarray(boxes, np.float64), classes, crowd


def _per_object(file: str, name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    found = array[:, None] if array.ndim == 1 else array
    if found.shape != shape:
        raise _wrong(file, name, array, f"{list(shape)}, one entry for each box")
    return found


def _whole_counts(file: str, counts: NDArray[Any], most: int) -> NDArray[Any]:
    if counts.ndim != 1 or not ((counts >= 0) & (counts <= most) & (counts == np.rint(counts))).all():
        raise _wrong(file, "counts", counts, f"(N,) how many of the {most} boxes of each sample are used")
    return counts


def _require_boxes(file: str, boxes: NDArray[Any], classes: NDArray[np.int64]) -> None:
    """Makes sure that the boxes that are used are boxes, in shares of the image.

    Raises:
        InvalidInput: one is not.
    """
    form = "boxes are ymin, xmin, ymax, xmax as shares of the image's height and width, 0 to 1"
    used = classes >= 0
    finite = np.isfinite(boxes).all(axis=2)
    large = np.abs(boxes).max(axis=2, initial=0.0) > _LARGEST
    upside = (boxes[..., 2:] < boxes[..., :2]).any(axis=2)
    for bad, what in ((~finite, "holds NaN or infinity"), (large, "is not in shares of the image"), (upside, "")):
        places = np.argwhere(used & bad)
        if len(places):
            sample, one = (int(part) for part in places[0])
            said = what or "ends before it begins"
            hint = form if what else f"{form}; COCO's x, y, width, height must be converted"
            raise InvalidInput(
                f"{file}: box {one} of sample {sample}, {boxes[sample, one].tolist()}, {said}", hint=hint
            )


def _keypoints(file: str, array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    if array.ndim != 3 or array.shape[2] not in (2, 3):
        expected = (
            "(N, K, 2): y and x as shares of the image; or (N, K, 3), where the third is above 0 if it is visible"
        )
        raise _wrong(file, "keypoints", array, expected)
    points = np.asarray(array[..., :2], np.float64)
    visible = array[..., 2] > 0 if array.shape[2] == 3 else np.isfinite(points).all(axis=2) & (points != _NONE).any(2)
    if not np.isfinite(points[visible]).all():
        sample = int(np.argwhere(visible & ~np.isfinite(points).all(axis=2))[0][0])
        raise InvalidInput(f"{file}: a visible keypoint of sample {sample} is NaN or infinite")
    if visible.any() and np.abs(points[visible]).max() > _LARGEST:
        worst = float(np.abs(points[visible]).max())
        raise InvalidInput(
            f"{file}: keypoints hold {worst:g}", hint="keypoints are y and x as shares of the image, 0 to 1"
        )
    return np.where(visible[..., None], points, 0.0), np.asarray(visible, bool)

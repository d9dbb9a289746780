"""Boxes, masks, targets and keypoints of samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Samples, load_samples

X = np.zeros((3, 4), np.float32)
BOX = [0.1, 0.2, 0.5, 0.6]
BOXES = np.array([[BOX, [-1.0] * 4], [BOX, BOX], [[-1.0] * 4] * 2])
CLASSES = np.array([[2, -1], [0, 1], [-1, -1]])


def load(folder: Path, **arrays: Any) -> Samples:
    np.savez(folder / "s.npz", x=X, **arrays)
    return load_samples(folder / "s.npz")


def refused(folder: Path, **arrays: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        load(folder, **arrays)
    return f"{caught.value} {caught.value.hint}"


def test_padded_boxes(tmp_path: Path) -> None:
    truth = load(tmp_path, boxes=BOXES, classes=CLASSES, class_names=["a", "b", "c"]).truth
    assert truth.declares == "detection"
    assert truth.classes is not None and truth.classes.tolist() == CLASSES.tolist()
    assert truth.crowd is not None and not truth.crowd.any()


def test_counts_say_which_rows_are_used(tmp_path: Path) -> None:
    classes = np.zeros((3, 2), np.float32)
    truth = load(tmp_path, boxes=BOXES, classes=classes, counts=np.array([1, 2, 0])).truth
    assert truth.classes is not None and truth.classes.tolist() == [[0, -1], [0, 0], [-1, -1]]


def test_one_object_in_each_sample(tmp_path: Path) -> None:
    truth = load(tmp_path, boxes=np.array([BOX] * 3), classes=np.array([0, 1, 2])).truth
    assert truth.boxes is not None and truth.boxes.shape == (3, 1, 4)
    assert truth.classes is not None and truth.classes.shape == (3, 1)


def test_masks_and_targets_are_labels(tmp_path: Path) -> None:
    masks = np.ones((3, 2, 2), np.uint8)
    samples = load(tmp_path, masks=masks)
    assert samples.truth.declares == "segmentation"
    assert samples.labels is not None and samples.labels.tolist() == masks.tolist()
    samples = load(tmp_path, targets=np.array([0.5, 1.5, -3.0]))
    assert samples.truth.declares == "regression"
    assert samples.labels is not None and samples.labels.tolist() == [0.5, 1.5, -3.0]


@pytest.mark.parametrize("hidden", [np.nan, -1.0])
def test_keypoints_that_are_not_there(tmp_path: Path, hidden: float) -> None:
    points = np.full((3, 2, 2), 0.5)
    points[1, 0] = hidden
    truth = load(tmp_path, keypoints=points).truth
    assert truth.declares == "keypoints"
    assert truth.visible is not None and truth.visible.tolist() == [[True, True], [False, True], [True, True]]
    assert truth.keypoints is not None and np.isfinite(truth.keypoints).all()


def test_a_third_number_says_what_is_visible(tmp_path: Path) -> None:
    points = np.array([[[0.5, 0.5, 2.0], [0.1, 0.1, 0.0]]] * 3)
    truth = load(tmp_path, keypoints=points, boxes=np.array([BOX] * 3)).truth
    assert truth.visible is not None and truth.visible[0].tolist() == [True, False]
    assert truth.boxes is not None and truth.declares == "keypoints"


def test_a_keypoint_that_is_hidden_may_be_anything(tmp_path: Path) -> None:
    truth = load(tmp_path, keypoints=np.full((3, 2, 3), np.nan)).truth
    assert truth.visible is not None and not truth.visible.any()


def test_some_of_the_samples(tmp_path: Path) -> None:
    samples = load(tmp_path, boxes=BOXES, classes=CLASSES)
    part = samples.take([2, 0])
    assert part.truth.classes is not None and part.truth.classes.tolist() == [[-1, -1], [2, -1]]
    (first, second) = samples.batches(2)
    assert first.truth.boxes is not None and len(first.truth.boxes) == 2
    assert second.truth.classes is not None and second.truth.classes.tolist() == [[-1, -1]]
    assert second.truth.declares == "detection"


def test_samples_without_truth_declare_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, y=np.arange(3)).truth.declares is None
    assert load(tmp_path).truth.boxes is None


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"boxes": BOXES}, ("boxes [3, 2, 4]", "no array 'classes'", "(N, M)")),
        ({"classes": CLASSES}, ("an array 'classes'", "no array 'boxes'")),
        ({"boxes": BOXES[..., :3], "classes": CLASSES}, ("boxes is float64 [3, 2, 3]", "ymin, xmin, ymax, xmax")),
        ({"boxes": BOXES, "classes": CLASSES[:, :1]}, ("classes is int64 [3, 1]", "[3, 2]")),
        ({"boxes": BOXES, "classes": CLASSES + 0.5}, ("classes is float64", "class indices")),
        ({"boxes": BOXES[:2], "classes": CLASSES[:2]}, ("boxes 2", "x 3")),
        ({"boxes": BOXES * 300, "classes": CLASSES}, ("box 0 of sample 0", "not in shares of the image")),
        ({"boxes": BOXES[..., ::-1], "classes": CLASSES}, ("ends before it begins", "x, y, width, height")),
        ({"boxes": np.where(BOXES == 0.5, np.nan, BOXES), "classes": CLASSES}, ("box 0 of sample 0", "NaN")),
        (
            {"boxes": BOXES, "classes": CLASSES, "counts": np.array([1, 5, 0])},
            ("counts is int64 [3]", "of the 2 boxes"),
        ),
        ({"boxes": BOXES, "classes": CLASSES, "crowd": np.zeros((3, 1))}, ("crowd is float64 [3, 1]", "[3, 2]")),
        ({"masks": np.zeros((3, 2)), "y": np.zeros(3)}, ("both masks and y",)),
        ({"masks": np.zeros((3, 2)), "targets": np.zeros(3)}, ("both masks and targets",)),
        ({"masks": np.array(["a", "b", "c"])}, ("masks is <U1 [3]", "numbers")),
        ({"keypoints": np.zeros((3, 4))}, ("keypoints is float64 [3, 4]", "(N, K, 2)")),
        ({"keypoints": np.full((3, 2, 2), 120.0)}, ("keypoints hold 120", "shares of the image")),
        ({"box": BOXES}, ("has an array 'box'", "did you mean 'boxes'?")),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, arrays: dict[str, Any], words: tuple[str, ...]) -> None:
    said = refused(tmp_path, **arrays)
    assert all(word in said for word in words), said


def test_several_inputs_have_as_many_entries_as_the_boxes(tmp_path: Path) -> None:
    arrays = {"x/image": X, "x/size": X}
    np.savez(tmp_path / "s.npz", boxes=BOXES, classes=CLASSES, **arrays)  # type: ignore[arg-type]
    samples = load_samples(tmp_path / "s.npz")
    assert (set(samples.inputs), samples.truth.declares) == ({"image", "size"}, "detection")
    np.savez(tmp_path / "s.npz", boxes=BOXES[:2], classes=CLASSES[:2], **arrays)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="boxes 2, classes 2, x/image 3"):
        load_samples(tmp_path / "s.npz")

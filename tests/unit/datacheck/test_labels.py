"""How labels fit outputs, and what is reported if they do not."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from windtunnel.datacheck.label_order import label_order
from windtunnel.datacheck.label_scores import ElementSums, ValueSums
from windtunnel.datacheck.labels import Output, read_labels
from windtunnel.errors import InvalidInput

SCORES, FEW = Output("scores", (10,)), Output("few", (3,))
MASK, FIRST, YES = Output("mask", (8, 8, 5)), Output("first", (5, 8, 8)), Output("yes", (8, 8, 1))
RNG = np.random.default_rng(7)
DIGITS = np.arange(20) % 10


@pytest.mark.parametrize(
    ("labels", "outputs", "metric", "output", "codes"),
    [
        (DIGITS, [SCORES], "classes", "scores", []),
        (DIGITS.astype(np.float32), [SCORES], "classes", "scores", []),
        (DIGITS[:, None], [SCORES], "classes", "scores", []),
        (DIGITS, [Output("pooled", (1, 1, 10))], "classes", "pooled", []),
        # Only one of them has so many classes, or may be classes at all.
        (DIGITS, [FEW, SCORES, MASK], "classes", "scores", ["labels.outputs"]),
        (np.arange(60) % 9, [SCORES], "classes", "scores", ["labels.classes"]),
        (np.eye(10)[DIGITS], [SCORES], "classes", "scores", ["labels.one_hot"]),
        (np.full((4, 3), 1 / 3), [FEW], "classes", "few", ["labels.soft"]),
        (np.array([[1, 1, 0], [0, 0, 0]]), [FEW], "elements", "few", ["labels.several"]),
        (DIGITS % 2, [Output("sigmoid", (1,))], "classes", "sigmoid", []),
        (DIGITS, [Output("argmax", (), "int64")], "elements", "argmax", []),
        (DIGITS, [Output("age", (1,))], "values", "age", []),
        (RNG.random((4, 3)) * 5, [FEW], "values", "few", []),
        (RNG.integers(0, 5, (4, 8, 8)), [MASK], "elements", "mask", []),
        (RNG.integers(0, 5, (4, 8, 8, 1)), [FIRST], "elements", "first", []),
        (RNG.integers(0, 2, (4, 8, 8)), [YES], "elements", "yes", []),
        (np.eye(5)[RNG.integers(0, 5, (4, 8, 8))], [MASK], "elements", "mask", ["labels.one_hot"]),
        (np.where(RNG.random((4, 8, 8)) < 0.1, 255, 3), [MASK], "elements", "mask", ["labels.ignored"]),
        (RNG.integers(0, 5, (4, 8, 8)), [Output("open", (-1, -1, 5))], "elements", "open", []),
        (RNG.random((4, 7, 4)), [Output("boxes", (10, 4)), SCORES], None, "", ["labels.unused"]),
        (RNG.integers(0, 9, (4, 8, 8)), [MASK], None, "", ["labels.unused"]),
        (DIGITS, [SCORES, Output("other", (20,))], None, "", ["labels.ambiguous"]),
        (np.array(["cat", "dog"]), [SCORES], None, "", ["labels.unused"]),
    ],
)
def test_the_output_that_labels_belong_to(
    labels: NDArray[Any], outputs: list[Output], metric: str | None, output: str, codes: list[str]
) -> None:
    found = read_labels(labels, outputs)

    assert (found.metric, found.output) == (metric, output)
    assert [one.code for one in found.findings] == codes
    assert bool(found.reason) is (metric in (None, "values"))


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (np.arange(1, 11), "subtract 1"),
        (np.arange(0, 11), "background"),
        (np.array([3, 99]), "numbering"),
        (np.array([-1, 3]), "numbering"),
    ],
)
def test_labels_outside_the_classes_are_an_error_that_says_what_to_do(labels: NDArray[Any], hint: str) -> None:
    with pytest.raises(InvalidInput, match="outside the model's 10 classes") as raised:
        read_labels(labels, [SCORES])
    assert hint in raised.value.hint


def test_masks_are_scored_element_by_element() -> None:
    labels = np.where(RNG.random((3, 8, 8)) < 0.1, 255, RNG.integers(0, 5, (3, 8, 8)))
    reading = read_labels(labels, [MASK])
    sums = ElementSums(reading)
    scores = np.eye(5)[np.where(labels == 255, 0, labels)]
    scores[0, 0] = np.eye(5)[(labels[0, 0] + 1) % 5]
    for sample, one in enumerate(scores):
        sums.add(sample, one)

    counted = labels != 255
    assert sums.result() == pytest.approx(1 - counted[0, 0].sum() / counted.sum())
    assert sums.shares()[1:].tolist() == [1.0, 1.0]
    again = ElementSums(reading)
    again.restore(sums.state())
    assert again.result() == sums.result()


@pytest.mark.parametrize("axis", [0, -1])
def test_the_class_axis_may_be_the_first_or_the_last(axis: int) -> None:
    labels = RNG.integers(0, 5, (2, 8, 8))
    sums = ElementSums(read_labels(labels, [MASK if axis == -1 else FIRST]))
    for sample, one in enumerate(np.eye(5)[labels]):
        sums.add(sample, np.moveaxis(one, -1, axis))
    assert sums.result() == 1.0


@pytest.mark.parametrize(("scores", "share"), [((0.2, 0.8), 1.0), ((-3.0, 2.0), 1.0), ((0.4, 0.45), 0.5)])
def test_one_score_for_each_element_is_a_probability_or_a_logit(scores: tuple[float, float], share: float) -> None:
    labels = np.tile([0, 1], (2, 8, 4))
    sums = ElementSums(read_labels(labels, [YES]))
    for sample, one in enumerate(labels):
        sums.add(sample, np.where(one == 1, scores[1], scores[0])[..., None])
    assert sums.result() == share


def test_an_output_that_is_not_finite_has_no_share() -> None:
    labels = np.zeros((1, 8, 8), np.int64)
    sums = ElementSums(read_labels(labels, [YES]))
    sums.add(0, np.full((8, 8, 1), np.nan))
    assert sums.result() is None


def test_targets_have_errors() -> None:
    sums = ValueSums(read_labels(np.array([1.5, 2.5]), [Output("y", (1,))]))
    for sample, value in enumerate((2.5, 5.5)):
        sums.add(sample, np.array([value]))
    found = sums.result()
    assert found is not None
    assert found.mae == 2.0
    assert found.rmse == pytest.approx(5**0.5)


@pytest.mark.parametrize(
    ("renumbered", "code"),
    [
        (lambda y: np.array([3, 1, 2, 0, 4, 5, 6, 7, 8, 9])[y], "labels.permuted"),
        (lambda y: (y + 1) % 10, "labels.shifted"),
        (lambda y: y, None),
    ],
)
def test_labels_in_another_order(renumbered: Any, code: str | None) -> None:
    predicted = np.arange(400) % 10
    predicted[::11] = 5
    found = label_order(renumbered(np.arange(400) % 10), predicted, 10)
    assert [one.code for one in found] == ([] if code is None else [code])


def test_a_confused_model_is_not_taken_for_permuted_labels() -> None:
    labels = np.arange(400) % 10
    # It never says 7, and often 1 instead.
    predicted = np.where(labels == 7, 1, labels)
    assert label_order(labels, predicted, 10) == []


@pytest.mark.parametrize("shift", [1, -1, 3])
def test_the_fix_of_shifted_labels_restores_the_accuracy(shift: int) -> None:
    truth = np.arange(400) % 10
    labels = (truth - shift) % 10
    (found,) = label_order(labels, truth, 10)
    said = re.match(r"add ([+-]\d+) to every label, modulo 10", found.fix)
    assert said is not None and f"with {said.group(1)} added to every label" in found.message
    assert np.array_equal((labels + int(said.group(1))) % 10, truth)
    assert found.evidence["shift"] == shift


def test_a_background_class_is_added_without_wrapping() -> None:
    truth = 1 + np.arange(300) % 9
    (found,) = label_order(truth - 1, truth, 10)
    assert found.fix.startswith("add +1 to every label;")


def test_the_numbering_of_many_classes_is_listed_in_part() -> None:
    labels = np.repeat(np.arange(2000), 3)
    swapped = labels ^ 1
    (found,) = label_order(labels, swapped, 2000)
    assert len(found.evidence["mapping"]) == 200 and found.evidence["mapping_left_out"] == 1800


def test_answers_at_chance_level_look_permuted_to_nobody() -> None:
    """A numbering that is judged on the samples that it was fitted to is found here 11 times."""
    rng = np.random.default_rng(5)
    found = [label_order(rng.integers(0, 4, 40), rng.integers(0, 4, 40), 4) for _ in range(1200)]
    assert sum(map(bool, found)) <= 4


@pytest.mark.parametrize(
    ("outputs", "labels", "output"),
    [
        # Another size than the labels', which broadcasts or does not.
        (Output("mask", (-1, -1, 3)), (2, 4, 4), (4, 1, 3)),
        (Output("mask", (-1, -1, 3)), (2, 4, 4), (2, 2, 3)),
        (Output("mask", (-1, -1, 4)), (2, 4, 4), (4, 1, 4)),
        (Output("mask", (-1, -1)), (2, 4, 4), (4, 2)),
        (Output("mask", (3, -1, -1)), (2, 4, 4), (3, 4, 2)),
    ],
)
def test_an_output_of_another_size_than_the_labels_is_refused(
    outputs: Output, labels: tuple[int, ...], output: tuple[int, ...]
) -> None:
    sums = ElementSums(read_labels(np.ones(labels, np.int64), [outputs]))
    with pytest.raises(InvalidInput, match=r"labels of sample 1 have the shape \[4, 4\].*has \[") as caught:
        sums.add(1, np.zeros(output))
    assert str(list(output)) in caught.value.message


def test_targets_of_another_size_than_the_output_are_refused() -> None:
    sums = ValueSums(read_labels(np.full((2, 4), 0.5), [Output("y", (-1,))]))
    with pytest.raises(InvalidInput, match="sample 0"):
        sums.add(0, np.zeros(3))


def test_the_spread_of_masks_is_that_of_their_samples() -> None:
    labels = np.zeros((3, 4, 4), np.int64)
    labels[0, 0] = -1
    sums = ElementSums(read_labels(labels, [Output("mask", (4, 4, 3))]))
    for sample, right in enumerate((12, 8, 12)):
        scores = np.zeros((16, 3))
        scores[16 - right :, 0] = 1.0
        scores[: 16 - right, 1] = 1.0
        sums.add(sample, scores.reshape(4, 4, 3))
    share = 32 / 44
    wanted = np.sqrt(((12 - share * 12) ** 2 + (8 - share * 16) ** 2 + (12 - share * 16) ** 2) / 2) / (44 / 3)
    assert sums.result() == share and sums.spread() == pytest.approx(wanted)

"""Scores against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import log_loss, precision_score, recall_score

from windtunnel.datacheck.classifier_scores import ScoreSums, agreement, class_columns, score
from windtunnel.errors import InvalidInput

PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
LABELS = np.array([0, 1, 0, 2])


def test_by_hand() -> None:
    found = score(PROBABILITIES, LABELS)
    assert found is not None
    assert found.top1 == 0.75
    assert found.precision == pytest.approx(2.5 / 3)
    assert found.recall == pytest.approx(2.5 / 3)
    assert found.loss == pytest.approx(-sum(map(math.log, (0.7, 0.8, 0.3, 0.6))) / 4)


def test_like_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    logits, labels = draw.normal(size=(200, 7)), draw.integers(0, 6, 200)
    exponents = np.exp(logits)
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    predicted = logits.argmax(axis=1)
    for outputs in (logits, probabilities):
        found = score(outputs, labels)
        assert found is not None
        assert found.precision == pytest.approx(precision_score(labels, predicted, average="macro", zero_division=0))
        assert found.recall == pytest.approx(recall_score(labels, predicted, average="macro", zero_division=0))
        assert found.loss == pytest.approx(log_loss(labels, probabilities, labels=range(7)))


def test_classes_that_never_occur_do_not_count() -> None:
    found = score(np.eye(10)[[3, 3, 4]], np.array([3, 4, 4]))
    assert found is not None
    assert (found.precision, found.recall) == (0.75, 0.75)


def test_zero_denominators_count_as_zero() -> None:
    found = score(np.eye(3)[[0, 0]], np.array([1, 1]))
    assert found is not None
    assert (found.top1, found.precision, found.recall) == (0, 0, 0)
    assert found.loss == pytest.approx(-math.log(1e-7))


def test_a_known_kind_wins_over_the_looks() -> None:
    rounded = np.array([[0.9, 0.05], [0.2, 0.7]])
    known, guessed = score(rounded, np.array([0, 1]), kind="probabilities"), score(rounded, np.array([0, 1]))
    assert known is not None
    assert guessed is not None
    assert known.loss == pytest.approx(-(math.log(0.9) + math.log(0.7)) / 2)
    assert guessed.loss == pytest.approx((math.log1p(math.exp(-0.85)) + math.log1p(math.exp(-0.5))) / 2)


@pytest.mark.parametrize("labels", [np.array([0, 1]), np.array([[0.0], [1.0]]), np.array([False, True])])
def test_one_column_is_a_sigmoid(labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
    probability, logit = score(np.array([[0.2], [0.9]]), labels), score(np.array([-3.0, 2.0]), labels)
    assert probability is not None
    assert logit is not None
    assert probability.top1 == logit.top1 == 1.0
    assert probability.loss == pytest.approx(-(math.log(0.8) + math.log(0.9)) / 2)
    assert logit.loss == pytest.approx((math.log1p(math.exp(-3)) + math.log1p(math.exp(-2))) / 2)


def test_one_hot_labels() -> None:
    assert score(PROBABILITIES, np.eye(3)[LABELS]) == score(PROBABILITIES, LABELS)


@pytest.mark.parametrize("labels", [None, np.array([0.5, 1.2, 0.1, 3.0]), np.zeros((4, 5)), np.array(list("abcd"))])
def test_no_classification(labels: np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None) -> None:
    assert score(PROBABILITIES, labels) is None
    assert score(np.zeros((4, 8, 8)), LABELS) is None
    assert score(np.zeros((4, 1)), np.array([3, 9, 12, 0])) is None


def test_refusals() -> None:
    with pytest.raises(InvalidInput, match=r"1 of 2 samples .* sample 1"):
        score(np.array([[0.1, 0.9], [np.nan, 1.0]]), np.array([0, 1]))
    with pytest.raises(InvalidInput, match="label 3 is outside the model's 3 classes"):
        score(PROBABILITIES, np.array([0, 1, 3, 2]))
    with pytest.raises(InvalidInput, match="no samples"):
        score(np.zeros((0, 3)), np.zeros(0, np.int64))


def test_sample_by_sample_gives_the_same() -> None:
    sums = ScoreSums()
    for row, label in zip(PROBABILITIES, LABELS, strict=True):
        sums.add(row[None], np.array([label]))
    assert sums.result() == score(PROBABILITIES, LABELS)


def test_agreement() -> None:
    other = PROBABILITIES.copy()
    other[0] = [0.1, 0.8, 0.1]
    assert agreement(PROBABILITIES, other) == 0.75
    other[1, 1] = np.nan
    assert agreement(PROBABILITIES, other) == 0.5
    assert agreement(np.array([[-1.0], [2.0]]), np.array([[-3.0], [-0.1]])) == 0.5
    assert agreement(np.array([[0.4], [0.6]]), np.array([[0.1], [0.7]])) == 1.0
    with pytest.raises(InvalidInput, match="cannot be compared"):
        agreement(np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("shape", "columns"),
    [
        ((1, 10), 10),
        ((-1, 10), 10),
        ((1, 1, 1, 10), 10),
        ((1,), 1),
        ((1, 1), 1),
        ((), 0),
        ((4, 10), 0),
        ((1, 8, 10), 0),
        ((1, 8, 8, 3), 0),
    ],
)
def test_outputs_that_may_hold_classes(shape: tuple[int, ...], columns: int) -> None:
    assert class_columns(shape) == columns

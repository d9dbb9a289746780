"""Metrics of classes, masks, targets and embeddings: cases counted by hand, and scikit-learn on random ones."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as others

from windtunnel.datacheck import output_metrics
from windtunnel.tasks.metrics import classification, embedding, regression, segmentation


def _some(seed: int, classes: int = 6, count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, count)
    # Rounded, so that scores are equal now and then.
    scores = np.round(generator.normal(size=(count, classes)) + 2.0 * np.eye(classes)[labels], 1)
    return labels, scores, scores.argmax(axis=1)


def test_top_k_counts_the_classes_before_the_right_one() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
    places = classification.ranks(scores, np.array([2, 2, 1]))
    assert places.tolist() == [1, 2, 1]
    assert [classification.top_k(places, k) for k in (1, 2, 3)] == [0.0, pytest.approx(2 / 3), 1.0]
    assert classification.top_k(np.zeros(0, np.int64), 1) is None


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_classes_are_those_of_scikit_learn(seed: int) -> None:
    labels, scores, decisions = _some(seed)
    table = classification.confusion(decisions, labels, 6)
    assert table.tolist() == others.confusion_matrix(labels, decisions, labels=range(6)).tolist()
    assert classification.f1_macro(table) == pytest.approx(others.f1_score(labels, decisions, average="macro"))
    assert classification.f1_micro(table) == pytest.approx(others.f1_score(labels, decisions, average="micro"))
    places = classification.ranks(scores, labels)
    assert classification.top_k(places, 1) == output_metrics.top1(decisions, labels)
    untied = scores + 1e-6 * np.arange(6)[::-1]
    assert classification.top_k(places, 3) == pytest.approx(others.top_k_accuracy_score(labels, untied, k=3))


def test_a_class_that_neither_occurs_nor_is_decided_for_does_not_count() -> None:
    table = classification.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 4)
    # Class 0: 1 right, 1 wrong; class 1: 1 right, 1 missed.
    assert classification.f1_macro(table) == pytest.approx(2 / 3)
    assert classification.f1_macro(np.zeros((2, 2), np.int64)) is None


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    positive = generator.random((150, 5)) < 0.2
    scores = np.round(generator.random((150, 5)) + 0.3 * positive, 2)
    expected = others.average_precision_score(positive, scores, average="macro")
    assert classification.mean_average_precision(scores, positive) == pytest.approx(expected)
    positive[:, 2] = False
    assert classification.average_precision(scores[:, 2], positive[:, 2]) is None
    kept = [0, 1, 3, 4]
    expected = others.average_precision_score(positive[:, kept], scores[:, kept], average="macro")
    assert classification.mean_average_precision(scores, positive) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_iou_of_masks_is_the_jaccard_score(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth, decided = generator.integers(0, 4, (3, 8, 8)), generator.integers(0, 4, (3, 8, 8))
    ignored = generator.random(truth.shape) < 0.1
    marked = np.where(ignored, -1, truth)
    counts = np.sum([segmentation.class_counts(*one, 5) for one in zip(decided, marked, strict=True)], axis=0)
    kept = ~ignored
    expected = others.jaccard_score(truth[kept], decided[kept], average="macro")
    # The fifth class neither occurs nor is decided for.
    assert segmentation.mean_iou(counts) == pytest.approx(expected)
    assert segmentation.pixel_accuracy(counts) == pytest.approx((truth == decided)[kept].mean())
    assert segmentation.mean_iou(np.zeros((2, 3), np.int64)) is None
    assert segmentation.pixel_accuracy(np.zeros((2, 3), np.int64)) is None


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_metrics_of_targets_are_those_of_scikit_learn(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(1)
    targets, outputs = generator.normal(size=shape), generator.normal(size=shape)
    assert regression.mean_absolute_error(outputs, targets) == pytest.approx(
        others.mean_absolute_error(targets, outputs)
    )
    expected = others.root_mean_squared_error(targets.reshape(-1), outputs.reshape(-1))
    assert regression.root_mean_square_error(outputs, targets) == pytest.approx(expected)
    assert regression.determination(outputs, targets) == pytest.approx(others.r2_score(targets, outputs))


def test_r2_of_a_constant_target() -> None:
    targets = np.ones((4, 1))
    assert regression.determination(targets, targets) == 1.0
    assert regression.determination(targets + 1.0, targets) == 0.0
    assert regression.determination(targets[:1], targets[:1]) is None
    assert regression.mean_absolute_error(np.zeros(0), np.zeros(0)) is None


def test_neighbors_of_embeddings() -> None:
    vectors = np.array([[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 3.0], [0.0, 0.0]])
    near = embedding.neighbors(vectors, 1)
    assert near[:4, 0].tolist() == [1, 0, 3, 2]
    assert embedding.recall_at_k(near, np.array([0, 0, 1, 1, 2])) == 1.0
    assert embedding.recall_at_k(near, np.array([0, 1, 0, 1, 2])) == 0.0
    assert embedding.recall_at_k(near, np.arange(5)) is None
    turned = embedding.neighbors(vectors[:, ::-1] * 3.0, 1)
    assert embedding.neighbors_kept(near, turned) == 1.0
    other = embedding.neighbors(vectors[[0, 2, 1, 3, 4]], 1)
    assert embedding.neighbors_kept(near[:4], other[:4]) == 0.0
    assert embedding.neighbors_kept(*[embedding.neighbors(vectors[:1], 3)] * 2) is None


@pytest.mark.heavy
def test_neighbors_in_blocks_are_those_of_scikit_learn() -> None:
    from sklearn.neighbors import NearestNeighbors

    vectors = np.random.default_rng(0).normal(size=(1500, 4))
    expected = NearestNeighbors(n_neighbors=4, metric="cosine").fit(vectors).kneighbors(return_distance=False)
    assert embedding.neighbors(vectors, 4).tolist() == expected.tolist()

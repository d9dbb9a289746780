"""Metrics of embeddings: who is next to whom."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_BLOCK: Final = 1024


def neighbors(vectors: NDArray[Any], k: int) -> NDArray[np.int64]:
    """The k other samples with the largest cosine similarity, the nearest first.

    A vector of zeros has the similarity 0 with every other. Of equally near samples the first comes first.

    Args:
        vectors: (N, D).
        k: how many; at most N - 1 are given.

    Returns:
        (N, min(k, N - 1)) indices of samples.
    """
    rows = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0.0)
    most = min(k, len(rows) - 1)
    found = np.empty((len(rows), max(most, 0)), np.int64)
    for start in range(0, len(rows), _BLOCK):
        near = units[start : start + _BLOCK] @ units.T
        # A sample is not its own neighbor.
        near[np.arange(len(near)), start + np.arange(len(near))] = -np.inf
        found[start : start + len(near)] = np.argsort(-near, axis=1, kind="stable")[:, :most]
    return found


def recall_at_k(near: NDArray[np.int64], labels: NDArray[Any]) -> float | None:
    """(samples with one of their label among the k nearest others) / (samples that have another of their label).

    Args:
        near: of `neighbors`.
        labels: (N,) which samples belong together.

    Returns:
        A share of samples, 0 to 1; None if no two samples have the same label.
    """
    _, groups, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    has_other = sizes[groups] > 1
    hit = (labels[near] == labels[:, None]).any(axis=1)
    return float(hit[has_other].mean()) if has_other.any() else None


def neighbors_kept(reference: NDArray[np.int64], candidate: NDArray[np.int64]) -> float | None:
    """mean over samples of (neighbors that both models name) / k.

    Args:
        reference: of `neighbors`.
        candidate: of `neighbors`, of the same samples and k.

    Returns:
        0 to 1; None for fewer than two samples.
    """
    if not reference.size:
        return None
    shared = (reference[:, :, None] == candidate[:, None, :]).any(axis=2)
    return float(shared.mean())

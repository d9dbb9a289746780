"""Scorers of outputs that are vectors: embeddings, targets of a regression, keypoints."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.label_scores import require_fit
from windtunnel.datacheck.labels import Output, Reading
from windtunnel.errors import InvalidInput
from windtunnel.pipeline.ground_truth import GroundTruth
from windtunnel.task_names import TaskSpec
from windtunnel.tasks.metrics import embedding, keypoints, regression
from windtunnel.tasks.scorers.scorer import Outputs, Rows, Scored


class EmbeddingScorer:
    """A row is the vector.

    Args:
        spec: of the task.
        output: name of the output.
        labels: (N,) which samples belong together; None: only `neighbors_kept` is known.
    """

    main = "recall_at_k"

    def __init__(self, spec: TaskSpec, output: str, labels: NDArray[Any] | None) -> None:
        if labels is not None and labels.ndim != 1:
            raise InvalidInput(
                f"y is {labels.dtype} {list(labels.shape)}",
                hint="of embeddings y is (N,): which samples belong together",
            )
        self._k, self._output, self._labels = spec.k, output, labels

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """As `Scorer.read`.

        Args:
            sample: its number.
            outputs: of the model.

        Returns:
            As the class says.
        """
        return np.asarray(outputs[self._output], np.float64).reshape(-1)

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """As `Scorer.figures`.

        Args:
            rows: of the model.
            reference: of the reference.

        Returns:
            The figures.
        """
        near = embedding.neighbors(np.stack(rows), self._k)
        labels = None if self._labels is None else self._labels[: len(rows)]
        recall = None if labels is None else embedding.recall_at_k(near, labels)
        same = embedding.neighbors(np.stack(reference), self._k) if rows is not reference else near
        return Scored({"recall_at_k": recall, "neighbors_kept": embedding.neighbors_kept(same, near)})


class TargetScorer:
    """A row is the output as one vector.

    Args:
        reading: of the targets.
    """

    main = "mae"

    def __init__(self, reading: Reading) -> None:
        assert reading.labels is not None
        self._output, self._targets = reading.output, reading.labels

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """As `Scorer.read`.

        Args:
            sample: its number.
            outputs: of the model.

        Returns:
            As the class says.
        """
        value = np.asarray(outputs[self._output], np.float64)
        require_fit(value.shape, np.shape(self._targets[sample]), None, sample)
        return value.reshape(-1)

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """As `Scorer.figures`.

        Args:
            rows: of the model.
            reference: not used.

        Returns:
            The figures.
        """
        outputs = np.stack(rows)
        targets = np.asarray(self._targets[: len(rows)], np.float64).reshape(outputs.shape)
        return Scored(
            {
                "mae": regression.mean_absolute_error(outputs, targets),
                "rmse": regression.root_mean_square_error(outputs, targets),
                "r2": regression.determination(outputs, targets),
            }
        )


class KeypointScorer:
    """A row is (K, 2): y and x of every keypoint.

    Args:
        spec: of the task.
        output: name of the output.
        truth: the keypoints of the samples.
    """

    main = "pck"

    def __init__(self, spec: TaskSpec, output: str, truth: GroundTruth) -> None:
        assert truth.keypoints is not None and truth.visible is not None
        self._alpha, self._output = spec.alpha, output
        self._points, self._visible = truth.keypoints, truth.visible
        sizes = keypoints.extents(self._points, self._visible)
        if truth.boxes is not None:
            sizes = truth.boxes[:, 0, 2:] - truth.boxes[:, 0, :2]
        self._sizes = sizes

    def read(self, sample: int, outputs: Outputs) -> NDArray[np.float64]:
        """As `Scorer.read`.

        Args:
            sample: its number.
            outputs: of the model.

        Returns:
            As the class says.

        Raises:
            InvalidInput: the output does not hold as many keypoints.
        """
        value, count = np.asarray(outputs[self._output], np.float64), self._points.shape[1]
        width = value.size // count if count and value.size % count == 0 else 0
        if width not in (2, 3):
            raise InvalidInput(
                f"sample {sample} has {count} keypoints, and the model's output for it is {list(value.shape)}",
                hint=f"keypoints fit an output of [{count}, 2] (y, x) or [{count}, 3] (y, x, score)",
            )
        return value.reshape(count, width)[:, :2]

    def figures(self, rows: Rows, reference: Rows) -> Scored:
        """As `Scorer.figures`.

        Args:
            rows: of the model.
            reference: not used.

        Returns:
            The figures.
        """
        found, count = np.stack(rows), len(rows)
        points, visible, sizes = self._points[:count], self._visible[:count], self._sizes[:count]
        sigmas = keypoints.COCO_SIGMAS if points.shape[1] == 17 else np.full(points.shape[1], keypoints.SIGMA)
        return Scored(
            {
                "pck": keypoints.correct_keypoints(found, points, visible, sizes, self._alpha),
                "oks": keypoints.keypoint_similarity(found, points, visible, sizes, sigmas),
            }
        )


def fits_keypoints(output: Output, count: int) -> bool:
    """Whether an output may hold the keypoints.

    Args:
        output: of one sample.
        count: of the keypoints.

    Returns:
        True for (K, 2), (K, 3) and these as one row, with axes of size 1 anywhere.
    """
    shape = [size for size in output.shape if size != 1]
    return shape in ([count, 2], [count, 3], [count * 2], [count * 3])

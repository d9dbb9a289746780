"""Scoring samples under another pipeline, with a .tflite model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.datacheck.check import Given
from windtunnel.datacheck.classifier_scores import OutputKind, ScoreSums
from windtunnel.datacheck.label_scores import ElementSums
from windtunnel.datacheck.labels import Reading
from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.tflite import Runner


@dataclass(frozen=True, slots=True)
class ModelJudge:
    """Scores samples under another pipeline. Native code: only in a child process.

    `kind`: what the scores of classes are, by all samples as they are; None: by each set of samples.
    """

    runner: Runner
    given: Given
    kind: OutputKind | None

    def __call__(self, pipeline: Mapping[str, Any], indices: NDArray[np.int64]) -> NDArray[np.float64]:
        """Scores samples under another pipeline.

        Args:
            pipeline: content of a pipeline.json.
            indices: of the samples.

        Returns:
            The score of each of them, in [0, 1].

        Raises:
            InvalidInput: the samples do not fit the model after this pipeline.
            Unsupported: the runtime cannot run it.
        """
        reading: Reading = self.given.reading
        assert reading.labels is not None
        labels = reading.labels[indices]
        part = replace(reading, labels=labels)
        elements = ElementSums(part)
        rows = []
        feed = SampledFeed(self.given.samples.take(indices), Pipeline.parse(pipeline), self.given.specs)
        for index, sample in enumerate(feed):
            value = self.runner.run(sample, dequantized=True)[reading.output]
            if reading.metric == "elements":
                elements.add(index, value[0] if value.ndim else value)
            else:
                rows.append(np.asarray(value, np.float64).reshape(-1))
        if reading.metric == "elements":
            return elements.shares()
        return np.asarray(decisions(np.stack(rows), self.kind) == labels, np.float64)


def decisions(rows: NDArray[np.float64], kind: OutputKind | None) -> NDArray[np.int64]:
    """The class of each row.

    Args:
        rows: (N, C) scores.
        kind: of the scores; it matters for one column only.

    Returns:
        (N,) class indices.

    Raises:
        InvalidInput: a row is not finite.
    """
    sums = ScoreSums()
    sums.add(rows, None)
    if sums.non_finite:
        raise InvalidInput(f"the outputs of {len(sums.non_finite)} samples hold NaN or infinity")
    return sums.decisions(kind)

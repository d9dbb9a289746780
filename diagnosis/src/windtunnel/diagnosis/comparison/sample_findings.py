"""What the reference's answers say of samples, labels and preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from windtunnel.datacheck.check import Given, data_findings
from windtunnel.datacheck.findings import Finding
from windtunnel.datacheck.model_judge import ModelJudge
from windtunnel.diagnosis.execution.output_sums import OutputSums
from windtunnel.pipeline import Feed
from windtunnel.pipeline.feed import SampledFeed
from windtunnel.tflite import Runner, input_specs


def look_at_data(
    reference: Path, feed: Feed, pipeline: Mapping[str, Any] | None, outputs: OutputSums, count: int
) -> tuple[Finding, ...]:
    """Findings on samples, from the reference's answers.

    Args:
        reference: the .tflite file.
        feed: of the models.
        pipeline: content of a pipeline.json; None: samples as they are.
        outputs: sums over the outputs, which know the labels.
        count: of samples that are looked at.

    Returns:
        Empty for random inputs.
    """
    if not isinstance(feed, SampledFeed):
        return ()
    runner = Runner(reference)
    given = feed.samples.take(np.arange(count))
    right, predicted, kind = outputs.answers()
    reading = outputs.reading
    if reading.labels is not None:
        reading = replace(reading, labels=reading.labels[:count])
    specs = tuple(input_specs(runner.facts))
    found = Given(runner.facts, specs, given, pipeline, reading, right, predicted, outputs.columns)
    return data_findings(found, None if right is None else ModelJudge(runner, found, kind))

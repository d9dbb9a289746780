"""Detections of a model that gives raw heads, by the `postprocess` of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from windtunnel.errors import InvalidInput
from windtunnel.pipeline import Pipeline
from windtunnel.pipeline.postprocess.ssd import UNUSED, SsdPostprocess
from windtunnel.tasks.metrics.detection import Found
from windtunnel.tasks.scorers.scorer import Outputs
from windtunnel.tflite.facts import ModelFacts


def postprocess_of(pipeline: Mapping[str, Any] | None) -> SsdPostprocess | None:
    """What a pipeline says of the outputs of a detector.

    Args:
        pipeline: content of a pipeline.json; None: there is none.

    Returns:
        None: nothing.
    """
    return None if pipeline is None else Pipeline.parse(pipeline).postprocess


def decoder(postprocess: SsdPostprocess, model: ModelFacts) -> Callable[[Outputs], Found]:
    """Reads the detections of raw heads.

    Args:
        postprocess: names the heads by the names that their author gave, or by their tensors.
        model: facts of the model whose tensor names outputs have.

    Returns:
        A function from the outputs of one sample to its detections; of heads that are not finite, one box of NaN.

    Raises:
        InvalidInput: the model does not have the heads.
    """
    names = {tensor.name: tensor.name for tensor in model.outputs}
    names |= {called: tensor.name for tensor in model.outputs if (called := model.output_name(tensor))}
    for field, name in (("boxes", postprocess.boxes), ("scores", postprocess.scores)):
        if name not in names:
            raise InvalidInput(
                f"postprocess: field {field!r} names the output {name!r}, which the model does not have",
                hint=f"its outputs are {', '.join(sorted(names))}",
            )
    heads = {name: names[name] for name in (postprocess.boxes, postprocess.scores)}

    def read(outputs: Outputs) -> Found:
        arrays = {name: np.asarray(outputs[tensor])[None] for name, tensor in heads.items()}
        if not all(np.isfinite(array).all() for array in arrays.values()):
            return Found(np.full((1, 4), np.nan), np.zeros(1), np.full(1, np.nan))
        found = postprocess.apply(arrays)
        used = found.classes[0] != UNUSED
        return Found(found.boxes[0][used], found.classes[0][used], found.scores[0][used])

    return read

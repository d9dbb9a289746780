"""Which outputs of a model are its detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput
from windtunnel.tasks.metrics.detection import Found
from windtunnel.tflite.facts import ModelFacts, OpFacts

OP: Final = "TFLite_Detection_PostProcess"
# What outputs are called that hold boxes, classes, scores and how many there are; the first that fits counts.
_CALLED: Final = {
    "boxes": ("boxes", "bboxes", "box"),
    "classes": ("classes", "class", "labels"),
    "scores": ("scores", "score"),
    "count": ("num_detections", "num", "count", "valid_detections"),
}


def detection_op(facts: ModelFacts) -> OpFacts | None:
    """The op of the main graph whose results are outputs of the model as they are.

    Args:
        facts: of the model.

    Returns:
        None: there is none.
    """
    outputs = set(facts.main.output_indices)
    ops = (op for op in facts.ops if op.name == OP and len(op.outputs) == 4 and len(op.inputs) >= 2)
    return next((op for op in ops if outputs.issuperset(op.outputs)), None)


@dataclass(frozen=True, slots=True)
class DetectionOutputs:
    """Names of the tensors that hold the detections; `count` None: every slot with a score above 0 is filled."""

    boxes: str
    classes: str
    scores: str
    count: str | None = None

    def read(self, outputs: Mapping[str, NDArray[Any]]) -> Found:
        """The detections of one sample.

        Args:
            outputs: by tensor name.

        Returns:
            Those of filled slots.

        Raises:
            InvalidInput: there are not as many boxes as classes and scores.
        """
        scores = np.asarray(outputs[self.scores], np.float64).reshape(-1)
        boxes = np.asarray(outputs[self.boxes], np.float64).reshape(-1, 4)
        classes = np.asarray(outputs[self.classes], np.float64).reshape(-1)
        if not len(scores) == len(boxes) == len(classes):
            raise InvalidInput(
                f"the detections have {len(boxes)} boxes, {len(classes)} classes and {len(scores)} scores",
                hint="each has one entry for each detection",
            )
        if self.count is None:
            filled = (scores > 0.0) & (classes >= 0.0) | ~np.isfinite(scores)
        else:
            count = float(np.nan_to_num(np.asarray(outputs[self.count]).reshape(-1)[0]))
            filled = np.arange(len(scores)) < round(count)
        return Found(boxes[filled], classes[filled], scores[filled])


def detection_outputs(facts: ModelFacts) -> DetectionOutputs | None:
    """Finds the detections among the outputs: those of the post-processing op of SSD, or outputs called so.

    Args:
        facts: of the model.

    Returns:
        None: no outputs are detections.
    """
    op = detection_op(facts)
    if op is not None:
        boxes, classes, scores, count = (facts.tensors[index].name for index in op.outputs)
        return DetectionOutputs(boxes, classes, scores, count)
    names = {tensor.name: (facts.output_name(tensor) or tensor.name).lower() for tensor in facts.outputs}
    found = {part: _called(names, words) for part, words in _CALLED.items()}
    if found["boxes"] is None or found["classes"] is None or found["scores"] is None:
        return None
    return DetectionOutputs(found["boxes"], found["classes"], found["scores"], found["count"])


def _called(names: Mapping[str, str], words: tuple[str, ...]) -> str | None:
    """The tensor whose name says one of the words; None: none or several do."""
    for word in words:
        fitting = [tensor for tensor, name in names.items() if _says(name, word)]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _says(name: str, word: str) -> bool:
    parts = "".join(letter if letter.isalnum() else " " for letter in name).split()
    return " ".join(word.split("_")) in " ".join(parts)

"""Detections of TFLite_Detection_PostProcess: only slots that the op fills count, and their order does not.

The op fills as many slots as its fourth output says; the rest is memory that nobody wrote. Detections of nearly equal
score change places by rounding, and one at the score threshold comes or goes. So detections are compared in pairs of
one class and one place. One without a partner is compared with the least score that the other model could give it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from windtunnel.diagnosis.graph.custom_options import custom_options
from windtunnel.diagnosis.thresholds.execution_thresholds import SAME_BOX_OVERLAP
from windtunnel.tasks.detection_outputs import detection_op
from windtunnel.tflite import ModelFacts, OpFacts

WHY: Final = "detections are compared as outputs: in pairs of one class and one place, filled slots only"
Array = NDArray[Any]
Outputs = Mapping[str, Array]


def made_by_detection(facts: ModelFacts) -> frozenset[int]:
    """The tensors that such an op makes.

    Args:
        facts: of the model.

    Returns:
        Tensor indices; empty without such an op.
    """
    op = detection_op(facts)
    return frozenset() if op is None else frozenset(op.outputs)


@dataclass(frozen=True, slots=True)
class Found:
    """The filled slots of one run: boxes (n, 4), classes (n,), scores (n,); `least` is the score that one needs."""

    boxes: Array
    classes: Array
    scores: Array
    least: float


class Slots:
    """Reads the outputs of one model that has such an op.

    Args:
        facts: of the model.
        op: its detection op.
    """

    def __init__(self, facts: ModelFacts, op: OpFacts) -> None:
        self.names = tuple(facts.tensors[index].name for index in op.outputs)
        self.threshold = _score_threshold(op)

    def read(self, outputs: Outputs, threshold: float) -> Found:
        """The detections of one run.

        Args:
            outputs: by tensor name.
            threshold: the least score that counts.

        Returns:
            Boxes, classes and scores.
        """
        boxes, classes, scores, _ = (outputs[name] for name in self.names)
        filled = self._filled(outputs)
        row = scores.reshape(-1)[:filled]
        # Where all slots are filled, a detection may be left out for a better one.
        least = float(row.min()) if filled == scores.size and filled else threshold
        return Found(boxes.reshape(-1, 4)[:filled], classes.reshape(-1)[:filled], row, max(least, threshold))

    def without_unset(self, outputs: Outputs) -> dict[str, Array]:
        """The outputs with 0 in the slots that the op did not fill.

        Args:
            outputs: by tensor name.

        Returns:
            By tensor name.
        """
        filled, made = self._filled(outputs), dict(outputs)
        for name in self.names[:3]:
            made[name] = np.array(outputs[name])
            made[name][:, filled:] = 0
        return made

    def _filled(self, outputs: Outputs) -> int:
        count = float(np.nan_to_num(outputs[self.names[3]].reshape(-1)[0]))
        return int(np.clip(round(count), 0, outputs[self.names[2]].size))


class Detections:
    """Brings the detections of two models into one order.

    Args:
        reference: facts of the model.
        candidate: facts of the model.
        same: names of the candidate's outputs by those of the reference.
    """

    def __init__(self, reference: ModelFacts, candidate: ModelFacts, same: Mapping[str, str]) -> None:
        ops = detection_op(reference), detection_op(candidate)
        self._sides: tuple[Slots, Slots] | None = None
        if ops[0] is not None and ops[1] is not None:
            sides = Slots(reference, ops[0]), Slots(candidate, ops[1])
            paired = [same.get(name) for name in sides[0].names] == list(sides[1].names)
            self._sides = sides if paired else None

    def aligned(self, reference: Outputs, candidate: Outputs) -> tuple[Outputs, Outputs]:
        """The outputs of one run with detections in pairs.

        Args:
            reference: outputs by tensor name.
            candidate: outputs by tensor name.

        Returns:
            Both; as they are for models without such an op.
        """
        if self._sides is None:
            return reference, candidate
        # A model with a higher threshold than the other loses detections by it.
        threshold = min(side.threshold for side in self._sides)
        reference_slots, candidate_slots = (
            side.read(one, threshold) for side, one in zip(self._sides, (reference, candidate), strict=True)
        )
        found = _paired(reference_slots, candidate_slots)
        # Both hold as many detections as there are pairs: one more or less shows in the scores.
        return tuple(  # type: ignore[return-value]
            {**outputs, **dict(zip(side.names, (*arrays, np.zeros(1)), strict=True))}
            for outputs, side, arrays in zip((reference, candidate), self._sides, found, strict=True)
        )


def _paired(
    reference_slots: Found, candidate_slots: Found
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Boxes, classes and scores of both sides, pair by pair; then a score of 0, from which scores are counted."""
    partners = _partners(reference_slots, candidate_slots)
    lost = [place for place in range(len(reference_slots.scores)) if place not in partners]
    new = [place for place in range(len(candidate_slots.scores)) if place not in partners.values()]
    first, second = list(partners), list(partners.values())
    alone = np.full(len(lost), candidate_slots.least), np.full(len(new), reference_slots.least)
    scores = (
        np.concatenate(
            [
                reference_slots.scores[first],
                reference_slots.scores[lost],
                np.minimum(alone[1], candidate_slots.scores[new]),
                [0.0],
            ]
        ),
        np.concatenate(
            [
                candidate_slots.scores[second],
                np.minimum(alone[0], reference_slots.scores[lost]),
                candidate_slots.scores[new],
                [0.0],
            ]
        ),
    )
    return (reference_slots.boxes[first], reference_slots.classes[first], scores[0]), (
        candidate_slots.boxes[second],
        candidate_slots.classes[second],
        scores[1],
    )


def _partners(reference_slots: Found, candidate_slots: Found) -> dict[int, int]:
    """The candidate's detection for each of the reference's that has one: of its class, the one that overlaps most."""
    found: dict[int, int] = {}
    overlaps = _overlaps(reference_slots.boxes, candidate_slots.boxes) * (
        reference_slots.classes[:, None] == candidate_slots.classes[None, :]
    )
    for place in np.argsort(-overlaps, axis=None, kind="stable"):
        first, second = divmod(int(place), len(candidate_slots.scores))
        if not overlaps[first, second] >= SAME_BOX_OVERLAP:
            break
        if first not in found and second not in found.values():
            found[first] = second
    return found


def _overlaps(reference_boxes: Array, candidate_boxes: Array) -> Array:
    """Shared by covered area of each pair of boxes (top, left, bottom, right): (n, m)."""
    shared = np.minimum(reference_boxes[:, None, 2:], candidate_boxes[None, :, 2:]) - np.maximum(
        reference_boxes[:, None, :2], candidate_boxes[None, :, :2]
    )
    both = np.prod(np.maximum(shared, 0.0), axis=-1)
    areas = [np.prod(np.maximum(one[:, 2:] - one[:, :2], 0.0), axis=-1) for one in (reference_boxes, candidate_boxes)]
    covered = areas[0][:, None] + areas[1][None, :] - both
    shares: Array = np.divide(both, covered, out=np.zeros(both.shape), where=covered > 0.0)
    return shares


def _score_threshold(op: OpFacts) -> float:
    """The least score of a detection, from the op's options; 0 where they cannot be read."""
    try:
        return max(0.0, float(custom_options(op)["nms_score_threshold"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0.0

"""A small detector that ends in TFLite_Detection_PostProcess."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flatbuffers import flexbuffers

from support.layers import Layers, random_weights
from windtunnel.tasks.detection_outputs import OP

SLOTS, ANCHORS, CLASSES = 6, 16, 3
NAMES = [OP, f"{OP}:1", f"{OP}:2", f"{OP}:3"]
ANCHOR = np.array([[(y + 0.5) / 4, (x + 0.5) / 4, 0.25, 0.25] for y in range(4) for x in range(4)], np.float32)


def _settings(threshold: float) -> bytes:
    made = flexbuffers.Builder()
    with made.Map():
        for name, number in (("max_detections", SLOTS), ("max_classes_per_detection", 1), ("num_classes", CLASSES)):
            made.Key(name)
            made.Int(number)
        for name, value in (("nms_score_threshold", threshold), ("nms_iou_threshold", 0.5)):
            made.Key(name)
            made.Float(value)
        for name in ("y_scale", "x_scale", "h_scale", "w_scale"):
            made.Key(name)
            made.Float(5.0)
    return bytes(made.Finish())


def detector(path: Path, *, scores: int = 2, threshold: float = 0.8) -> Path:
    """Boxes and scores of a dense layer each; `scores` is the seed of the latter's weights."""
    net = Layers()
    source = net.tensor("input", (1, 12))
    boxes = net.fully_connected("raw_boxes", source, random_weights((4 * ANCHORS, 12), seed=1, scale=0.05), None, 1)
    boxes = net.reshape("boxes", boxes, (1, ANCHORS, 4))
    width = CLASSES * ANCHORS
    likely = net.fully_connected("logits", source, random_weights((width, 12), seed=scores), None, 1)
    likely = net.layer(
        "LOGISTIC", "likely", [net.reshape("rows", likely, (1, ANCHORS, CLASSES))], (1, ANCHORS, CLASSES)
    )
    shapes = ((1, SLOTS, 4), (1, SLOTS), (1, SLOTS), (1,))
    made = [net.tensor(name, shape) for name, shape in zip(NAMES, shapes, strict=True)]
    net.op(OP, [boxes, likely, net.constant("anchors", ANCHOR)], made, _settings(threshold))
    return net.write(path, [source], made)

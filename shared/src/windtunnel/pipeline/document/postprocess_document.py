"""What follows a detector, as a pydantic model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from windtunnel.documents import Document
from windtunnel.documents.field_types import AsList, must_be
from windtunnel.pipeline.document.field_types import Positive, Share, Word

MOST_DETECTIONS = 10_000


class SsdDocument(Document):
    """Decodes boxes against anchors; threshold; greedy NMS within each class; the best `max` by score."""

    called: ClassVar[str] = "a postprocessing"
    camel_case: ClassVar[bool] = False
    missing_is_null: ClassVar[bool] = False

    kind: Literal["ssd"]
    boxes: Word = Field(description="output (N, anchors, 4): ty, tx, th, tw")
    scores: Word = Field(description="output (N, anchors, classes)")
    anchors: Word = Field(
        description="a .npy file (anchors, 4): center y, center x, height, width in 0..1; its path is relative to the "
        "pipeline.json; in a run an artifact, sha256:<hex>"
    )
    scales: Annotated[
        list[Positive], Field(min_length=4, max_length=4), AsList, must_be("4 numbers above 0: for ty, tx, th, tw")
    ] = Field([10, 10, 5, 5])
    score: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    threshold: Share = 0.5
    iou: Share = 0.5
    max: Annotated[int, Field(ge=1, le=MOST_DETECTIONS), must_be(f"a whole number from 1 to {MOST_DETECTIONS}")] = 10

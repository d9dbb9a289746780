"""Frames in which an app fed a batch, as frames of one sample each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from windtunnel.diagnosis.recording.edge_log import LoggedFrame, LoggedTensor, Role

_OF_MODEL: Final = (Role.INPUT, Role.OUTPUT, Role.LAYER)
# Dimensions of detections with a batch: boxes (batch, count, 4), classes and scores (batch, count).
_RANKS: Final = {"boxes": 3, "classes": 2, "scores": 2}


def split_batches(frame: LoggedFrame) -> Iterator[LoggedFrame]:
    """The samples of a frame, each without a batch.

    A raw image of four dimensions, or raw audio of two, is a batch; inputs and outputs then begin with the same size.
    Without a raw batch, a first dimension of 1 is the batch that runtimes ask for, and is dropped.

    Args:
        frame: as recorded.

    Yields:
        One frame for each sample. Times, memory, label and values belong to all of a batch; the first has them.
    """
    size = _batch(frame)
    boxes = next((one.shape for one in frame.tensors if one.role == Role.POSTPROCESSED and one.name == "boxes"), ())
    batched = len(boxes) == _RANKS["boxes"]
    for index in range(size):
        tensors = tuple(_sample(one, index, size, batched_boxes=batched) for one in frame.tensors)
        if index == 0:
            yield replace(frame, tensors=tensors, label=frame.label if size == 1 else None)
        else:
            yield replace(
                frame, tensors=tensors, times=(), memory_bytes=None, values={}, label=None, frames_lost=0, left_out=()
            )


def _batch(frame: LoggedFrame) -> int:
    """How many samples a frame has."""
    sizes = {_raw_batch(one) for one in frame.tensors if one.role == Role.RAW}
    if len(sizes) != 1 or (size := sizes.pop()) is None or size < 1:
        return 1
    fed = [one for one in frame.tensors if one.role in (Role.INPUT, Role.OUTPUT)]
    return size if all(one.shape[:1] == (size,) for one in fed) else 1


def _raw_batch(tensor: LoggedTensor) -> int | None:
    """The batch of a raw sample; None: it has none."""
    rank = {"uint8": 4, "float32": 2, "float64": 2}.get(tensor.dtype)
    return tensor.shape[0] if len(tensor.shape) == rank else None


def _sample(tensor: LoggedTensor, index: int, size: int, *, batched_boxes: bool) -> LoggedTensor:
    if not _has_batch(tensor, size, batched_boxes=batched_boxes):
        return tensor
    values = None if tensor.values is None else tensor.values[index]
    # Statistics are those of the whole batch.
    statistics = tensor.statistics if size == 1 else None
    return replace(tensor, values=values, statistics=statistics, shape=tensor.shape[1:])


def _has_batch(tensor: LoggedTensor, size: int, *, batched_boxes: bool) -> bool:
    if tensor.role == Role.RAW:
        return _raw_batch(tensor) == size
    if tensor.role == Role.POSTPROCESSED:
        return batched_boxes and len(tensor.shape) == _RANKS.get(tensor.name) and tensor.shape[0] == size
    return tensor.role in _OF_MODEL and len(tensor.shape) >= 2 and tensor.shape[0] == size

"""The usual ways to prepare images and signals, as pipelines that may be tried on given samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.datacheck.ranges import ValueRange
from windtunnel.pipeline.read_pipeline import SCHEMA

# Per channel, red first: of pixels in 0 to 1 (torchvision's models); and means of pixels in 0 to 255 (Caffe's, Keras's
# ResNet50 and VGG).
_TORCH_MEAN, _TORCH_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN_BGR: Final = (103.939, 116.779, 123.68)
_BYTE: Final = 255.0
# Steps that candidates replace.
_REPLACED: Final = frozenset({"normalize", "channel_order", "cast"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """Steps that may be the right end of a pipeline; `what` says in words what the model then gets."""

    what: str
    steps: tuple[Mapping[str, Any], ...]

    def pipeline(self, before: Sequence[Mapping[str, Any]], task: str | None = None) -> dict[str, Any]:
        """The whole pipeline, as the content of a pipeline.json.

        Args:
            before: the steps that run first.
            task: of the model; None: not stated.

        Returns:
            A JSON object.
        """
        head = {"schema": SCHEMA} if task is None else {"schema": SCHEMA, "task": task}
        return {**head, "steps": [dict(step) for step in (*before, *self.steps)]}


def kept_steps(pipeline: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """The steps of a pipeline that change neither values nor channel order: candidates follow them.

    Args:
        pipeline: content of a pipeline.json; None: no steps.

    Returns:
        The steps, in their order.
    """
    steps = () if pipeline is None else pipeline.get("steps") or ()
    return tuple(step for step in steps if step.get("op") not in _REPLACED)


def raw_domain(found: ValueRange, *, whole: bool) -> ValueRange:
    """The range of the source that values come from, such as 0 to 255 for 8-bit images.

    Args:
        found: lowest and highest value.
        whole: the values are integers, whatever their type is.

    Returns:
        The smallest usual range that includes them.
    """
    low, high = found.low, found.high
    if low < 0.0:
        bound = max(-low, high)
        return ValueRange(-1.0, 1.0) if bound <= 1.0 else ValueRange(low, high)
    if not whole and high <= 1.0:
        return ValueRange(0.0, 1.0)
    if high > _BYTE:
        return ValueRange(0.0, 65535.0 if whole else high)
    # Scans and other sensors have fewer steps than 256: then the highest value is the white one.
    return ValueRange(0.0, high) if high <= 64.0 else ValueRange(0.0, _BYTE)


def candidates(domain: ValueRange, channels: int) -> Iterator[Candidate]:
    """Ways to bring values to the ranges that models are usually trained on.

    Args:
        domain: range of the values as they are.
        channels: size of the last axis; only images with 3 channels have a channel order.

    Yields:
        The most usual first.
    """
    # x * unit + zero is in 0 to 1.
    unit = 1.0 / domain.span
    zero = -domain.low * unit
    plain = (
        ("values from 0 to 1", unit, zero),
        ("values from -1 to 1", 2.0 * unit, 2.0 * zero - 1.0),
        ("values from 0 to 255", _BYTE * unit, _BYTE * zero),
    )
    for what, scale, offset in plain:
        yield Candidate(what, _normalize(scale, offset))
    if channels == 3:
        yield _torch(unit, zero)
        # The simplest first: where a model minds no offset, all of BGR fit.
        swap = {"op": "channel_order", "to": "BGR"}
        yield Candidate("BGR, values as they are", (swap,))
        yield _caffe(unit, zero)
        for what, scale, offset in plain:
            yield Candidate(f"BGR, {what}", (swap, *_normalize(scale, offset)))
    else:
        yield Candidate("inverted, values from 1 to 0", _normalize(-unit, 1.0 - zero))


def _normalize(scale: float, offset: float) -> tuple[Mapping[str, Any], ...]:
    if scale == 1.0 and offset == 0.0:
        return ({"op": "cast", "to": "float32"},)
    # Without a negative zero.
    return ({"op": "normalize", "scale": scale, "offset": offset + 0.0},)


def _torch(unit: float, zero: float) -> Candidate:
    scale = [unit / std for std in _TORCH_STD]
    offset = [(zero - mean) / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)]
    steps = ({"op": "normalize", "scale": scale, "offset": offset},)
    return Candidate("mean and standard deviation of ImageNet (PyTorch)", steps)


def _caffe(unit: float, zero: float) -> Candidate:
    offset = [_BYTE * zero - mean for mean in _CAFFE_MEAN_BGR]
    steps = ({"op": "channel_order", "to": "BGR"}, {"op": "normalize", "scale": _BYTE * unit, "offset": offset})
    return Candidate("BGR without the mean of ImageNet (Caffe)", steps)

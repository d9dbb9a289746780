"""The ops of a pipeline and their fields: what each may hold, and what it means when left out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from windtunnel.pipeline.resize import METHODS

MAX_SIDE = 16_384
REQUIRED = object()
Check = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """`check` returns the value in its one form or raises ValueError saying what it must be."""

    check: Check
    default: Any = REQUIRED


@dataclass(frozen=True, slots=True)
class Op:
    """`kind` says what it works on: image, audio, text, or any. `open` ops take fields not listed here."""

    kind: str
    fields: dict[str, Field]
    open: bool = False


def one_of(*allowed: Any) -> Check:
    def check(value: Any) -> Any:
        for choice in allowed:
            if type(value) is type(choice) and value == choice:
                return choice
        raise ValueError(f"must be one of {', '.join(map(repr, allowed))}")

    return check


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def positive(value: Any) -> float:
    if number(value) <= 0:
        raise ValueError("must be a number above 0")
    return number(value)


def not_negative(value: Any) -> float:
    if number(value) < 0:
        raise ValueError("must be 0 or more")
    return number(value)


def count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number above 0")
    return value


def size(value: Any) -> list[int]:
    """[height, width] in pixels."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("must be [height, width]")
    if any(count(side) > MAX_SIDE for side in value):
        raise ValueError(f"must not exceed {MAX_SIDE} pixels")
    return list(value)


def per_channel(value: Any) -> float | list[float]:
    """One number, or one for each of the three channels."""
    if not isinstance(value, list | tuple):
        return number(value)
    if len(value) != 3:
        raise ValueError(f"must be one number or 3, one per channel; has {len(value)}")
    return [number(item) for item in value]


def scale(value: Any) -> float | list[float]:
    checked = per_channel(value)
    if 0 in (checked if isinstance(checked, list) else [checked]):
        raise ValueError("must not be 0, which would erase the image")
    return checked


def text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text")
    return value


_SIZE = Field(size)
_METHOD = Field(one_of(*METHODS), "bilinear")
_ANTIALIAS = Field(boolean, False)
DTYPES = ("float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64")

OPS: dict[str, Op] = {
    "resize": Op("image", {"size": _SIZE, "method": _METHOD, "antialias": _ANTIALIAS}),
    "central_crop": Op("image", {"size": _SIZE}),
    "letterbox": Op(
        "image", {"size": _SIZE, "method": _METHOD, "antialias": _ANTIALIAS, "value": Field(per_channel, 0)}
    ),
    "rotate": Op("image", {"degrees": Field(one_of(0, 90, 180, 270))}),
    "mirror": Op("image", {"axis": Field(one_of("horizontal", "vertical"), "horizontal")}),
    "channel_order": Op("image", {"to": Field(one_of("RGB", "BGR"))}),
    "layout": Op("image", {"to": Field(one_of("NHWC", "NCHW"))}),
    "normalize": Op("any", {"scale": Field(scale, 1.0), "offset": Field(per_channel, 0.0)}),
    "cast": Op(
        "any",
        {
            "to": Field(one_of(*DTYPES)),
            "rounding": Field(one_of("truncate", "nearest"), "truncate"),
            "saturate": Field(boolean, False),
        },
    ),
    "resample": Op("audio", {"to": Field(positive)}),
    "frame": Op("audio", {"length": Field(count), "step": Field(count)}),
    "window": Op("audio", {"kind": Field(one_of("hann", "hamming", "none")), "periodic": Field(boolean, True)}),
    "spectrogram": Op("audio", {"power": Field(positive, 2.0)}),
    "mel": Op("audio", {"bins": Field(count), "low": Field(not_negative), "high": Field(positive)}),
    "log": Op("audio", {"kind": Field(one_of("ln", "log10", "db"), "ln"), "floor": Field(not_negative, 0.0)}),
    "lowercase": Op("text", {}),
    "normalize_unicode": Op("text", {}, open=True),
    "tokenize": Op("text", {"vocabulary": Field(text), "kind": Field(one_of("wordpiece", "bpe", "whitespace"))}),
    "pad": Op("text", {}, open=True),
}

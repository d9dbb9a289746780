"""All ops by name, and what each works on. A new op is listed here, in `document` and in `op_registry`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

Kind = Literal["image", "audio", "text", "any"]

KINDS: Final[Mapping[str, Kind]] = {
    "resize": "image",
    "central_crop": "image",
    "letterbox": "image",
    "rotate": "image",
    "mirror": "image",
    "channel_order": "image",
    "layout": "image",
    "yuv_to_rgb": "image",
    "gamma": "image",
    "normalize": "any",
    "cast": "any",
    "pad": "any",
    "resample": "audio",
    "frame": "audio",
    "window": "audio",
    "spectrogram": "audio",
    "mel": "audio",
    "log": "audio",
    "lowercase": "text",
    "normalize_unicode": "text",
    "tokenize": "text",
    "mask": "text",
}

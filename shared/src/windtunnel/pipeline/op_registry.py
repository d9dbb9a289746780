"""What computes each op. `channel_order` and `layout` only say an order: `run_steps` keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from windtunnel.pipeline.ops import numbers
from windtunnel.pipeline.ops.audio import mel, resample, spectra
from windtunnel.pipeline.ops.image import color, image_ops
from windtunnel.pipeline.ops.op_values import Compute
from windtunnel.pipeline.ops.text import text_ops

COMPUTE: Final[Mapping[str, Compute]] = {
    "resize": image_ops.resized,
    "central_crop": image_ops.central_crop,
    "letterbox": image_ops.letterbox,
    "rotate": image_ops.rotate,
    "mirror": image_ops.mirror,
    "yuv_to_rgb": color.yuv_to_rgb,
    "gamma": color.gamma,
    "normalize": numbers.normalize,
    "cast": numbers.cast,
    "pad": numbers.pad,
    "resample": resample.resample,
    "frame": spectra.frame,
    "window": spectra.window,
    "spectrogram": spectra.spectrogram,
    "mel": mel.mel,
    "log": spectra.log,
    "lowercase": text_ops.lowercase,
    "normalize_unicode": text_ops.normalize_unicode,
    "tokenize": text_ops.tokenize,
    "mask": text_ops.mask,
}

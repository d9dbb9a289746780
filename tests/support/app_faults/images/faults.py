"""The faults of apps for images: each changes one thing of a right app, and has the code that names it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from support.app_faults.images.app import TURNS, ImageApp
from support.app_faults.images.models import CONVENTIONS, ImageModel
from support.app_faults.images.resamplers import OTHERS, RIGHT

Rng = np.random.Generator
Change = Callable[[ImageApp, ImageModel, Rng], ImageApp]


@dataclass(frozen=True)
class ImageFault:
    """One fault.

    Attributes:
        code: of the cause.
        change: puts it into an app.
        accepted: other codes that describe the same difference.
        fits: whether a model, in a form, can have it.
    """

    code: str
    change: Change
    accepted: tuple[str, ...] = ()
    fits: Callable[[ImageModel, str], bool] = lambda model, form: True


def _set(**values: Any) -> Change:
    return lambda app, model, rng: replace(app, **values)


def _is_float(model: ImageModel, form: str) -> bool:
    return form in ("float32", "dynamic_range")


def _is_integer(model: ImageModel, form: str) -> bool:
    return not _is_float(model, form)


def _is_rgb(model: ImageModel, form: str) -> bool:
    return model.raw == "rgb"


def _range(name: str) -> ImageFault:
    scale, offset = CONVENTIONS[name]
    return ImageFault(
        "preprocessing.range",
        _set(scale=scale, offset=offset),
        fits=lambda model, form: model.convention != name,
    )


def _scaled(factor: Any, shift: Any = 0.0) -> Change:
    """Levels times `factor` plus `shift` before the right normalization."""

    def change(app: ImageApp, model: ImageModel, rng: Rng) -> ImageApp:
        scale, offset = np.asarray(app.scale), np.asarray(app.offset)
        return replace(app, scale=_numbers(scale * factor), offset=_numbers(offset + scale * shift))

    return change


def _numbers(values: Any) -> Any:
    array = np.asarray(values, np.float64)
    return tuple(array.tolist()) if array.ndim else float(array)


def _means_reversed(app: ImageApp, model: ImageModel, rng: Rng) -> ImageApp:
    scale, offset = (_numbers(np.broadcast_to(np.asarray(value), 3)[::-1]) for value in (app.scale, app.offset))
    return replace(app, scale=scale, offset=offset)


def _no_deviation(app: ImageApp, model: ImageModel, rng: Rng) -> ImageApp:
    scale, offset = np.asarray(app.scale), np.asarray(app.offset)
    # (x / 255 - mean), not divided by the deviation.
    return replace(app, scale=1 / 255, offset=_numbers(offset / scale / 255))


def _has_channels(model: ImageModel, form: str) -> bool:
    return model.convention in ("imagenet", "caffe")


def _resampler(name: str) -> ImageFault:
    return ImageFault(
        "preprocessing.resize",
        _set(resampler=name),
        fits=lambda model, form: name not in RIGHT[model.method].values(),
    )


def _fit(name: str, *models: str) -> ImageFault:
    return ImageFault("preprocessing.crop", _set(fit=name), fits=lambda model, form: model.fit in models)


def _color(name: str) -> ImageFault:
    return ImageFault("preprocessing.color", _set(color=name), fits=_is_rgb)


def _yuv(matrix: str, range_: str) -> ImageFault:
    return ImageFault("preprocessing.color", _set(yuv=(matrix, range_)), fits=lambda model, form: model.raw == "yuv")


def _coarse(name: str, fits: Any, *accepted: str) -> ImageFault:
    return ImageFault("preprocessing.dtype", _set(coarse=name), accepted, fits)


FAULTS: dict[str, ImageFault] = {
    "swap": ImageFault("preprocessing.channel_order", lambda app, model, rng: replace(app, swap=not app.swap)),
    "planar": ImageFault("preprocessing.layout", _set(layout="planar")),
    "swapped_shape": ImageFault("preprocessing.layout", _set(layout="swapped")),
    **{f"resize_{name.replace('.', '_')}": _resampler(name) for name in OTHERS},
    "resize_thumbnail": _resampler("thumbnail"),
    "fit_stretch": _fit("stretch", "crop", "letterbox"),
    "fit_letterbox": _fit("letterbox", "stretch", "crop"),
    "fit_middle": _fit("middle", "stretch", "letterbox", "crop"),
    "fit_zoom": _fit("zoom:0.875", "stretch"),
    "fit_zoom_far": _fit("zoom:0.6", "stretch", "letterbox"),
    "fit_corner": _fit("corner:0.8", "stretch"),
    "fit_shift": _fit("shift:0.9", "stretch"),
    "fit_crop_corner": _fit("crop:corner", "crop"),
    "fit_crop_far": _fit("crop:96", "crop"),
    "fit_letterbox_corner": _fit("letterbox:corner", "letterbox"),
    **{f"range_{name}": _range(name) for name in CONVENTIONS},
    "range_twice": ImageFault(
        "preprocessing.range", _set(twice=True), fits=lambda model, form: model.convention != "bytes"
    ),
    "range_contrast": ImageFault("preprocessing.range", _scaled(0.8, 10.0)),
    "range_brightness": ImageFault("preprocessing.range", _scaled(1.0, -14.0)),
    "range_white_balance": ImageFault("preprocessing.range", _scaled(np.asarray([0.85, 1.0, 1.1]))),
    "range_means_reversed": ImageFault("preprocessing.range", _means_reversed, fits=_has_channels),
    "range_no_deviation": ImageFault(
        "preprocessing.range", _no_deviation, fits=lambda model, form: model.convention == "imagenet"
    ),
    **{f"turn_{name}": ImageFault("preprocessing.orientation", _set(turn=name)) for name in TURNS},
    **{
        f"turn_some_{name}": ImageFault("preprocessing.orientation", _set(turn=name, turned=0.5))
        for name in ("rotate90", "rotate180", "rotate270", "mirror")
    },
    "color_gamma": _color("gamma:2.2"),
    "color_gamma_less": _color("gamma:0.4545"),
    "color_bt709": _color("yuv:bt601/full>bt709/full"),
    "color_bt601": _color("yuv:bt709/full>bt601/full"),
    "color_video_as_full": _color("yuv:bt601/video>bt601/full"),
    "color_full_as_video": _color("yuv:bt601/full>bt601/video"),
    "yuv_bt709": _yuv("bt709", "full"),
    "yuv_video": _yuv("bt601", "video"),
    "yuv_bt709_video": _yuv("bt709", "video"),
    "coarse_rgb565": _coarse("rgb565", lambda model, form: True),
    "coarse_rgb444": _coarse("rgb444", lambda model, form: True),
    "coarse_floor": _coarse("floor", lambda model, form: True),
    "coarse_wrapped": _coarse("wrapped", lambda model, form: True),
    "coarse_integers": _coarse("integers", lambda model, form: _is_float(model, form) and model.convention != "bytes"),
    "coarse_decimals": _coarse("decimals", lambda model, form: _is_float(model, form) and model.convention != "bytes"),
    "coarse_unquantized": _coarse("unquantized", lambda model, form: form == "int8" and model.convention != "bytes"),
    "coarse_quantized_down": _coarse("quantized_down", _is_integer),
}

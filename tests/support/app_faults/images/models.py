"""The models of the matrix: what each takes, and its pipeline.json."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

Numbers = float | tuple[float, float, float]
# Range of what the model takes, as (scale, offset) of 0..255, in the order of its channels.
CONVENTIONS: dict[str, tuple[Numbers, Numbers]] = {
    "unit": (1 / 255, 0.0),
    "signed": (1 / 127.5, -1.0),
    "bytes": (1.0, 0.0),
    "imagenet": (
        (1 / (255 * 0.229), 1 / (255 * 0.224), 1 / (255 * 0.225)),
        (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225),
    ),
    "caffe": (1.0, (-103.939, -116.779, -123.68)),
}


@dataclass(frozen=True)
class ImageModel:
    """An image classifier.

    Attributes:
        name: of the network.
        size: height and width of the input.
        fit: stretch; crop (resized to `before`, then its middle); letterbox.
        method: of the resize: bilinear, bilinear_aa, bicubic_aa, area, nearest.
        convention: one of CONVENTIONS.
        order: of the channels.
        layout: of the input.
        before: the size before a crop.
        pad: the value around a letterbox.
        raw: rgb, or yuv (the raw samples are YUV, BT.601, full range).
        kind: of the network, of `networks`.
    """

    name: str
    size: tuple[int, int]
    method: str = "bilinear"
    convention: str = "signed"
    fit: str = "stretch"
    order: str = "RGB"
    layout: str = "NHWC"
    before: tuple[int, int] = (0, 0)
    pad: float = 0.0
    raw: str = "rgb"
    kind: str = "image"

    def pipeline(self) -> dict[str, Any]:
        """The reference preprocessing as the content of a pipeline.json."""
        method, antialias = self.method.removesuffix("_aa"), self.method.endswith("_aa")
        how = {"method": method, "antialias": antialias}
        steps: list[dict[str, Any]] = []
        if self.raw == "yuv":
            steps.append({"op": "yuv_to_rgb", "matrix": "bt601", "range": "full"})
        if self.fit == "crop":
            steps.append({"op": "resize", "size": list(self.before), **how})
            steps.append({"op": "central_crop", "size": list(self.size)})
        elif self.fit == "letterbox":
            steps.append({"op": "letterbox", "size": list(self.size), **how, "value": self.pad})
        else:
            steps.append({"op": "resize", "size": list(self.size), **how})
        if self.order == "BGR":
            steps.append({"op": "channel_order", "to": "BGR"})
        scale, offset = CONVENTIONS[self.convention]
        steps.append({"op": "normalize", "scale": _listed(scale), "offset": _listed(offset)})
        if self.layout == "NCHW":
            steps.append({"op": "layout", "to": "NCHW"})
        return {"schema": "windtunnel.pipeline/1", "task": "classification", "steps": steps}


def _listed(value: Numbers) -> float | list[float]:
    return list(value) if isinstance(value, tuple) else value


_MOBILE = ImageModel("mobile96", (96, 96))
IMAGE_MODELS = {
    model.name: model
    for model in (
        _MOBILE,
        ImageModel("torch64", (64, 64), "bilinear_aa", "imagenet", fit="crop", layout="NCHW", before=(72, 72)),
        ImageModel("caffe48", (48, 48), "bilinear", "caffe", order="BGR"),
        ImageModel("unit32", (32, 32), "area", "unit"),
        ImageModel("bytes224", (224, 224), "bicubic_aa", "bytes"),
        ImageModel("letter128", (128, 128), "bilinear", "unit", fit="letterbox", pad=114.0),
        ImageModel("wide80prob", (64, 80), "nearest", "signed", kind="probabilities"),
        ImageModel("keep64", (64, 64), "bilinear_aa", "signed", fit="letterbox"),
    )
}
# The same network for raw YUV.
IMAGE_MODELS["camera96"] = replace(_MOBILE, name="camera96", raw="yuv")
# Whose network a model uses, if not its own.
_NETWORK = {"camera96": "mobile96"}


def network_of(name: str) -> str:
    """The network that a model uses."""
    return _NETWORK.get(name, name)


def identity(name: str) -> str:
    """What a network's file depends on, as text."""
    return repr(IMAGE_MODELS.get(name, name))

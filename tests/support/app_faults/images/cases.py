"""Cases over images. The name says all: image/MODEL/FORM/LIBRARY/FAULTS/PHOTOS/SEED.

FAULTS: names of FAULTS and OTHERS joined by +, or `clean`. PHOTOS: a kind of photos and `same` or `mixed` sizes.
FORM: a form of the network; with `@float32` the float network is given as the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from support.app_faults.beyond import KERNELS, LABELS, ran, wrong_labels
from support.app_faults.case import Case, Planted, Truth, seed_of, written
from support.app_faults.images.app import ImageApp, prepared, right_app, to_yuv
from support.app_faults.images.faults import FAULTS
from support.app_faults.images.models import IMAGE_MODELS, ImageModel, network_of
from support.app_faults.images.photos import CLASSES, photos
from support.app_faults.images.resamplers import RESAMPLERS
from support.app_faults.networks import network
from support.app_faults.runs import Quantized, Ran, input_type

Array = np.typing.NDArray[Any]
_SIZES = {
    "tiny": [(20, 28), (17, 17), (31, 24)],
    "large": [(480, 640), (600, 450)],
    "plain": [(120, 160), (200, 150), (144, 144), (180, 300), (260, 170), (235, 313)],
}


@dataclass(frozen=True)
class _Parts:
    model: ImageModel
    form: str
    reference: str
    library: str
    faults: tuple[str, ...]
    kind: str
    sizes: str
    seed: int

    @property
    def preparing(self) -> tuple[str, ...]:
        return tuple(name for name in self.faults if name in FAULTS)

    @property
    def labels(self) -> str | None:
        return next((name for name in self.faults if name in LABELS), None)

    @property
    def kernel(self) -> str | None:
        return next((name for name in self.faults if name in KERNELS), None)


def _parts(name: str) -> _Parts:
    _, model, form, library, faults, raw, seed = name.split("/")
    form, _, reference = form.partition("@")
    kind, sizes = raw.split("-")
    names = () if faults == "clean" else tuple(faults.split("+"))
    unknown = [one for one in names if one not in FAULTS and one not in LABELS and one not in KERNELS]
    if unknown:
        raise ValueError(f"unknown fault {unknown[0]!r} in {name}")
    return _Parts(IMAGE_MODELS[model], form, reference, library, names, kind, sizes, int(seed))


def make(name: str, folder: Path, root: Path | None = None) -> Case:
    """Makes the case of a name.

    Args:
        name: image/MODEL/FORM/LIBRARY/FAULTS/PHOTOS/SEED.
        folder: where its files are written.
        root: where networks are kept.

    Returns:
        The case.
    """
    parts = _parts(name)
    rng = np.random.default_rng([parts.seed, seed_of(parts.model.name), seed_of("+".join(parts.faults))])
    raw, labels = _raw(parts, rng)
    path = network(network_of(parts.model.name), parts.form, root)
    stored = input_type(path)
    apps = _apps(parts, seed_of(name))
    fed = {left_out: prepared(app, parts.model, raw, parts.seed, stored) for left_out, app in apps.items()}
    planted = [_planted(fault, fed, apps, stored) for fault in parts.preparing]
    # Every third right app computes with other kernels.
    out, wrong = ran(path, fed[""], parts.kernel, folder, rng, plain=parts.seed % 3 == 2)
    planted += wrong
    arrays = _edge(parts, raw, fed[""], out, labels, rng)
    if parts.labels:
        planted.append(Planted("output.labels", parts.labels))
    truth = _truth(name, planted, parts, raw, fed[""], stored)
    reference = network(network_of(parts.model.name), parts.reference, root) if parts.reference else None
    return written(folder, truth, path, parts.model.pipeline(), arrays, reference)


def _raw(parts: _Parts, rng: np.random.Generator) -> tuple[list[Array], Array]:
    count = 40 if parts.labels else 6 if parts.model.size[0] > 200 else 12
    labels = rng.permutation(np.arange(count) % len(CLASSES))
    sizes = _SIZES.get(parts.kind, _SIZES["plain"])
    sizes = sizes if parts.sizes == "mixed" else [sizes[int(rng.integers(len(sizes)))]]
    drawn: list[Array] = list(photos(labels.tolist(), int(rng.integers(2**31)), sizes, parts.kind))
    return ([to_yuv(one) for one in drawn] if parts.model.raw == "yuv" else drawn), labels


def _apps(parts: _Parts, seed: int) -> dict[str, ImageApp]:
    """The app with all faults (under ""), and without one of them each (under its name)."""
    apps = {}
    for left_out in ("", *parts.preparing):
        app = right_app(parts.model, parts.library)
        for fault in parts.preparing:
            if fault != left_out:
                app = FAULTS[fault].change(app, parts.model, np.random.default_rng([seed, seed_of(fault)]))
        apps[left_out] = app
    return apps


def _planted(fault: str, fed: dict[str, list[Array]], apps: dict[str, ImageApp], stored: Quantized | None) -> Planted:
    known = FAULTS[fault]
    effect = distance(fed[""], fed[fault], stored) / level(apps[""], stored)
    return Planted(known.code, fault, known.accepted, effect=round(effect, 4))


def level(app: ImageApp, stored: Quantized | None) -> float:
    """One level of 255 in what an app feeds, or one step of an integer input if that is more.

    Args:
        app: the app.
        stored: the type of an integer input.

    Returns:
        The size.
    """
    scale = float(np.mean(np.abs(app.scale)))
    scale = scale * scale if app.twice else scale
    return max(scale, stored.scale) if stored else scale


def distance(first: Sequence[Array], second: Sequence[Array], stored: Quantized | None) -> float:
    """The root mean square difference of inputs in real numbers, whatever shape they carry.

    Args:
        first: inputs.
        second: others.
        stored: the type of integer inputs.

    Returns:
        The difference.
    """
    one, other = (np.concatenate([np.ravel(row) for row in rows]).astype(np.float64) for rows in (first, second))
    difference = float(np.sqrt(np.mean((one - other) ** 2)))
    return difference * stored.scale if stored else difference


def _edge(
    parts: _Parts, raw: Sequence[Array], fed: Sequence[Array], out: Ran, labels: Array, rng: np.random.Generator
) -> dict[str, Any]:
    arrays: dict[str, Any] = {f"raw/{index}": one for index, one in enumerate(raw)}
    if parts.sizes == "same":
        arrays = {"raw": np.stack(raw)}
    arrays["input"] = np.stack(fed)
    arrays["output"] = next(iter(out.outputs.values()))
    arrays |= {f"layer/{name}": values for name, values in out.layers.items()}
    if parts.seed % 2 or parts.labels:
        arrays["labels"] = wrong_labels(parts.labels, labels, len(CLASSES), rng)
    arrays["latency_ms"] = rng.lognormal(2.0, 0.05, len(raw))
    return arrays


def _truth(
    name: str,
    planted: Sequence[Planted],
    parts: _Parts,
    raw: Sequence[Array],
    fed: Sequence[Array],
    stored: Quantized | None,
) -> Truth:
    """Says what cannot be distinguished: masked faults, and a single fault that feeds the same."""
    masked = [one.fault for one in planted if one.visibility != "visible"]
    note = f"no effect in these photos: {', '.join(masked)}" if masked else ""
    tolerated: tuple[str, ...] = ()
    if {"swap", "range_means_reversed"} <= set(parts.faults):
        planted = [replace(one, effect=0.0) if one.fault == "range_means_reversed" else one for one in planted]
        note, tolerated = "the same as a swap after the normalization", ("preprocessing.range",)
    same = _single_with_same_input(parts, raw, fed, stored) if len(parts.preparing) > 1 else []
    if same:
        note = f"the same input as {', '.join(same)} alone"
        planted, tolerated = _as_one(planted, same)
    return Truth(name, tuple(planted), note, tolerated)


def _as_one(planted: Sequence[Planted], same: Sequence[str]) -> tuple[list[Planted], tuple[str, ...]]:
    """The planted faults where single ones feed the same: one of those has to be named, the others need not be."""
    codes = {FAULTS[one].code for one in same if one != "clean"}
    inputs = [one for one in planted if one.fault in FAULTS]
    kept = next((one for one in inputs if one.code in codes), inputs[0]) if "clean" not in same else None
    others = [one for one in planted if one.fault not in FAULTS]
    changed = [replace(one, effect=one.effect if one is kept else 0.0, accepted=tuple(codes)) for one in inputs]
    return changed + others, tuple(codes)


def _single_with_same_input(
    parts: _Parts, raw: Sequence[Array], fed: Sequence[Array], stored: Quantized | None
) -> list[str]:
    right = right_app(parts.model, parts.library)
    some = slice(0, 3)
    rng = np.random.default_rng(0)
    near = 0.3 * level(_apps(parts, 0)[""], stored)
    apps = {"clean": right} | {
        fault: known.change(right, parts.model, rng)
        for fault, known in FAULTS.items()
        if known.fits(parts.model, parts.form) and not (known.change(right, parts.model, rng).turned)
    }
    return [
        fault
        for fault, app in apps.items()
        if distance(prepared(app, parts.model, raw[some], 0, stored), fed[some], stored) < near
    ]


def libraries(model: ImageModel) -> tuple[str, ...]:
    """What apps of a model may resize with and be right.

    Args:
        model: the model.

    Returns:
        Names.
    """
    from support.app_faults.images.resamplers import RIGHT

    return tuple(name for name, resampler in RIGHT[model.method].items() if resampler in RESAMPLERS)

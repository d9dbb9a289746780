"""Cases over detectors. The name says all: boxes/SCORE/float32/opencv/FAULTS/PHOTOS/SEED; SCORE: sigmoid or softmax."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from support.app_faults.case import Case, Planted, Truth, seed_of, written
from support.app_faults.detectors.boxes import SIDE, BoxApp, anchors, detector, found
from support.app_faults.images.app import prepared, right_app
from support.app_faults.images.faults import FAULTS as PREPARING
from support.app_faults.images.models import ImageModel
from support.app_faults.images.photos import CLASSES, photos
from support.app_faults.runs import run

_MODEL = ImageModel("detector", (SIDE, SIDE))
_THRESHOLDS = {"sigmoid": 0.5, "softmax": 0.5}


def _set(code: str, **values: Any) -> tuple[str, Callable[[BoxApp], BoxApp]]:
    return f"postprocessing.{code}", lambda app: replace(app, **values)


FAULTS: dict[str, tuple[str, Callable[[BoxApp], BoxApp]]] = {
    "scales_none": _set("decode", scales=(1.0, 1.0, 1.0, 1.0)),
    "scales_equal": _set("decode", scales=(10.0, 10.0, 10.0, 10.0)),
    "corner": _set("decode", corner=True),
    "linear": _set("decode", linear=True),
    "swapped": _set("decode", swapped=True),
    "scores_raw": _set("decode", score="none"),
    "threshold_low": _set("threshold", threshold=0.3),
    "threshold_high": _set("threshold", threshold=0.75),
    "nms_none": _set("nms", iou=None),
    "nms_strict": _set("nms", iou=0.2),
    "nms_loose": _set("nms", iou=0.8),
    "nms_agnostic": _set("nms", agnostic=True),
}
_WITH = ("swap", "turn_rotate180", "range_unit")


def make(name: str, folder: Path, root: Path | None = None) -> Case:
    """Makes the case of a name.

    Args:
        name: boxes/SCORE/float32/opencv/FAULTS/PHOTOS/SEED.
        folder: where its files are written.
        root: not used: nothing is trained.

    Returns:
        The case.
    """
    _, score, _, library, listed, kind, seed = name.split("/")
    faults = () if listed == "clean" else tuple(listed.split("+"))
    rng = np.random.default_rng([int(seed), seed_of(listed)])
    raw = photos(rng.integers(0, len(CLASSES), 10).tolist(), int(rng.integers(2**31)), [(120, 160)], kind)
    app = right_app(_MODEL, library)
    planted = []
    for fault in faults:
        if fault in PREPARING:
            app = PREPARING[fault].change(app, _MODEL, rng)
            planted.append(Planted(PREPARING[fault].code, fault))
    fed = prepared(app, _MODEL, raw, 0, None)
    folder.mkdir(parents=True, exist_ok=True)
    outputs = run(detector(folder / "made.tflite"), fed).outputs
    boxes, scores = (next(values for key, values in outputs.items() if part in key) for part in ("boxes", "scores"))
    making = [fault for fault in faults if fault in FAULTS]
    results = {out: _made(score, making, out, boxes, scores) for out in ("", *making)}
    planted += [_planted(fault, results) for fault in making]
    arrays: dict[str, Any] = {"raw": np.stack(raw), "input": np.stack(fed), "output/boxes": boxes}
    arrays |= {"output/scores": scores, **{f"postprocessed/{key}": one for key, one in results[""].items()}}
    np.save(folder / "anchors.npy", anchors())
    after: dict[str, Any] = {
        "kind": "ssd",
        "boxes": "boxes",
        "scores": "scores",
        "anchors": "anchors.npy",
        "scales": [10, 10, 5, 5],
    }
    after |= {"score": score, "threshold": _THRESHOLDS[score], "iou": 0.5, "max": 40}
    pipeline = {**_MODEL.pipeline(), "task": "detection", "postprocess": after}
    masked = [one.fault for one in planted if one.visibility != "visible"]
    truth = Truth(name, tuple(planted), f"no effect in these photos: {', '.join(masked)}" if masked else "")
    case = written(folder, truth, folder / "made.tflite", pipeline, arrays)
    (folder / "made.tflite").unlink()
    return case


def _made(score: str, faults: list[str], left_out: str, boxes: Any, scores: Any) -> dict[str, Any]:
    app = BoxApp(score=score, threshold=_THRESHOLDS[score])
    for fault in faults:
        if fault != left_out:
            app = FAULTS[fault][1](app)
    rows = [found(app, one, other) for one, other in zip(boxes, scores, strict=True)]
    return {name: np.stack([row[at] for row in rows]) for at, name in enumerate(("boxes", "classes", "scores"))}


def _planted(fault: str, results: dict[str, dict[str, Any]]) -> Planted:
    same = all(np.array_equal(results[""][key], results[fault][key]) for key in results[""])
    return Planted(FAULTS[fault][0], fault, effect=0.0 if same else None)


def box_plan(seeds: int, *, all_models: bool) -> list[str]:
    """Names of cases.

    Args:
        seeds: how many of each.
        all_models: more pairs.

    Returns:
        Names for `make`.
    """
    names = []
    for seed in range(1, seeds + 1):
        rng = np.random.default_rng([seed, 3])
        score = ("sigmoid", "softmax")
        names += [_name(score[at % 2], (fault,), seed) for at, fault in enumerate(FAULTS)]
        names += [
            f"boxes/{one}/float32/{library}/clean/plain/{seed}" for one in score for library in ("opencv", "numpy")
        ]
        for number in range(16 if all_models else 8):
            chosen = [str(one) for one in rng.choice(list(FAULTS), 2, replace=False)]
            if FAULTS[chosen[0]][0] == FAULTS[chosen[1]][0]:
                chosen = chosen[:1]
            chosen += [str(rng.choice(_WITH))] if number % 2 or len(chosen) == 1 else []
            names.append(_name(score[number % 2], tuple(chosen), seed))
    return list(dict.fromkeys(names))


def _name(score: str, faults: tuple[str, ...], seed: int) -> str:
    return f"boxes/{score}/float32/opencv/{'+'.join(faults)}/plain/{seed}"

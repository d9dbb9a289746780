"""Cases over sounds. The name says all: sound/MODEL/FORM/LIBRARY/FAULTS/SOUNDS/SEED."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from support.app_faults.beyond import KERNELS, LABELS, ran, wrong_labels
from support.app_faults.case import Case, Planted, Truth, seed_of, written
from support.app_faults.networks import network
from support.app_faults.runs import Quantized, input_type
from support.app_faults.sounds import sounds
from support.app_faults.sounds.app import SoundApp, prepared, right_app
from support.app_faults.sounds.faults import FAULTS, KINDS
from support.app_faults.sounds.models import SOUND_MODELS, SoundModel

_LIBRARIES = ("scipy", "numpy")
_FORMS = ("float32", "int8", "int8@float32", "dynamic_range")
# In sounds, the counterpart of a level of a photo: this part of the inputs' standard deviation.
_LEVEL = 0.01
_ALONE = ("log_none", "window_symmetric", "coarse_8_bits", "emphasis")


def make(name: str, folder: Path, root: Path | None = None) -> Case:
    """Makes the case of a name.

    Args:
        name: sound/MODEL/FORM/LIBRARY/FAULTS/SOUNDS/SEED.
        folder: where its files are written.
        root: where networks are kept.

    Returns:
        The case.
    """
    _, model_name, form, library, listed, kind, seed = name.split("/")
    form, _, reference = form.partition("@")
    model, faults = SOUND_MODELS[model_name], () if listed == "clean" else tuple(listed.split("+"))
    rng = np.random.default_rng([int(seed), seed_of(model_name), seed_of(listed)])
    in_labels = next((fault for fault in faults if fault in LABELS), None)
    labels = rng.permutation(np.arange(36 if in_labels else 12) % len(sounds.CLASSES))
    raw = sounds.sounds(labels.tolist(), int(rng.integers(2**31)), model.raw_rate, model.raw_samples, kind)
    path = network(model_name, form, root)
    stored = input_type(path)
    preparing = [fault for fault in faults if fault in FAULTS]
    fed = {out: prepared(_app(model, library, preparing, out), model, raw, stored) for out in ("", *preparing)}
    planted = [_planted(fault, fed, model, stored) for fault in preparing]
    kernel = next((fault for fault in faults if fault in KERNELS), None)
    out, wrong = ran(path, fed[""], kernel, folder, rng, plain=int(seed) % 3 == 2)
    planted += wrong
    if in_labels:
        planted.append(Planted("output.labels", in_labels))
    arrays: dict[str, Any] = {"raw": np.stack(raw), "sample_rate": np.asarray(model.raw_rate)}
    arrays |= {"input": np.stack(fed[""]), "output": next(iter(out.outputs.values()))}
    arrays |= {f"layer/{layer}": values for layer, values in out.layers.items()}
    if in_labels or int(seed) % 2:
        arrays["labels"] = wrong_labels(in_labels, labels, len(sounds.CLASSES), rng)
    masked = [one.fault for one in planted if one.visibility != "visible"]
    truth = Truth(name, tuple(planted), f"no effect in these sounds: {', '.join(masked)}" if masked else "")
    trusted = network(model_name, reference, root) if reference else None
    return written(folder, truth, path, model.pipeline(), arrays, trusted)


def _app(model: SoundModel, library: str, faults: list[str], left_out: str) -> SoundApp:
    app = right_app(model, library)
    for fault in faults:
        if fault != left_out:
            app = FAULTS[fault].change(app, model)
    return app


def _planted(fault: str, fed: dict[str, list[NDArray[Any]]], model: SoundModel, stored: Quantized | None) -> Planted:
    known = FAULTS[fault]
    with_it, without = (np.stack(fed[key]).astype(np.float64) for key in ("", fault))
    level = max(with_it.std() * _LEVEL, 1.0 if stored else 1e-9)
    effect = float(np.sqrt(np.mean((with_it - without) ** 2))) / level
    return Planted(known.code(model), fault, known.accepted, effect=round(effect, 4))


def sound_plan(seeds: int, *, all_models: bool) -> list[str]:
    """Names of cases.

    Args:
        seeds: how many of each.
        all_models: every fault with every model that it fits; otherwise with one, in turn.

    Returns:
        Names for `make`.
    """
    names: list[str] = []
    for seed in range(1, seeds + 1):
        names += _alone(seed, all_models)
        names += _together(seed, 2, 40 if all_models else 16)
        names += _together(seed, 3, 30 if all_models else 10)
        names += _clean(seed)
    return list(dict.fromkeys(names))


def _alone(seed: int, all_models: bool) -> Iterator[str]:
    for fault in (*FAULTS, *LABELS, *KERNELS):
        rng = np.random.default_rng([seed, seed_of(fault)])
        able = [(model, form) for model in SOUND_MODELS.values() for form in _FORMS if _fits(fault, model, form)]
        for model in {model.name: model for model, _ in able}.values() if all_models else [None]:
            some = [one for one in able if model is None or one[0] is model]
            if some:
                yield _name(*some[int(rng.integers(len(some)))], (fault,), rng, seed)


def _together(seed: int, count: int, wanted: int) -> Iterator[str]:
    rng = np.random.default_rng([seed, count, 7])
    models = list(SOUND_MODELS.values())
    made = 0
    while made < wanted:
        model, form = models[int(rng.integers(len(models)))], _FORMS[int(rng.integers(len(_FORMS)))]
        able = [one for one in (*FAULTS, *LABELS, *KERNELS) if _fits(one, model, form) and one not in _ALONE]
        kinds = sorted({_kind(one) for one in able})
        drawn = [kinds[at] for at in rng.choice(len(kinds), min(count, len(kinds)), replace=False)]
        chosen = tuple(str(rng.choice([one for one in able if _kind(one) == kind])) for kind in drawn)
        made += 1
        yield _name(model, form, chosen, rng, seed)


def _kind(fault: str) -> str:
    return next(kind for kind in (*KINDS, "labels", "kernel") if fault.startswith(kind))


def _clean(seed: int) -> Iterator[str]:
    for number, model in enumerate(SOUND_MODELS.values()):
        for at, library in enumerate(_LIBRARIES):
            for kind in sounds.KINDS:
                form = _FORMS[(number + at + seed + len(kind)) % len(_FORMS)]
                yield f"sound/{model.name}/{form}/{library}/clean/{kind}/{seed + at}"


def _fits(fault: str, model: SoundModel, form: str) -> bool:
    if fault in FAULTS:
        return FAULTS[fault].fits(model)
    if fault in LABELS:
        return True
    if "pool" in fault:
        return model.length > 0 and form == "float32"
    return form == "float32" if "bias" in fault or "activation" in fault else form != "dynamic_range"


def _name(model: SoundModel, form: str, faults: tuple[str, ...], rng: np.random.Generator, seed: int) -> str:
    kind = "plain" if rng.uniform() < 0.85 else "noisy"
    return f"sound/{model.name}/{form}/{_LIBRARIES[int(rng.integers(2))]}/{'+'.join(faults)}/{kind}/{seed}"

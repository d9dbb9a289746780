"""Cases over texts. The name says all: text/MODEL/FORM/python/FAULTS/TEXTS/SEED."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from support.app_faults.beyond import KERNELS, LABELS, ran, wrong_labels
from support.app_faults.case import Case, Planted, Truth, seed_of, written
from support.app_faults.networks import network
from support.app_faults.texts import texts
from support.app_faults.texts.app import TEXT_MODELS, TextApp, TextModel, prepared, right_app

_CODE = "preprocessing.text"
_FORMS = ("float32", "dynamic_range")


def _set(**values: Any) -> Callable[[TextApp], TextApp]:
    return lambda app: replace(app, **values)


FAULTS: dict[str, Callable[[TextApp], TextApp]] = {
    "no_lowercase": _set(lower=False),
    "no_unicode": _set(form=""),
    "unicode_nfd": _set(form="NFD"),
    "ids_shifted": _set(shift=1),
    "other_vocabulary": _set(reversed_order=True),
    "unknown_other": lambda app: replace(app, unknown="[PAD]" if app.kind == "wordpiece" else "<pad>"),
    "no_prefix": _set(prefix=()),
    "no_suffix": _set(suffix=()),
    "pad_value": _set(value=3),
    "pad_left": _set(left=True),
    "cut_short": lambda app: replace(app, cut=6),
    "whitespace": _set(kind="whitespace"),
}
# Kernels of these small networks whose weights can be wrong.
_KERNELS = tuple(name for name in KERNELS if "weights" in name or "channel" in name)


def make(name: str, folder: Path, root: Path | None = None) -> Case:
    """Makes the case of a name.

    Args:
        name: text/MODEL/FORM/python/FAULTS/TEXTS/SEED.
        folder: where its files are written.
        root: where networks are kept.

    Returns:
        The case.
    """
    _, model_name, form, _, listed, kind, seed = name.split("/")
    model, faults = TEXT_MODELS[model_name], () if listed == "clean" else tuple(listed.split("+"))
    rng = np.random.default_rng([int(seed), seed_of(model_name), seed_of(listed)])
    in_labels = next((fault for fault in faults if fault in LABELS), None)
    labels = rng.permutation(np.arange(32 if in_labels else 12) % len(texts.CLASSES))
    raw = texts.texts(labels.tolist(), int(rng.integers(2**31)), kind)
    path = network(model_name, form, root)
    preparing = [fault for fault in faults if fault in FAULTS]
    fed = {out: np.stack(prepared(_app(model, preparing, out), model, raw)) for out in ("", *preparing)}
    planted = [Planted(_CODE, fault, effect=float((fed[""] != fed[fault]).mean() * 255)) for fault in preparing]
    kernel = next((fault for fault in faults if fault in KERNELS), None)
    out, wrong = ran(path, list(fed[""]), kernel, folder, rng, plain=int(seed) % 3 == 2)
    planted += wrong
    if in_labels:
        planted.append(Planted("output.labels", in_labels))
    arrays: dict[str, Any] = {"raw": np.asarray(raw), "input": fed[""], "output": next(iter(out.outputs.values()))}
    arrays |= {f"layer/{layer}": values for layer, values in out.layers.items()}
    if in_labels or int(seed) % 2:
        arrays["labels"] = wrong_labels(in_labels, labels, len(texts.CLASSES), rng)
    masked = [one.fault for one in planted if one.visibility != "visible"]
    truth = Truth(name, tuple(planted), f"no effect in these texts: {', '.join(masked)}" if masked else "")
    vocabulary = "".join(f"{token}\n" for token in model.vocabulary())
    return written(folder, truth, path, model.pipeline(), arrays, texts={"vocabulary.txt": vocabulary})


def _app(model: TextModel, faults: list[str], left_out: str) -> TextApp:
    app = right_app(model)
    for fault in faults:
        if fault != left_out:
            app = FAULTS[fault](app)
    return app


def text_plan(seeds: int, *, all_models: bool) -> list[str]:
    """Names of cases.

    Args:
        seeds: how many of each.
        all_models: more pairs.

    Returns:
        Names for `make`.
    """
    names = []
    for seed in range(1, seeds + 1):
        for model in TEXT_MODELS.values():
            names += [_name(model, (fault,), seed) for fault in (*FAULTS, *LABELS, *_KERNELS) if _fits(fault, model)]
            names += [f"text/{model.name}/{_FORMS[seed % 2]}/python/clean/{kind}/{seed}" for kind in texts.KINDS]
            names += _together(model, seed, 20 if all_models else 8)
    return list(dict.fromkeys(names))


def _together(model: TextModel, seed: int, wanted: int) -> Iterator[str]:
    rng = np.random.default_rng([seed, seed_of(model.name)])
    able = [fault for fault in FAULTS if _fits(fault, model)]
    for number in range(wanted):
        first = [str(one) for one in rng.choice(able, 1 + number % 2, replace=False)]
        yield _name(model, (*first, str(rng.choice((*LABELS, *_KERNELS, *set(able) - set(first))))), seed)


def _fits(fault: str, model: TextModel) -> bool:
    if fault in ("no_suffix", "whitespace"):
        return model.kind == "wordpiece"
    return fault != "ids_shifted" or len(model.vocabulary()) < 400


def _name(model: TextModel, faults: tuple[str, ...], seed: int) -> str:
    form = "float32" if any(fault in KERNELS for fault in faults) else _FORMS[seed_of("+".join(faults)) % 2]
    return f"text/{model.name}/{form}/python/{'+'.join(faults)}/plain/{seed}"

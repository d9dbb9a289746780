"""Which cases over images there are: every fault alone, drawn pairs and triples, and right apps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from support.app_faults.beyond import KERNELS, LABELS
from support.app_faults.case import seed_of
from support.app_faults.images.cases import libraries
from support.app_faults.images.faults import FAULTS
from support.app_faults.images.models import IMAGE_MODELS, ImageModel
from support.app_faults.images.photos import KINDS

_FORMS = ("float32", "int8", "uint8", "int8@float32", "dynamic_range")
# Right apps see all of these; their networks and sizes rotate.
_CLEAN_KINDS = tuple(kind for kind in KINDS)
# Not drawn together: both say how the same values are computed.
_EXCLUSIVE = ("coarse", "range", "fit", "resize", "turn", "color", "planar", "swap", "yuv", "labels", "kernel")

_ALONE = ("coarse_integers", "coarse_unquantized", "coarse_floor", "coarse_quantized_down", "range_twice")


def image_plan(seeds: int, *, all_models: bool) -> list[str]:
    """Names of cases.

    Args:
        seeds: how many of each.
        all_models: every fault with every model that it fits; otherwise with one, in turn.

    Returns:
        Names for `image_cases.make`.
    """
    names: list[str] = []
    for seed in range(1, seeds + 1):
        names += _alone(seed, all_models)
        names += _together(seed, 2, 130 if all_models else 44)
        names += _together(seed, 3, 100 if all_models else 36)
        names += _clean(seed, all_models)
    return list(dict.fromkeys(names))


def _alone(seed: int, all_models: bool) -> Iterator[str]:
    for fault in (*FAULTS, *LABELS, *KERNELS):
        rng = np.random.default_rng([seed, seed_of(fault)])
        able = [(model, form) for model in IMAGE_MODELS.values() for form in _FORMS if _fits(fault, model, form)]
        if not able:
            continue
        if not all_models:
            yield _name(*able[int(rng.integers(len(able)))], (fault,), rng, seed)
            continue
        for model in {one.name: one for one, _ in able}.values():
            forms = [form for one, form in able if one is model]
            yield _name(model, forms[int(rng.integers(len(forms)))], (fault,), rng, seed)


def _together(seed: int, count: int, wanted: int) -> Iterator[str]:
    rng = np.random.default_rng([seed, count])
    models = list(IMAGE_MODELS.values())
    made = 0
    while made < wanted:
        model = models[int(rng.integers(len(models)))]
        form = _FORMS[int(rng.integers(len(_FORMS)))]
        able = [fault for fault in (*FAULTS, *LABELS, *KERNELS) if _fits(fault, model, form)]
        # Kinds first, so that the many resizes do not crowd out the rest.
        kinds = sorted({_kind(fault) for fault in able})
        drawn = [kinds[at] for at in rng.choice(len(kinds), count, replace=False)]
        chosen = tuple(str(rng.choice([fault for fault in able if _kind(fault) == kind])) for kind in drawn)
        if _can_be_together(chosen):
            made += 1
            yield _name(model, form, chosen, rng, seed)


def _kind(fault: str) -> str:
    return next(kind for kind in _EXCLUSIVE if fault.startswith(kind)) if not fault.startswith("swapped") else "planar"


def _can_be_together(faults: tuple[str, ...]) -> bool:
    """Whether each keeps enough of the input for the others to have an effect, and none is as small as rounding."""
    lossy = any(fault in _ALONE for fault in faults)
    return not (lossy and len(faults) > 1) and len({_kind(fault) for fault in faults}) == len(faults)


def _clean(seed: int, all_models: bool) -> Iterator[str]:
    rng = np.random.default_rng([seed, 99])
    for model in IMAGE_MODELS.values():
        for library in libraries(model):
            for kind in _CLEAN_KINDS:
                if kind == "tiny" and model.method == "area":
                    # Libraries differ in what they take the area of a smaller picture for.
                    continue
                if all_models or rng.uniform() < 0.35:
                    form = _FORMS[int(rng.integers(len(_FORMS)))]
                    sizes = ("same", "mixed")[int(rng.integers(2))]
                    yield f"image/{model.name}/{form}/{library}/clean/{kind}-{sizes}/{seed + int(rng.integers(3))}"


def _fits(fault: str, model: ImageModel, form: str) -> bool:
    if fault in FAULTS:
        return FAULTS[fault].fits(model, form.partition("@")[0])
    if fault in LABELS:
        return True
    if "bias" in fault or "activation" in fault:
        # Quantized limits are in the output's type, so that a lost activation changes nothing.
        return form == "float32"
    return form != "dynamic_range"


def _name(model: ImageModel, form: str, faults: tuple[str, ...], rng: np.random.Generator, seed: int) -> str:
    library = str(rng.choice(libraries(model)))
    kind = "plain" if rng.uniform() < 0.85 else ("noisy", "large", "dark")[int(rng.integers(3))]
    sizes = ("same", "mixed")[int(rng.integers(2))]
    return f"image/{model.name}/{form}/{library}/{'+'.join(faults)}/{kind}-{sizes}/{seed}"


def pairs_of_kinds() -> list[tuple[str, str]]:
    """All pairs of kinds of faults, for the table of what was tried together."""
    return list(combinations(_EXCLUSIVE, 2))

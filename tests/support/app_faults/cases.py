"""All cases of the matrix by name; the part before the first / says over what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from support.app_faults.case import Case
from support.app_faults.detectors import cases as box_cases
from support.app_faults.images import cases as image_cases
from support.app_faults.images.plan import image_plan
from support.app_faults.sounds import cases as sound_cases
from support.app_faults.texts import cases as text_cases

_MAKERS: dict[str, Callable[[str, Path, Path | None], Case]] = {
    "image": image_cases.make,
    "sound": sound_cases.make,
    "text": text_cases.make,
    "boxes": box_cases.make,
}
DOMAINS = tuple(_MAKERS)


def make(name: str, folder: Path, root: Path | None = None) -> Case:
    """Makes the case of a name.

    Args:
        name: as `plan` lists it, or composed in the same way.
        folder: where its files are written.
        root: where trained networks are kept; the temporary directory by default.

    Returns:
        The case.
    """
    return _MAKERS[name.partition("/")[0]](name, folder, root)


def plan(domain: str, seeds: int, *, all_models: bool) -> list[str]:
    """Names of the cases of a domain.

    Args:
        domain: of DOMAINS.
        seeds: how many of each.
        all_models: every fault with every model that it fits; otherwise with one, in turn.

    Returns:
        Names.
    """
    plans = {
        "image": image_plan,
        "sound": sound_cases.sound_plan,
        "text": text_cases.text_plan,
        "boxes": box_cases.box_plan,
    }
    return plans[domain](seeds, all_models=all_models)

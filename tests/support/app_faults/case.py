"""A case of the matrix: an app with known faults, or none, as files that `windtunnel diagnose` takes."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# A fault that changes inputs by less is faint: the rounding of a right app is of this size. In levels of 255.
VISIBLE_LEVELS = 1.0
# By less than this it changes nothing.
_NOTHING_LEVELS = 0.02


@dataclass(frozen=True)
class Planted:
    """One fault of a case.

    Attributes:
        code: the cause that names it.
        fault: its name here.
        accepted: other codes that describe the same difference.
        layer: the output tensor of the op with the fault; None: no place.
        op_index: of that op.
        effect: how much it changes, in levels of 255 of the input (None: it is not in the input).
    """

    code: str
    fault: str
    accepted: tuple[str, ...] = ()
    layer: str | None = None
    op_index: int | None = None
    effect: float | None = None

    @property
    def visibility(self) -> str:
        """`visible`, `faint` (as small as rounding) or `invisible`."""
        if self.effect is None or self.effect >= VISIBLE_LEVELS:
            return "visible"
        return "faint" if self.effect > _NOTHING_LEVELS else "invisible"


@dataclass(frozen=True)
class Truth:
    """What is right to say about a case.

    Attributes:
        name: of the case: it decides everything.
        planted: its faults; none: a clean control.
        note: what cannot be distinguished in principle, if something cannot.
        tolerated: codes that are not a false alarm here.
    """

    name: str
    planted: tuple[Planted, ...] = ()
    note: str = ""
    tolerated: tuple[str, ...] = ()

    def expected(self) -> list[Planted]:
        """The faults that a diagnosis must name."""
        return [one for one in self.planted if one.visibility == "visible"]

    def to_json(self) -> dict[str, Any]:
        """The content of expected.json."""
        causes = [
            {
                "code": one.code,
                "place": {"layer": one.layer, "op_index": one.op_index},
                "fault": one.fault,
                "accepted": list(one.accepted),
                "effect_levels": one.effect,
                "visibility": one.visibility,
            }
            for one in self.planted
        ]
        return {
            "name": self.name,
            "verdict": "unhealthy" if self.expected() else "healthy",
            "causes": causes,
            "distinguishable": not self.note,
            "note": self.note,
            "tolerated": list(self.tolerated),
        }


@dataclass(frozen=True)
class Case:
    """Files of a case and what is right to say about it."""

    truth: Truth
    model: Path
    edge: Path
    pipeline: Path | None = None
    reference: Path | None = None
    extra: tuple[str, ...] = field(default=())


def seed_of(name: str) -> int:
    """The seed that a name means, the same on every machine.

    Args:
        name: of a case or a part of it.

    Returns:
        The seed.
    """
    return zlib.crc32(name.encode())


def written(
    folder: Path,
    truth: Truth,
    model: Path,
    pipeline: Mapping[str, Any],
    arrays: Mapping[str, Any],
    reference: Path | None = None,
    texts: Mapping[str, str] | None = None,
) -> Case:
    """Writes the files of a case: model.tflite, pipeline.json, edge.npz, expected.json and maybe reference.tflite.

    Args:
        folder: where; made if it does not exist.
        truth: for expected.json.
        model: copied.
        pipeline: the content of pipeline.json.
        arrays: of edge.npz.
        reference: copied.
        texts: other files by name, such as a vocabulary.

    Returns:
        The case.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, text in (texts or {}).items():
        (folder / file_name).write_text(text, encoding="utf-8")
    case = Case(truth, folder / "model.tflite", folder / "edge.npz", folder / "pipeline.json")
    shutil.copyfile(model, case.model)
    assert case.pipeline is not None
    case.pipeline.write_text(json.dumps(pipeline, indent=1) + "\n")
    np.savez(case.edge, allow_pickle=False, **arrays)
    (folder / "expected.json").write_text(json.dumps(truth.to_json(), indent=1) + "\n")
    if reference is None:
        return case
    shutil.copyfile(reference, folder / "reference.tflite")
    return Case(**(asdict(case) | {"truth": truth, "reference": folder / "reference.tflite"}))

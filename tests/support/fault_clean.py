"""Pairs without a fault: other forms, other converters, other ways to write the same computation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from support.architectures import Architecture
from support.fault_files import File
from support.fault_rewrites import REWRITES, STRUCTURAL
from support.fault_runs import quantize, ranges, samples_of

_NOT_CLEAN = ("clipped", "wide", "per_tensor")
_BACK = "_as_reference"


@dataclass(frozen=True)
class Kind:
    """A way to write a healthy pair, and the form that its candidate has."""

    form: str
    name: str


@dataclass(frozen=True)
class Pair:
    """A reference and a candidate that compute the same."""

    reference: Path
    candidate: Path


def kinds(forms: Mapping[str, Path]) -> Iterator[Kind]:
    """What there is for an architecture with these forms."""
    for form in forms:
        if not form.endswith(_NOT_CLEAN):
            yield Kind(form, "as_it_is")
    for name in REWRITES:
        yield Kind("float32", name)
    for name in STRUCTURAL:
        yield Kind("int8", name)
        yield Kind("int8", name + _BACK)
        yield Kind("float32", name + _BACK)


def make(kind: str, form: str, source: Architecture, folder: Path, draw: np.random.Generator) -> Pair | None:
    """The pair, with new files in `folder`; None where the network gives a rewrite nothing to do."""
    if kind == "as_it_is":
        return Pair(source.float32, source.forms[form])
    other = rewritten(kind.removesuffix(_BACK), source, folder, draw)
    if other is None:
        return None
    if kind.endswith(_BACK):
        return Pair(other, source.forms[form])
    if form != "float32":
        other = quantize(other, folder / "quantized.tflite", form, ranges(other, samples_of(source.calibration)))
    return Pair(source.float32, other)


def rewritten(kind: str, source: Architecture, folder: Path, draw: np.random.Generator) -> Path | None:
    """The float model written differently; None if nothing is to be done."""
    file = File(source.float32)
    return file.write(folder / f"{kind}.tflite") if REWRITES[kind](file, draw) else None

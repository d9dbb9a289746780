"""Digests of patches, each computed once: nine tenths of the time of judging a stored run goes into them."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from windtunnel.diagnosis.execution.recorded_trials import patched_sha256
from windtunnel.diagnosis.static.suspect import Patch
from windtunnel.tflite import Quantization


class PatchDigests:
    """Digests of the patches of one candidate. A patch is known by its code and by what it encloses."""

    def __init__(self) -> None:
        self._known: dict[Hashable, str] = {}
        # Objects that are known by their identity stay, so that no other object gets it.
        self._kept: dict[int, Any] = {}

    def of(self, candidate: Path, patch: Patch) -> str:
        """`patched_sha256` of the patch."""
        key = self._key(patch)
        if key not in self._known:
            self._known[key] = patched_sha256(candidate, patch)
        return self._known[key]

    def _key(self, part: Any) -> Hashable:
        if isinstance(part, FunctionType):
            cells = () if part.__closure__ is None else part.__closure__
            return part.__code__, self._key([cell.cell_contents for cell in cells]), self._key(part.__defaults__)
        if isinstance(part, np.ndarray):
            return part.dtype.str, part.shape, part.tobytes()
        if isinstance(part, list | tuple):
            return type(part), tuple(self._key(one) for one in part)
        if part is None or isinstance(part, int | float | str | Path | frozenset | Quantization):
            return type(part), part
        self._kept[id(part)] = part
        return type(part), id(part)

"""What a trial of a fix showed: errors of the layer and of the outputs, without the fix and with it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from windtunnel.plain_text import layer_title, named, nrmse_text


@dataclass(frozen=True, slots=True)
class LayerTrial:
    """The isolated error of the layer (nRMSE): `before` the fix, None if it is not known; infinite: NaN or infinity.

    `after` is None where the fix was not run.
    """

    before: float | None
    after: float | None = None

    @property
    def finite_before(self) -> float | None:
        """`before`, None also where it is infinite."""
        return _finite(self.before)

    @property
    def finite_after(self) -> float | None:
        """`after`, None also where it is infinite."""
        return _finite(self.after)


@dataclass(frozen=True, slots=True)
class OutputTrial:
    """nRMSE of the worst output, or of the one that the fix moves, before and after the fix."""

    before: float | None
    after: float


@dataclass(frozen=True, slots=True)
class Trial:
    """`with_others_fixed`: nRMSE of the outputs before and after the fix, on top of the fixes of the other causes."""

    layer: LayerTrial | None = None
    output: OutputTrial | None = None
    with_others_fixed: tuple[float, float] | None = None

    def evidence(self) -> dict[str, Any]:
        """What the trial adds to the `evidence` of a cause."""
        found: dict[str, Any] = {}
        if self.layer is not None:
            found["local_nrmse"] = _finite(self.layer.before)
            if self.layer.after is not None:
                found["local_nrmse_mended"] = _finite(self.layer.after)
        if self.output is not None:
            found |= {"output_nrmse": _finite(self.output.before), "output_nrmse_mended": self.output.after}
        if self.with_others_fixed is not None:
            found["output_nrmse_with_others_fixed"] = list(self.with_others_fixed)
        return found

    def words(self) -> tuple[str, ...]:
        """One sentence for each figure that is known."""
        return tuple(self._words())

    def _words(self) -> Iterator[str]:
        if self.layer is not None and _finite(self.layer.before) is not None:
            yield isolated_words(self.layer.before, _finite(self.layer.after))
        if self.output is not None:
            yield _output_words(_finite(self.output.before), self.output.after)
        if self.with_others_fixed is not None:
            before, after = (nrmse_text(one) for one in self.with_others_fixed)
            yield f"with the other causes fixed, the output's error falls from nRMSE {before} to {after}"


NO_TRIAL = Trial()


@dataclass(frozen=True, slots=True)
class SubgraphPlace:
    """A place in a graph other than the main one: the body of a loop, a branch, another signature."""

    graph: str
    layer: str | None
    op_index: int | None

    def words(self) -> str:
        """Where it is."""
        return f"it is inside {named(self.graph)}: {layer_title(self.layer)} (op {named(self.op_index)} there)"


def isolated_words(before: float | None, after: float | None = None) -> str:
    """An isolated error, and what the fix leaves of it.

    Args:
        before: nRMSE without the fix; None: not known.
        after: nRMSE with the fix; None: the fix was not run.

    Returns:
        Words for people.
    """
    with_fix = "" if after is None else f", {nrmse_text(after)} with the fix"
    return f"isolated error: nRMSE {nrmse_text(before)}{with_fix}"


def _output_words(before: float | None, after: float) -> str:
    """What the fix does to the whole model: often the only proof of a cause."""
    if before is None:
        return f"with the fix the output's error is nRMSE {nrmse_text(after)}, without it there is no figure"
    if after < before:
        return f"the output's error falls from nRMSE {nrmse_text(before)} to {nrmse_text(after)} with the fix"
    return f"the output's error is nRMSE {nrmse_text(before)}, and {nrmse_text(after)} with the fix"


def _finite(error: float | None) -> float | None:
    return error if error is None or math.isfinite(error) else None

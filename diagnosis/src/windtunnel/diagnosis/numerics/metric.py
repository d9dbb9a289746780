"""What a metric of a layer is: a formula over its sums, and what a reader has to know about it."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from windtunnel.plain_text import figure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from windtunnel.diagnosis.numerics.layer_totals import LayerTotals

# A figure; the ends of an interval; several figures by name. None: there is none.
Value = float | tuple[float, ...] | Mapping[str, float] | None
Better = Literal["lower", "higher", "closer to 0", "neither"]
# Over all samples; or over those that are examined closely: all, or in a large model some.
Samples = Literal["all", "close"]

_FIGURE: Mapping[str, Any] = {"type": ["number", "null"]}


@dataclass(frozen=True, slots=True)
class SampleSums:
    """Numbers that a metric needs of every closely examined sample, beyond the sums that all metrics share.

    Args:
        of_sample: the numbers of one sample, from the real values of the reference and of the candidate (one shape,
            float64, finite).
        combine: joins two of these numbers, one by one; by default their sum.
    """

    of_sample: Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[float, ...]]
    combine: Callable[[float, float], float] = operator.add


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of a layer.

    Args:
        name: the field in the JSON of a layer.
        formula: a pure function of the sums; its docstring states the formula. It never returns NaN or infinity.
        unit: the unit of the value.
        better: which values are good.
        zero: what the value is if a denominator is zero.
        source: where the formula comes from.
        samples: which samples count.
        title: the head of its column in tables; empty: tables do not have it.
        meaning: one line for people who see the column.
        shown: the value in a document, or None, as text.
        in_terminal: whether the table in the terminal has the column too; pages have all.
        sums: what the formula needs beyond the shared sums, in `totals.close.further[name]`.
        schema: the JSON Schema of the value.
    """

    name: str
    formula: Callable[[LayerTotals], Value]
    unit: str
    better: Better
    zero: str
    source: str
    samples: Samples = "all"
    title: str = ""
    meaning: str = ""
    shown: Callable[[Any], str] = figure
    in_terminal: bool = False
    sums: SampleSums | None = None
    schema: Mapping[str, Any] = field(default_factory=lambda: _FIGURE)

    @property
    def can_be_limited(self) -> bool:
        """Whether a threshold can limit it: it is one number, and some of its values are better."""
        return self.better != "neither" and self.schema.get("type") == ["number", "null"]

    def value(self, totals: LayerTotals) -> Value:
        """The value over the samples that were summed up.

        Args:
            totals: the sums of a layer.

        Returns:
            The value; None if there is none, or if its own sums were not made.
        """
        if self.sums is not None and self.name not in totals.close.further:
            return None
        return self.formula(totals)

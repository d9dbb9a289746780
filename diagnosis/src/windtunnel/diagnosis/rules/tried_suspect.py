"""A suspect with the errors that were measured without and with its fix, and what can be read from them.

Two errors are measured, both as nRMSE: the isolated error of the suspect's layer, and the error of the model's worst
output. A rule decides by these judgments; none of them decides alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.kinds.constants import ConstantDiffers, ConstantFinding
from windtunnel.diagnosis.findings.kinds.ops import AttributeDiffers
from windtunnel.diagnosis.findings.kinds.ranges import CalibrationFinding, RangeFinding
from windtunnel.diagnosis.findings.kinds.scales import PerTensorTooCoarse
from windtunnel.diagnosis.static.suspect import Suspect
from windtunnel.diagnosis.thresholds.precision_thresholds import PRECISION_FLOOR
from windtunnel.diagnosis.thresholds.rule_thresholds import (
    CONSTANTS_COMPENSATE,
    DOUBTFUL_RANGE_BETTER,
    DOUBTFUL_RANGE_BETTER_BEHIND_FLOAT,
    LAYER_BETTER,
    LAYER_BETTER_BY_CODE,
    OUTPUT_BETTER,
    OUTPUT_DECIDED,
    OUTPUT_WORSE,
    SAME_ERROR,
    SHOWN_FLOORS,
    UNNOTICED_FLOORS,
)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fix does to the outputs.

    `gain`: how many times as large their error is without it, alone or on top of the other fixes; None if it is not
    known. `beyond`: the outputs' nRMSE before and after it on top of the others, if that shows more than it alone.
    `left`: the worst output's nRMSE with all fixes; None if it is not known. `changes`: whether any output moves.
    """

    gain: float | None
    beyond: tuple[float, float] | None = None
    left: float | None = None
    changes: bool = True

    def is_none(self, noise: float, quiet: float) -> bool:
        """Whether a difference has no more effect than noise.

        The error that is left without it is below `quiet`, or no output moves. While an output is off, the fix itself
        may be wrong.

        Args:
            noise: gain up to which an effect is noise.
            quiet: nRMSE of an output below which nothing is wrong.
        """
        if self.gain is None or self.left is None or self.gain > noise:
            return False
        return self.left < quiet or not self.changes


UNKNOWN: Final = Effect(None)


@dataclass(frozen=True, slots=True)
class TriedSuspect:
    """A suspect and the errors without and with its fix, on the same samples and kernels. None: not known.

    Attributes:
        suspect: the difference between the files, and its fix.
        precision: the coarser precision of the two models, a key of `PRECISION_FLOOR`.
        isolated_error: nRMSE of the suspect's layer on the reference's inputs.
        isolated_error_fixed: the same with the fix.
        output_error: nRMSE of the model's worst output, or of the one that the fix moves.
        output_error_fixed: the same with the fix.
        tried: whether the fix was run, or would have been if the file could be changed.
        effect: what the fix does to all outputs, alone and on top of the other fixes.
    """

    suspect: Suspect
    precision: str
    isolated_error: float | None
    isolated_error_fixed: float | None
    output_error: float | None = None
    output_error_fixed: float | None = None
    tried: bool = True
    effect: Effect = UNKNOWN

    @property
    def code(self) -> CauseCode:
        """The code of the cause that the suspect may be."""
        return self.suspect.code

    @property
    def floor(self) -> float:
        """The isolated error, as nRMSE, that the precision causes anyway."""
        return PRECISION_FLOOR[self.precision]

    @property
    def layer_improves(self) -> bool:
        """Whether the fix lowers the isolated error, by the factor that its code requires."""
        better = LAYER_BETTER_BY_CODE.get(self.code, LAYER_BETTER)
        return is_lower(self.isolated_error, self.isolated_error_fixed, better)

    @property
    def output_improves(self) -> bool:
        """Whether the fix lowers the output error, by more than `OUTPUT_BETTER`."""
        return is_lower(self.output_error, self.output_error_fixed, OUTPUT_BETTER)

    @property
    def fix_helps(self) -> bool:
        """Whether the fix lowers the isolated error or the output error."""
        return self.layer_improves or self.output_improves

    @property
    def output_is_decided(self) -> bool:
        """Whether the fix removes most of the output error."""
        return is_lower(self.output_error, self.output_error_fixed, OUTPUT_DECIDED)

    @property
    def output_worsens(self) -> bool:
        """Whether the fix raises the output error, by more than `OUTPUT_WORSE`."""
        return is_lower(self.output_error_fixed, self.output_error, OUTPUT_WORSE)

    @property
    def layer_worsens(self) -> bool:
        """Whether the fix raises the isolated error, by more than `CONSTANTS_COMPENSATE`."""
        return is_lower(self.isolated_error_fixed, self.isolated_error, CONSTANTS_COMPENSATE)

    @property
    def exceeds_precision(self) -> bool:
        """Whether the error is larger than the precision alone makes it, or the fix lowers the output error.

        An isolated error that could not be measured may be.
        """
        return self.isolated_error is None or self.isolated_error > self.floor * SHOWN_FLOORS or self.output_improves

    @property
    def is_unnoticed(self) -> bool:
        """Whether the isolated error is far below the precision, and the fix does not lower the output error."""
        small = self.isolated_error is not None and self.isolated_error < self.floor * UNNOTICED_FLOORS
        return small and not self.output_improves

    @property
    def output_stays(self) -> bool:
        """Whether the fix leaves the output error as it is."""
        return is_same(self.output_error, self.output_error_fixed)

    @property
    def all_stays(self) -> bool:
        """Whether the fix leaves the output error and the isolated error as they are."""
        return self.output_stays and is_same(self.isolated_error, self.isolated_error_fixed)

    @property
    def error_explained(self) -> float:
        """The error, as nRMSE, that this suspect explains: that of its layer, or what the output loses with the fix."""
        gain = (self.output_error or 0.0) - (self.output_error_fixed or 0.0) if self.output_improves else 0.0
        # The figure of a whole layer hardly shows what one scale does to small channels.
        return gain if self.code == CauseCode.PER_TENSOR else max(self.isolated_error or 0.0, gain)

    @property
    def is_range(self) -> bool:
        """Whether the suspect is a range that does not fit the samples."""
        return range_of(self.suspect) is not None

    @property
    def is_doubtful_range(self) -> bool:
        """Whether the suspect is a range that other samples may explain."""
        finding = self.suspect.finding
        return isinstance(finding, RangeFinding) and finding.is_doubtful

    @property
    def doubtful_range_is_confirmed(self) -> bool:
        """Whether the fix of a doubtful range lowers the output error enough; yes if that is not known."""
        if self.output_error is None or self.output_error_fixed is None:
            return True
        finding = self.suspect.finding
        behind_float = isinstance(finding, RangeFinding) and finding.follows_float
        least = DOUBTFUL_RANGE_BETTER_BEHIND_FLOAT if behind_float else DOUBTFUL_RANGE_BETTER
        return is_lower(self.output_error, self.output_error_fixed, least)

    @property
    def is_bound(self) -> bool:
        """Whether the suspect is a constant operand, such as the bound of a MINIMUM, and not a weight or a bias."""
        finding = self.suspect.finding
        return isinstance(finding, ConstantFinding) and finding.role == "operand"

    @property
    def changes_attribute(self) -> bool:
        """Whether the suspect is an op with another attribute."""
        return isinstance(self.suspect.finding, AttributeDiffers)

    @property
    def integer_steps(self) -> float | None:
        """How far the integers of a constant differ, in quantization steps; None if it is not such a suspect."""
        return integer_steps(self.suspect)

    @property
    def channel_unevenness(self) -> float:
        """The largest channel's range by the median one's, of weights with one scale; 0 if it is not such a suspect."""
        finding = self.suspect.finding
        return finding.largest_to_median_channel if isinstance(finding, PerTensorTooCoarse) else 0.0


def is_lower(error: float | None, fixed: float | None, times: float) -> bool:
    """Whether a fix lowers an error.

    Args:
        error: without the fix; None: not known.
        fixed: with the fix; None: not known.
        times: it must be more than so many times as large without the fix.

    Returns:
        False if one is not known.
    """
    return error is not None and fixed is not None and error > times * fixed


def is_same(one: float | None, other: float | None) -> bool:
    """Whether two errors are known and equal.

    Args:
        one: None: not known.
        other: None: not known.

    Returns:
        False if one is not known.
    """
    return one is not None and other is not None and math.isclose(one, other, rel_tol=SAME_ERROR)


def range_of(suspect: Suspect) -> RangeFinding | None:
    """The range that a suspect is about.

    Args:
        suspect: of any kind.

    Returns:
        The first of several; None if it is not about a range.
    """
    finding = suspect.finding
    if isinstance(finding, CalibrationFinding):
        return finding.first
    return finding if isinstance(finding, RangeFinding) else None


def integer_steps(suspect: Suspect) -> float | None:
    """How far the integers of a constant differ.

    Args:
        suspect: of any kind.

    Returns:
        In quantization steps; None if it is not such a suspect.
    """
    finding = suspect.finding
    return finding.largest_difference_steps if isinstance(finding, ConstantDiffers) else None

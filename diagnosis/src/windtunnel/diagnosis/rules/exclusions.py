"""What was looked for and is not there, and how that is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from windtunnel.diagnosis.findings.causes import Cause, Exclusion
from windtunnel.diagnosis.rules.diagnose import Diagnosis
from windtunnel.diagnosis.static.compare_files import StaticReport


def exclusions(
    report: StaticReport, causes: Sequence[Cause], diagnosis: Diagnosis, precision: str, lacking: int
) -> tuple[Exclusion, ...]:
    """What was looked for and is not there.

    Args:
        report: what the files show.
        causes: all causes that were found, those of kernels too.
        diagnosis: the suspects that were excluded, and the codes that are left open.
        precision: the coarser precision of the two models.
        lacking: how many ops of the reference have no match.

    Returns:
        At most one exclusion per kind of check, then the suspects that were excluded. None has the code of a cause.
    """
    named = {cause.code for cause in causes} | diagnosis.open_codes
    excluded = {one.code for one in diagnosis.excluded}
    found = [one for one in _checks(report, precision, lacking) if one.code not in excluded]
    return tuple(one for one in (*found, *diagnosis.excluded) if one.code not in named)


def _checks(report: StaticReport, precision: str, lacking: int) -> Iterator[Exclusion]:
    constants = report.constants
    if constants.compared:
        worst = (
            f"; the largest difference is {constants.worst:.2g} times what precision explains"
            if constants.worst
            else ""
        )
        unread = f"; {len(constants.unreadable)} could not be read" if constants.unreadable else ""
        why = f"{constants.compared} constants are the same within their precision{worst}{unread}"
        yield Exclusion("conversion.weights", why, rule="constants_agree")
    if not lacking:
        why = f"{report.ops} ops have the same kind, activation and attributes"
        yield Exclusion("conversion.op", why, rule="ops_agree")
    if precision == "integer":
        yield from _ranges(report)
        if not report.per_tensor:
            why = "no weights with a single scale have channels that lose two bits of precision to it"
            yield Exclusion("quantization.per_tensor", why, rule="scales_resolve_channels")


def _ranges(report: StaticReport) -> Iterator[Exclusion]:
    parameters = report.parameters
    if not parameters.looked_at:
        return
    spread = f"{parameters.least:.3g} to {parameters.largest:.3g} times in all"
    why = (
        f"the median of {parameters.looked_at} activation ranges is {parameters.middle:.3g} times the observed range, "
        f"{spread}; no single range that differs makes the output worse"
    )
    for code in ("calibration_clipped", "calibration_wide", "parameters"):
        yield Exclusion(f"quantization.{code}", why, rule="ranges_fit")

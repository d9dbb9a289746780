"""The state of a phone before and after a job, as conditions of its run."""

from __future__ import annotations

from windtunnel.farm_dispatcher.adapters.adb.readiness import MODERATE, PhoneState, parse_state
from windtunnel.run_conditions import RunConditions


def conditions_of(before: str, after: str) -> RunConditions | None:
    """The conditions of a run.

    Args:
        before: what the phone said of itself before the job.
        after: and after it.

    Returns:
        None: it said nothing.
    """
    first, last = parse_state(before), parse_state(after)
    if PhoneState() in (first, last):
        return None
    reason = _unstable(first, last)
    return RunConditions(
        unstable=bool(reason),
        reason=reason,
        battery_celsius_before=first.battery_celsius,
        battery_celsius_after=last.battery_celsius,
        thermal_status_before=_status(first),
        thermal_status_after=_status(last),
        cpu_khz_before=_clocks(first),
        cpu_khz_after=_clocks(last),
    )


def _status(state: PhoneState) -> str | None:
    return None if state.thermal_status is None else str(state.thermal_status)


def _clocks(state: PhoneState) -> str | None:
    """The clocks of the cores in kHz, in the order of the cores."""
    return " ".join(map(str, state.clock_khz)) or None


def _unstable(before: PhoneState, after: PhoneState) -> str:
    """Why the times are worthless: the phone was slowed down because of its heat."""
    for name, state in (("before", before), ("after", after)):
        if state.thermal_status is not None and state.thermal_status >= MODERATE:
            return f"the phone was slowed down by its heat: thermal status {state.thermal_status} {name} the job"
    return ""

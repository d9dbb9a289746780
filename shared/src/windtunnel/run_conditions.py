"""The conditions under which a device run was timed: one type for the farm that measures and the store that reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunConditions:
    """The conditions under which a device run was timed, and whether its figures can be trusted; None: not known.

    Attributes:
        other_load_cores: processor time of other processes, in cores.
        spread: interquartile range over the median of the times.
        drift: median of the last third of the times over that of the first third, minus 1.
        waited: share of their time that the measuring threads waited for a core.
        repeats: how often it was measured again because the figures were unstable.
        unstable: whether the figures are worthless, and `reason` why.
        battery_celsius_before: temperature of the battery before the run; `battery_celsius_after` after it.
        thermal_status_before: thermal status as the phone prints it; `thermal_status_after` likewise.
        cpu_khz_before: clocks of the cores in kHz as the phone prints them; `cpu_khz_after` likewise.
    """

    other_load_cores: float | None = None
    spread: float | None = None
    drift: float | None = None
    waited: float | None = None
    repeats: int = 0
    unstable: bool = False
    reason: str = ""
    battery_celsius_before: float | None = None
    battery_celsius_after: float | None = None
    thermal_status_before: str | None = None
    thermal_status_after: str | None = None
    cpu_khz_before: str | None = None
    cpu_khz_after: str | None = None

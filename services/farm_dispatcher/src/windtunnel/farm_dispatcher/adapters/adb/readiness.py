"""Whether a phone may run a job now, and its state while it did: what `dumpsys` and sysfs say."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings

READY_COMMAND: Final = "dumpsys battery 2>/dev/null; dumpsys thermalservice 2>/dev/null; true"
# android.os.PowerManager: 0 none, 1 light, 2 moderate, 3 severe, 4 critical, 5 emergency, 6 shutdown.
MODERATE: Final = 2
_BATTERY: Final = re.compile(r"^\s*(level|scale|temperature): (-?\d+)\s*$", re.MULTILINE)
# A board without a battery reports a level and a temperature all the same.
_NO_BATTERY: Final = re.compile(r"^\s*present: false\s*$", re.MULTILINE)
_STATUS: Final = re.compile(r"^Thermal Status: (\d+)\s*$", re.MULTILINE)
_HAL: Final = re.compile(r"Temperature\{mValue=(-?[\d.]+), mType=(\d+), mName=([^,]*), mStatus=(\d+)\}")
_CLOCK: Final = re.compile(
    r"/cpu(\d+)/cpufreq/(scaling_cur_freq|scaling_max_freq|cpuinfo_max_freq) (\d+)\s*$", re.MULTILINE
)
_CPU_SENSOR: Final = "0"


@dataclass(frozen=True, slots=True)
class PhoneState:
    """The state of a phone at one moment; None: not known.

    `clock_khz` and `limit_khz` by core: its clock, and the highest that is allowed now over the highest that it has.
    """

    battery_percent: int | None = None
    battery_celsius: float | None = None
    thermal_status: int | None = None
    cpu_celsius: float | None = None
    clock_khz: tuple[int, ...] = ()
    limit_share: float | None = None


def parse_state(text: str) -> PhoneState:
    """Reads what `dumpsys battery`, `dumpsys thermalservice` and the files of cpufreq say.

    Args:
        text: all of them, one after the other.

    Returns:
        The state.
    """
    battery = {} if _NO_BATTERY.search(text) else {name: int(value) for name, value in _BATTERY.findall(text)}
    status = _STATUS.search(text)
    sensors = [float(value) for value, kind, _, _ in _HAL.findall(text) if kind == _CPU_SENSOR]
    clocks = {(int(core), name): int(value) for core, name, value in _CLOCK.findall(text)}
    cores = sorted({core for core, _ in clocks})
    limits = [
        clocks[core, "scaling_max_freq"] / clocks[core, "cpuinfo_max_freq"]
        for core in cores
        if (core, "scaling_max_freq") in clocks and clocks.get((core, "cpuinfo_max_freq"), 0) > 0
    ]
    heat = battery.get("temperature")
    return PhoneState(
        battery_percent=_percent(battery),
        battery_celsius=None if heat is None else heat / 10,
        thermal_status=int(status[1]) if status else None,
        cpu_celsius=max(sensors, default=None),
        clock_khz=tuple(clocks[core, "scaling_cur_freq"] for core in cores if (core, "scaling_cur_freq") in clocks),
        limit_share=min(limits, default=None),
    )


def _percent(battery: dict[str, int]) -> int | None:
    if "level" not in battery:
        return None
    scale = battery.get("scale", 100)
    return round(100 * battery["level"] / scale) if scale > 0 else None


def why_not_ready(state: PhoneState, settings: AdbSettings) -> str:
    """Why a phone must wait.

    Args:
        state: of the phone.
        settings: of the farm.

    Returns:
        Empty: it need not wait. What is not known does not count.
    """
    percent, celsius, status = state.battery_percent, state.battery_celsius, state.thermal_status
    if percent is not None and percent < settings.min_battery_percent:
        return f"battery at {percent} %, below {settings.min_battery_percent} %"
    if celsius is not None and celsius > settings.max_celsius:
        return f"battery at {celsius:g} C, above {settings.max_celsius:g} C"
    if status is not None and status >= MODERATE:
        return f"thermal status {status}"
    return ""

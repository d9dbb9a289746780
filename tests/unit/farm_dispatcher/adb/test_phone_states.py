"""What phones print of themselves, in the wordings of several makers and versions."""

from __future__ import annotations

from decimal import Decimal

import pytest

from windtunnel.farm_dispatcher.adapters.adb.conditions import conditions_of
from windtunnel.farm_dispatcher.adapters.adb.phone_facts import parse_facts
from windtunnel.farm_dispatcher.adapters.adb.readiness import PhoneState, parse_state, why_not_ready
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings

BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Max charging current: 500000
  status: 2
  health: 2
  present: true
  level: {level}
  scale: {scale}
  voltage: 4293
  temperature: {heat}
  technology: Li-ion
"""
THERMAL = """IsStatusOverride: false
Thermal Status: {status}
Cached temperatures:
 Temperature{{mValue=99.9, mType=3, mName=skin, mStatus=0}}
HAL Ready: true
Current temperatures from HAL:
\tTemperature{{mValue=38.9, mType=0, mName=BIG, mStatus=0}}
\tTemperature{{mValue=-1.5, mType=0, mName=LITTLE, mStatus=0}}
\tTemperature{{mValue=28.5, mType=2, mName=battery, mStatus=0}}
Current cooling devices from HAL:
"""
CLOCKS = """/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq 1704000
/sys/devices/system/cpu/cpu10/cpufreq/scaling_cur_freq 2914000
/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq 1704000
/sys/devices/system/cpu/cpu10/cpufreq/scaling_max_freq 1457000
/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq 1704000
/sys/devices/system/cpu/cpu10/cpufreq/cpuinfo_max_freq 2914000
/sys/devices/system/cpu/cpu4/cpufreq/cpuinfo_max_freq
"""
SETTINGS = AdbSettings(name="bench")


def text(level: int = 87, scale: int = 100, heat: int = 285, status: int = 0) -> str:
    return BATTERY.format(level=level, scale=scale, heat=heat) + THERMAL.format(status=status)


def test_the_state_of_a_phone() -> None:
    assert parse_state(text() + CLOCKS) == PhoneState(87, 28.5, 0, 38.9, (1704000, 2914000), 0.5)


def test_what_is_not_told_is_not_known() -> None:
    assert parse_state("Can't find service: thermalservice\ncat: Permission denied\n") == PhoneState()
    assert parse_state("  level: 5\n  scale: 0\n") == PhoneState()
    assert why_not_ready(PhoneState(), SETTINGS) == ""


@pytest.mark.parametrize(
    ("printed", "why"),
    [
        (text(), ""),
        (text(level=20), ""),
        (text(level=19), "battery at 19 %, below 20 %"),
        (text(level=38, scale=200), "battery at 19 %, below 20 %"),
        (text(heat=400), ""),
        (text(heat=401), "battery at 40.1 C, above 40 C"),
        (text(heat=-50), ""),
        (text(level=0, heat=900).replace("present: true", "present: false"), ""),
        (text(status=1), ""),
        (text(status=2), "thermal status 2"),
    ],
)
def test_when_a_phone_must_wait(printed: str, why: str) -> None:
    assert why_not_ready(parse_state(printed), SETTINGS) == why


def test_times_of_a_phone_that_was_slowed_down_are_worthless() -> None:
    quiet, hot = text(), text(status=2)
    assert conditions_of("", quiet) is None
    found = [conditions_of(before, after) for before, after in ((quiet, quiet), (hot, quiet), (quiet, hot))]
    assert [one and one.unstable for one in found] == [False, True, True]


def test_heat_and_clocks_are_recorded_on_both_sides() -> None:
    found = conditions_of(text() + CLOCKS, text(heat=312, status=1))
    assert found is not None
    assert (found.battery_celsius_before, found.battery_celsius_after) == (28.5, 31.2)
    assert (found.thermal_status_before, found.thermal_status_after) == ("0", "1")
    assert (found.cpu_khz_before, found.cpu_khz_after) == ("1704000 2914000", None)


FACTS = """[ro.product.model]: [SM-S911B]
[ro.product.manufacturer]: [samsung]
[ro.build.version.release]: [14]
[ro.build.version.sdk]: [34]
[ro.build.characteristics]: [{kind}]
[ro.product.cpu.abilist]: [arm64-v8a,armeabi-v7a,armeabi]
[ro.soc.model]: [SM8550]
[ro.soc.manufacturer]: [QTI]
[ro.kernel.qemu]: [{qemu}]
[persist.odd]: [a]: [b]
MemTotal:        7524096 kB
MemFree:          123456 kB
cores 0-7
has /vendor/lib64/libOpenCL.so
"""


def test_the_facts_of_a_phone() -> None:
    facts = parse_facts(FACTS.format(kind="phone", qemu="0"))
    device = facts.device("bench", {"physical": Decimal("0.1")}, available=True)
    assert (device.name, device.title, device.maker) == ("SM-S911B", "samsung SM-S911B", "samsung")
    assert (device.platform, device.os_version, device.kind, device.form_factor) == (
        "android",
        "14",
        "physical",
        "phone",
    )
    assert (device.soc, device.abis[0], device.accelerators) == ("SM8550", "arm64-v8a", ("xnnpack", "cpu", "gpu"))
    assert (device.facts.cores, device.facts.memory_bytes, device.facts.cpu) == (8, 7524096 << 10, "QTI SM8550")
    assert device.price_per_minute_usd == Decimal("0.1")


def test_emulators_and_tablets_are_told() -> None:
    device = parse_facts(FACTS.format(kind="tablet,nosdcard", qemu="1")).device("bench", {}, available=False)
    assert (device.kind, device.form_factor, device.available) == ("virtual", "tablet", False)


def test_a_phone_that_says_nothing_has_no_facts() -> None:
    device = parse_facts("").device("bench", {}, available=True)
    assert (device.name, device.os_version, device.soc, device.abis) == ("unknown", "", "", ())
    assert (device.facts.cores, device.facts.memory_bytes) == (None, None)

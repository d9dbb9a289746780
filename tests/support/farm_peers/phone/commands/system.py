"""Properties, settings, power, temperatures, radios: what the phone says of itself and lets be changed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from pathlib import Path

from support.farm_peers.phone.calls import Call, Command
from support.farm_peers.phone.state import PhoneState
from support.farm_peers.phone.system_root import write_kernel_files

_STAY_ON = {"true": "15", "usb": "2", "ac": "1", "wireless": "4", "dock": "8", "false": "0"}
_KEYS = {"26": "POWER", "223": "SLEEP", "224": "WAKEUP", "82": "MENU", "3": "HOME"}


class SystemCommands:
    """The commands over one phone's state. `reboot` starts the phone again."""

    def __init__(self, root: Path, state: PhoneState, reboot: Callable[[], None]) -> None:
        self._root = root
        self._state = state
        self._reboot = reboot

    def table(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {
            "getprop": self._getprop,
            "setprop": lambda call: 0,
            "settings": self._settings,
            "dumpsys": self._dumpsys,
            "svc": self._svc,
            "input": self._input,
            "wm": self._wm,
            "df": self._df,
            "reboot": self._restart,
        }

    def connectivity(self, call: Call) -> int:
        """`cmd connectivity airplane-mode`, which Android 11 brought."""
        words = call.arguments[2:]
        if self._state.sdk < 30 or words[:1] != ["airplane-mode"]:
            call.out("Unknown command\n")
            return 255
        if len(words) == 1:
            call.out("enabled\n" if self._state.airplane else "disabled\n")
        elif words[1] in ("enable", "disable"):
            self._state.airplane = words[1] == "enable"
            self._state.settings["global", "airplane_mode_on"] = str(int(self._state.airplane))
        return 0

    def _getprop(self, call: Call) -> int:
        if len(call.arguments) > 1:
            found = self._state.properties.get(call.arguments[1], call.arguments[2] if len(call.arguments) > 2 else "")
            call.out(f"{found}\n")
        else:
            call.out("".join(f"[{name}]: [{value}]\n" for name, value in sorted(self._state.properties.items())))
        return 0

    def _settings(self, call: Call) -> int:
        words = call.arguments[1:]
        if len(words) >= 3 and words[0] == "get":
            call.out(f"{self._state.settings.get((words[1], words[2]), 'null')}\n")
        elif len(words) >= 4 and words[0] == "put":
            if words[2] in self._state.faults.put_fails:
                call.err(f"java.lang.SecurityException: cannot write {words[2]}\n")
                return 255
            self._state.settings[words[1], words[2]] = words[3]
        elif len(words) >= 3 and words[0] == "delete":
            deleted = self._state.settings.pop((words[1], words[2]), None)
            call.out(f"Deleted {int(deleted is not None)} rows\n")
        else:
            call.err("Invalid command\n")
            return 255
        return 0

    def _dumpsys(self, call: Call) -> int:
        wanted = call.arguments[1] if len(call.arguments) > 1 else ""
        tell = {"battery": self._battery, "thermalservice": self._thermal, "power": self._power}.get(wanted)
        if tell is None or (wanted == "thermalservice" and self._state.sdk < 29):
            call.err(f"Can't find service: {wanted}\n")
            return 0
        call.out(tell())
        return 0

    def _battery(self) -> str:
        battery = self._state.battery
        return (
            "Current Battery Service state:\n  AC powered: false\n"
            f"  USB powered: {str(battery.powered).lower()}\n  Wireless powered: false\n  Dock powered: false\n"
            "  Max charging current: 500000\n  Max charging voltage: 5000000\n  Charge counter: 3567000\n"
            f"  status: {2 if battery.powered else 3}\n  health: 2\n"
            f"  present: {str(battery.present).lower()}\n"
            f"  level: {battery.level}\n"
            f"  scale: 100\n  voltage: 4293\n  temperature: {round(battery.celsius * 10)}\n  technology: Li-ion\n"
        )

    def _thermal(self) -> str:
        state = self._state
        skin = f"\tTemperature{{mValue={state.skin_celsius}, mType=3, mName=VIRTUAL-SKIN, "
        skin += f"mStatus={state.thermal_status}}}\n"
        return (
            "IsStatusOverride: false\nThermalEventListeners:\n\tcallbacks: 1\n\tkilled: false\n\tbroadcasts count: -1\n"
            f"Thermal Status: {state.thermal_status}\nCached temperatures:\n{skin}HAL Ready: true\nHAL connection:\n"
            "\tThermalHAL 2.0 connected: yes\nCurrent temperatures from HAL:\n"
            f"\tTemperature{{mValue={state.cpu_celsius}, mType=0, mName=BIG, mStatus=0}}\n"
            f"\tTemperature{{mValue={state.battery.celsius}, mType=2, mName=battery, mStatus=0}}\n{skin}"
            "Current cooling devices from HAL:\n\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}\n"
        )

    def _power(self) -> str:
        awake = self._state.screen_on
        stays = self._state.settings.get(("global", "stay_on_while_plugged_in"), "0") != "0"
        return (
            "POWER MANAGER (dumpsys power)\n\nPower Manager State:\n"
            f"  mWakefulness={'Awake' if awake else 'Asleep'}\n"
            f"  mIsPowered={str(self._state.battery.powered).lower()}\n"
            f"  mStayOn={str(stays).lower()}\n  mHoldingDisplaySuspendBlocker={str(awake).lower()}\n"
            f"Display Power: state={'ON' if awake else 'OFF'}\n"
        )

    def _svc(self, call: Call) -> int:
        words = call.arguments[1:]
        if words[:2] == ["power", "stayon"] and len(words) == 3 and words[2] in _STAY_ON:
            self._state.settings["global", "stay_on_while_plugged_in"] = _STAY_ON[words[2]]
            self._state.screen_on = self._state.screen_on or words[2] != "false"
        elif words[:1] in (["wifi"], ["data"], ["bluetooth"]) and words[1:] in (["enable"], ["disable"]):
            self._state.settings["global", f"{words[0]}_on"] = str(int(words[1] == "enable"))
        else:
            call.err(f"svc: unknown {shlex.join(words)}\n")
            return 1
        return 0

    def _input(self, call: Call) -> int:
        if call.arguments[1:2] == ["keyevent"]:
            for word in call.arguments[2:]:
                self._press(_KEYS.get(word, word.removeprefix("KEYCODE_")))
        return 0

    def _press(self, key: str) -> None:
        if key == "WAKEUP":
            self._state.screen_on = True
        elif key == "SLEEP":
            self._state.screen_on = False
        elif key == "POWER":
            self._state.screen_on = not self._state.screen_on
        elif key == "MENU" and self._state.screen_on:
            self._state.keyguard = False

    def _wm(self, call: Call) -> int:
        if call.arguments[1:] == ["dismiss-keyguard"] and self._state.screen_on:
            self._state.keyguard = False
        elif call.arguments[1:] == ["size"]:
            call.out("Physical size: 1080x2400\n")
        return 0

    def _df(self, call: Call) -> int:
        free, total = self._state.free_bytes >> 10, 110 << 20
        call.out("Filesystem     1K-blocks     Used Available Use% Mounted on\n")
        used = total - free
        call.out(f"/dev/block/dm-44 {total} {used} {free} {100 * used // total:3d}% /data/user/0\n")
        return 0

    def _restart(self, call: Call) -> int:
        del call
        self._reboot()
        return 0

    def refresh(self) -> None:
        """Writes what /proc and /sys say after a change."""
        write_kernel_files(self._root, self._state)

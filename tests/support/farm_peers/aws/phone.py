"""A folder as a phone, and the `adb` that acts on it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Folders that every phone has; the fake shell finds them below the phone's own folder.
ROOTS: Final = ("/data/local/tmp", "/sdcard")

_ADB = r"""#!/bin/sh
# adb for one phone, which is a folder: enough of it for push, pull, shell, install, logcat, wait-for-device.
phone=@PHONE@
printf '%s\n' "$*" >> "$phone/adb.log"
serial=${ANDROID_SERIAL:-}
while [ $# -gt 0 ]; do
  case "$1" in
    -s) serial=$2; shift 2;;
    -d|-e) shift;;
    *) break;;
  esac
done
[ -z "$serial" ] || [ "$serial" = @UDID@ ] || { echo "adb: device '$serial' not found" >&2; exit 1; }
[ ! -e "$phone/gone" ] || { echo "adb: device '$serial' not found" >&2; exit 1; }
here() { printf '%s' "$1" | sed -e "s#/data/local/tmp#$phone/data/local/tmp#g" -e "s#/sdcard#$phone/sdcard#g"; }
command=${1:-}; [ $# -eq 0 ] || shift
case "$command" in
  push)
    [ "${1:-}" != -p ] || shift
    target=$(here "$2")
    case "$2" in
      /data/local/tmp*|/sdcard*) ;;
      *) echo "adb: error: failed to copy: remote Permission denied" >&2; exit 1;;
    esac
    [ ! -d "$target" ] || target="$target/$(basename "$1")"
    mkdir -p "$(dirname "$target")" && cp "$1" "$target" || exit 1
    chmod 644 "$target"
    if [ -s "$phone/damage" ]; then
      left=$(cat "$phone/damage"); rm "$phone/damage"
      [ "$left" -le 1 ] || echo $((left - 1)) > "$phone/damage"
      printf 'x' >> "$target"
    fi
    printf '%s %s\n' "$(sha256sum < "$target" | cut -c1-64)" "$2" >> "$phone/received"
    echo "$1: 1 file pushed, 0 skipped.";;
  pull)
    source=$(here "$1")
    [ -e "$source" ] || { echo "adb: error: failed to stat remote object '$1': No such file or directory" >&2; exit 1; }
    cp -R "$source" "${2:-.}" && echo "$1: 1 file pulled, 0 skipped.";;
  shell)
    while [ "${1:-}" = -n ] || [ "${1:-}" = -T ] || [ "${1:-}" = -x ]; do shift; done
    cd "$phone" || exit 1
    PATH="$phone/bin:/usr/bin:/bin" WINDTUNNEL_PHONE="$phone" /bin/sh -c "$(here "$*")" < /dev/null;;
  install|install-multiple)
    for last in "$@"; do :; done
    case "$last" in *.apk) ;; *) echo "adb: filename doesn't end .apk: $last" >&2; exit 1;; esac
    printf '%s %s\n' "$(sha256sum < "$last" | cut -c1-64)" "$(basename "$last")" >> "$phone/installed"
    echo "Performing Streamed Install"; echo Success;;
  uninstall) echo Success;;
  logcat)
    case "$*" in *-c*) : > "$phone/logcat";; *) cat "$phone/logcat";; esac;;
  devices) printf 'List of devices attached\n%s\tdevice\n' @UDID@;;
  get-state) echo device;;
  wait-for-device|root|remount|start-server) ;;
  *) echo "adb: unknown command $command" >&2; exit 1;;
esac
"""

_TOOLS: Final = {
    "getprop": 'case "${1:-}" in ro.build.version.release) echo @OS@;; ro.product.model) echo "@MODEL@";; '
    'ro.product.cpu.abi) echo arm64-v8a;; ro.soc.model) echo "Tensor G3";; *) echo "";; esac',
    "dumpsys": 'case "${1:-}" in battery) printf "Current Battery Service state:\\n  AC powered: false\\n'
    '  level: 87\\n  temperature: %s\\n" "$(cat "$WINDTUNNEL_PHONE/temperature")";; '
    'thermalservice) echo "Thermal Status: $(cat "$WINDTUNNEL_PHONE/thermal")";; esac',
    "logcat": 'case "$*" in *-c*) : > "$WINDTUNNEL_PHONE/logcat";; *) cat "$WINDTUNNEL_PHONE/logcat";; esac',
    "pidof": "exit 1",
    "pm": "echo Success",
    "settings": "true",
    "am": '"@PYTHON@" "$WINDTUNNEL_PHONE/am.py" "$WINDTUNNEL_PHONE" "$@"',
}

_AM = '''"""`am start` and `am instrument`: writes what the app would log."""
import pathlib
import sys

phone, words = pathlib.Path(sys.argv[1]), sys.argv[2:]
with (phone / "am.log").open("a") as log:
    log.write(" ".join(words) + "\\n")
said = (phone / "app.log").read_text() if (phone / "app.log").exists() else ""
with (phone / "logcat").open("a") as logcat:
    for line in said.splitlines():
        logcat.write(f"10-05 12:00:01.234  4321  4321 I tflite  : {line}\\n")
if "instrument" in words:
    print("INSTRUMENTATION_CODE: -1")
else:
    print("Starting: Intent { }")
'''


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone below `folder`."""

    folder: Path
    udid: str

    @property
    def adb(self) -> Path:
        """The folder with its `adb`, for PATH."""
        return self.folder / "host-bin"

    def received(self) -> list[tuple[str, str]]:
        """(sha256, path on the phone) of every file that was pushed, in order."""
        return self._pairs("received")

    def installed(self) -> list[tuple[str, str]]:
        """(sha256, name) of every package that was installed through adb."""
        return self._pairs("installed")

    def logcat(self) -> str:
        return (self.folder / "logcat").read_text()

    def _pairs(self, name: str) -> list[tuple[str, str]]:
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line[:64], line[65:]) for line in lines]


def make_phone(
    folder: Path,
    udid: str,
    *,
    os: str,
    model: str,
    temperature: int = 301,
    thermal_status: int = 0,
    app_log: str = "",
    damaged_pushes: int = 0,
) -> Phone:
    """A new phone.

    Args:
        folder: that is the phone.
        udid: its serial.
        os: version.
        model: its name.
        temperature: of the battery, in tenths of a degree.
        thermal_status: as Android counts it.
        app_log: what an app logs when it is started.
        damaged_pushes: how many files arrive with a byte too many.
    """
    for root in ROOTS:
        (folder / root[1:]).mkdir(parents=True)
    values = {"@PHONE@": shlex.quote(str(folder)), "@UDID@": udid, "@OS@": os, "@MODEL@": model}
    values["@PYTHON@"] = sys.executable
    _script(folder / "host-bin" / "adb", _ADB, values)
    for name, text in _TOOLS.items():
        _script(folder / "bin" / name, f"#!/bin/sh\n{text}\n", values)
    (folder / "thermal").write_text(f"{thermal_status}\n")
    (folder / "temperature").write_text(f"{temperature}\n")
    (folder / "logcat").write_text("--------- beginning of main\n")
    (folder / "am.py").write_text(_AM)
    if app_log:
        (folder / "app.log").write_text(app_log)
    if damaged_pushes:
        (folder / "damage").write_text(str(damaged_pushes))
    return Phone(folder, udid)


def _script(path: Path, text: str, values: dict[str, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    for name, value in values.items():
        text = text.replace(name, value)
    path.write_text(text)
    path.chmod(0o755)

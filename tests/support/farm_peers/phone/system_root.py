"""The phone's file system: a private folder with Android's paths, its shell and its commands."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from support.farm_peers.phone.programs import libraries, phonecall
from support.farm_peers.phone.state import PhoneState

SHELL_USER = 2000
# Real programs, as on a phone; what the phone itself answers is in `commands`.
_TOYBOX = """
basename cat chmod cksum cmp cp cut date dd dirname du echo env expr false file find grep head hostname id
ln ls md5sum mkdir mkfifo mktemp mv nice nohup od paste printenv printf pwd readlink realpath rm rmdir sed seq
setsid sha1sum sha256sum sha512sum sleep sort split stat strings sync tail tar tee test time timeout touch tr
true truncate uname uniq wc which whoami xargs xxd yes
"""
WRITABLE = ("/data/local/tmp", "/sdcard")
_FOLDERS = ("/system/bin", "/dev/socket", "/data/app", "/data/data", "/proc/sys/kernel/random", "/vendor/lib64", "/tmp")


def build_root(folder: Path, state: PhoneState, answered: tuple[str, ...]) -> None:
    """Fills an empty folder. `answered` are the commands that the phone answers."""
    for path in (*_FOLDERS, *WRITABLE):
        inside(folder, path).mkdir(parents=True, exist_ok=True)
    for name in ("mksh", "toybox"):
        program = Path(shutil.which(name) or name).resolve()
        for library in libraries(program):
            _copy(library.resolve(), inside(folder, str(library)))
        _copy(program, folder / "system" / "bin" / name)
    programs = folder / "system" / "bin"
    (programs / "sh").symlink_to("mksh")
    for name in _TOYBOX.split():
        (programs / name).symlink_to("toybox")
    _copy(phonecall(), programs / "phonecall")
    for name in answered:
        (programs / name).symlink_to("phonecall")
    (folder / "bin").symlink_to("system/bin")
    _devices(folder)
    for path in WRITABLE:
        _give_to_shell(inside(folder, path))
    write_kernel_files(folder, state)


def inside(folder: Path, path: str) -> Path:
    """The file of this host that is `path` of the phone; never outside of its folder."""
    return folder / os.path.normpath("/" + path).lstrip("/")


def new_boot(folder: Path) -> None:
    """A new boot id, as after each start."""
    boot = inside(folder, "/proc/sys/kernel/random/boot_id")
    boot.parent.mkdir(parents=True, exist_ok=True)
    boot.write_text(f"{uuid.uuid4()}\n")


def write_kernel_files(folder: Path, state: PhoneState) -> None:
    """What /proc and /sys say of processors and temperatures now."""
    files: dict[str, str] = {
        "/proc/meminfo": f"MemTotal:  {state.memory_bytes >> 10} kB\nMemFree:  {state.memory_bytes >> 12} kB\n"
        f"MemAvailable:  {state.memory_bytes >> 11} kB\n",
        "/etc/passwd": "root:x:0:0::/:/system/bin/sh\nshell:x:2000:2000::/:/system/bin/sh\n",
        "/etc/group": "root:x:0:\nshell:x:2000:\n",
        "/proc/loadavg": "0.52 0.40 0.31 2/3541 12345\n",
        "/proc/cpuinfo": "".join(f"processor\t: {core}\nCPU part\t: 0xd05\n\n" for core in range(state.cores)),
        "/sys/devices/system/cpu/possible": f"0-{state.cores - 1}\n",
        "/sys/devices/system/cpu/online": f"0-{state.cores - 1}\n",
    }
    for core in range(state.cores):
        cpufreq = f"/sys/devices/system/cpu/cpu{core}/cpufreq"
        files |= {
            f"{cpufreq}/scaling_cur_freq": f"{state.clock_khz}\n",
            f"{cpufreq}/scaling_max_freq": f"{state.clock_limit_khz}\n",
            f"{cpufreq}/scaling_min_freq": "300000\n",
            f"{cpufreq}/cpuinfo_max_freq": f"{state.clock_max_khz}\n",
            f"{cpufreq}/cpuinfo_min_freq": "300000\n",
            f"{cpufreq}/scaling_governor": "sched_pixel\n",
            f"{cpufreq}/stats/time_in_state": f"300000 81234\n{state.clock_max_khz} 4321\n",
        }
    for path, text in files.items():
        target = inside(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy2(source, target)
        target.chmod(0o755)


def _devices(folder: Path) -> None:
    for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
        path = folder / "dev" / name
        try:
            os.mknod(path, 0o666 | 0o020000, os.makedev(1, minor))
        except PermissionError:
            path.touch()
        path.chmod(0o666)


def _give_to_shell(path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(path, SHELL_USER, SHELL_USER)
    path.chmod(0o775)

"""What a fake phone is and how it is at the moment. Tests change it while the phone runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

PIXEL_8: Mapping[str, str] = {
    "ro.product.model": "Pixel 8",
    "ro.product.manufacturer": "Google",
    "ro.product.brand": "google",
    "ro.product.name": "shiba",
    "ro.product.device": "shiba",
    "ro.build.version.release": "15",
    "ro.build.version.sdk": "35",
    "ro.build.fingerprint": "google/shiba/shiba:15/AP4A.250105.002/12701944:user/release-keys",
    "ro.build.characteristics": "nosdcard",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a",
    "ro.soc.model": "Tensor G3",
    "ro.soc.manufacturer": "Google",
    "ro.hardware": "shiba",
    "ro.board.platform": "zuma",
    "ro.kernel.qemu": "",
    "sys.boot_completed": "1",
}
OLD_PHONE: Mapping[str, str] = {
    **PIXEL_8,
    "ro.product.model": "Nexus 5",
    "ro.product.manufacturer": "LGE",
    "ro.product.device": "hammerhead",
    "ro.build.version.release": "6.0.1",
    "ro.build.version.sdk": "23",
    "ro.product.cpu.abi": "armeabi-v7a",
    "ro.product.cpu.abilist": "armeabi-v7a,armeabi",
    "ro.soc.model": "",
    "ro.soc.manufacturer": "",
    "ro.board.platform": "msm8974",
}
MODERN = ("shell_v2", "cmd", "stat_v2", "ls_v2", "fixed_push_mkdir", "apex", "fixed_push_symlink_timestamp")
# Before Android 7 there was none of them.
ANCIENT: tuple[str, ...] = ()


@dataclass
class Battery:
    """As in `dumpsys battery`."""

    level: int = 87
    celsius: float = 28.5
    powered: bool = True
    present: bool = True


@dataclass
class Faults:
    """What goes wrong; each can be switched on and off at any time.

    `benchmark`: "" or how a benchmark ends: segv, oom, abort, exit, no_summary. `install`: the code that the package
    manager answers with. `put_fails`: settings that cannot be written. `send_stops_after`: bytes, then the cable is
    pulled. `pace`: seconds that each packet takes.
    """

    benchmark: str = ""
    install: str = ""
    put_fails: tuple[str, ...] = ()
    send_stops_after: int | None = None
    damaged_push: bool = False
    mode_lost: bool = False
    pace: float = 0.0


@dataclass
class PhoneState:
    """The phone now."""

    properties: dict[str, str] = field(default_factory=lambda: dict(PIXEL_8))
    features: tuple[str, ...] = MODERN
    battery: Battery = field(default_factory=Battery)
    faults: Faults = field(default_factory=Faults)
    # android.os.PowerManager's THERMAL_STATUS: 0 none, 1 light, 2 moderate, 3 severe ...
    thermal_status: int = 0
    skin_celsius: float = 31.2
    cpu_celsius: float = 38.9
    cores: int = 9
    memory_bytes: int = 8 << 30
    clock_khz: int = 1_704_000
    clock_limit_khz: int = 2_914_000
    clock_max_khz: int = 2_914_000
    free_bytes: int = 40 << 30
    screen_on: bool = True
    keyguard: bool = False
    airplane: bool = False
    settings: dict[tuple[str, str], str] = field(default_factory=dict)
    # What ran: the arguments of each benchmark.
    benchmarks: list[tuple[str, ...]] = field(default_factory=list)
    pushes: list[str] = field(default_factory=list)
    # Called after each push.
    on_push: Callable[[], object] = lambda: None
    # Cleared: benchmarks stop after their first lines until it is set.
    may_finish: threading.Event = field(default_factory=threading.Event)
    # Set as soon as a benchmark has printed its first lines.
    started: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_finish.set()

    @property
    def sdk(self) -> int:
        return int(self.properties["ro.build.version.sdk"])

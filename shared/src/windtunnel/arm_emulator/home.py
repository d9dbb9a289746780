"""Where the ARM64 system lies, and what is missing of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.cache_folders import cache_folder

# Later ones end with a segmentation fault under qemu-user 7.2.
LITERT: Final = "2.1.0"
NUMPY: Final = "2.3.5"
# `max` is left out on purpose: XNNPACK gives wrong numbers on it.
CPUS: Final = ("cortex-a53", "cortex-a76")
SETUP: Final = "windtunnel arm setup"
# Changes whenever the recipe of the system does: an older one is then built again.
_RECIPE: Final = "1"


@dataclass(frozen=True, slots=True)
class ArmHome:
    """Paths of the emulated system under one folder. `root` is there whole or not at all."""

    folder: Path

    @property
    def root(self) -> Path:
        """What the emulated program takes for `/lib` and `/usr`."""
        return self.folder / f"root-{_RECIPE}-litert-{LITERT}"

    @property
    def site(self) -> Path:
        """The Python packages inside."""
        return self.root / "opt" / "windtunnel"

    @property
    def python(self) -> Path | None:
        """The ARM64 Python; None if there is none."""
        found = sorted((self.root / "usr" / "bin").glob("python3.?*"))
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that the ARM64 kernels need and this machine lacks, and what to do."""

    what: str
    todo: str


def in_words(lacking: Sequence[Missing]) -> tuple[str, str]:
    """What is missing, for messages.

    Args:
        lacking: at least one.

    Returns:
        What is missing, and what to run.
    """
    return " and ".join(one.what for one in lacking), "; ".join(one.todo for one in lacking)


def default_home() -> ArmHome:
    """Returns the system in this user's cache folder, by default `~/.cache/windtunnel/arm`."""
    return ArmHome(cache_folder("arm"))


def qemu() -> str | None:
    """The user-mode emulator on the PATH, or None."""
    return shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")


def missing(home: ArmHome | None = None) -> Sequence[Missing]:
    """What is missing before ARM64 kernels can run here.

    Args:
        home: of the ARM64 system; None: the default one.

    Returns:
        Empty: nothing.
    """
    home = home or default_home()
    found = []
    if qemu() is None:
        found.append(Missing("qemu-aarch64 (user-mode emulation)", "apt-get install qemu-user"))
    if home.python is None or not (home.site / "ai_edge_litert").is_dir():
        found.append(Missing(f"the ARM64 system in {home.root}", SETUP))
    return found

"""The emulated ARM64 system, built where that can be done."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

import pytest

from windtunnel.arm_emulator import ArmHome, build, default_home, missing
from windtunnel.errors import WindtunnelError


@cache
def arm_system() -> ArmHome:
    """The system in the user's cache; skips, saying why, where it cannot be made."""
    if shutil.which("qemu-aarch64") is None and shutil.which("qemu-aarch64-static") is None:
        _install_qemu()
    try:
        build()
    except WindtunnelError as error:
        pytest.skip(f"the ARM64 system cannot be built here: {error}")
    left = missing()
    assert not left, left
    return default_home()


def _install_qemu() -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("qemu-aarch64 is not installed, and only root can install it: apt-get install qemu-user")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "qemu-user"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        pytest.skip(f"qemu-user cannot be installed: {done.stderr.strip().splitlines()[-1:]}")

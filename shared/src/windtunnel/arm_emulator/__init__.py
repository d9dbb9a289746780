"""Real ARM64 kernels on any machine: LiteRT for ARM under qemu-user.

`build` makes the emulated system once, `missing` says what is not there yet, `run_arm` runs a model on it.
"""

from __future__ import annotations

from windtunnel.arm_emulator.home import CPUS, LITERT, SETUP, ArmHome, Missing, default_home, in_words, missing
from windtunnel.arm_emulator.run import run_arm
from windtunnel.arm_emulator.setup import build

__all__ = ["CPUS", "LITERT", "SETUP", "ArmHome", "Missing", "build", "default_home", "in_words", "missing", "run_arm"]

"""Real ARM64 kernels on any machine: LiteRT for ARM under qemu-user.

`build` makes the emulated system once, `missing` says what is not there yet, `run_arm` runs a model on it.
"""

from __future__ import annotations

from windtunnel.tflite.arm.home import CPUS, LITERT, SETUP, ArmHome, Missing, default_home, in_words, missing
from windtunnel.tflite.arm.run import run_arm
from windtunnel.tflite.arm.setup import build

__all__ = ["CPUS", "LITERT", "SETUP", "ArmHome", "Missing", "build", "default_home", "in_words", "missing", "run_arm"]

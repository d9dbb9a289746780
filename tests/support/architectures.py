"""The reference models of the fault matrix: trained once per machine, then kept in the temporary directory under a
name that changes with the source of their network.
"""

from __future__ import annotations

import getpass
import hashlib
import inspect
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from support import fault_networks, fault_runs
from support.fault_runs import known_ranges, quantize

SMALL = ("conv", "mobile", "dense", "squeeze", "decoder", "audio", "attention", "several")
APPLICATIONS = ("mobilenet_v2", "mobilenet_v3", "efficientnet_b0", "densenet121")
# What litert-quantizer makes of the float model.
VARIANTS = ("float16", "dynamic_range", "int8", "int16x8")


@dataclass(frozen=True)
class Architecture:
    """A trained network in `folder`: float32.tflite, forms of it, samples.npz (48), calibration.npz (100)."""

    name: str
    folder: Path

    @property
    def float32(self) -> Path:
        return self.folder / "float32.tflite"

    @property
    def samples(self) -> Path:
        return self.folder / "samples.npz"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.npz"

    @property
    def forms(self) -> Mapping[str, Path]:
        """Every healthy form of the network by name, float32 among them; names that begin with tf_ are
        TFLiteConverter's, others litert-quantizer's."""
        return {path.stem: path for path in sorted(self.folder.glob("*.tflite"))}


def architecture(name: str, root: Path | None = None) -> Architecture:
    """The architecture, built on the first call (10 to 40 s; an application up to several minutes).

    `root` is where models are kept: the temporary directory of this process, unless given. A child process has
    another one of its own.
    """
    home = (
        root or Path(tempfile.gettempdir())
    ) / f"windtunnel-tests-{getpass.getuser()}-faults-{name}-{_version(name)}"
    if not home.is_dir():
        made = Path(tempfile.mkdtemp(prefix=f"{home.name}-", dir=home.parent))
        _build(name, made)
        try:
            made.replace(home)
        except OSError:
            # Another process was first; its files are the same.
            shutil.rmtree(made)
    return Architecture(name, home)


def _build(name: str, folder: Path) -> None:
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, fault_networks.__file__, name, str(folder)]
    subprocess.run(command, check=True, env=env, capture_output=True, timeout=1800)
    made = Architecture(name, folder)
    found = known_ranges(made.float32, made.calibration)
    for variant in VARIANTS:
        quantize(made.float32, folder / f"{variant}.tflite", variant, found)


def _version(name: str) -> str:
    """A hash of the network's own source and of what builds and quantizes all of them."""
    source = "".join(inspect.getsource(part) for part in (fault_networks, fault_runs.ranges, fault_runs.quantize))
    others = [function for key, function in fault_networks.NETWORKS.items() if key != name]
    for function in others:
        source = source.replace(inspect.getsource(function), "")
    return hashlib.sha256(source.encode()).hexdigest()[:12]

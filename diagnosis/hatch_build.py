"""Builds `block_kernel.c` into a shared library next to it, with the C compiler of the `ziglang` package.

The same compiler on every machine, and no compiler needs to be installed. If it cannot build, the package works
without the library, more slowly.
"""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("src/windtunnel/diagnosis/numerics")
# What the library runs on at least; other platforms are built for the machine at hand.
TARGETS = {
    ("linux", "x86_64"): "x86_64-linux-gnu.2.17",
    ("linux", "aarch64"): "aarch64-linux-gnu.2.17",
    ("darwin", "arm64"): "aarch64-macos.11.0",
    ("darwin", "x86_64"): "x86_64-macos.10.13",
}
FLAGS = ("-O3", "-ffp-contract=off", "-fno-sanitize=all", "-fvisibility=hidden", "-shared", "-fPIC", "-s")


class KernelHook(BuildHookInterface):
    """The build hook that hatchling calls for wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles the kernel, and names it as a file of the wheel."""
        if self.target_name != "wheel":
            return
        folder = Path(self.root) / FOLDER
        library = folder / ("libblock_kernel.dylib" if sys.platform == "darwin" else "libblock_kernel.so")
        target = TARGETS.get((sys.platform, platform.machine()))
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, *(("-target", target) if target else ())]
        made = library.with_suffix(".new")
        try:
            done = subprocess.run(
                [*command, str(folder / "block_kernel.c"), "-o", str(made)], capture_output=True, text=True, check=False
            )
        except OSError as error:
            self.app.display_warning(f"the package is built without its kernel, and is slower: {error}")
            return
        if done.returncode:
            self.app.display_warning(f"the package is built without its kernel, and is slower: {done.stderr[-2000:]}")
            return
        # Whole or not at all: a process may have the old one loaded.
        made.replace(library)
        build_data["artifacts"].append(str(library.relative_to(self.root)))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

"""What the fake phone is made of: Debian's adb, Android's own shell (mksh) and tools (toybox), and a small helper."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

_PACKAGES = {"adb": "adb", "mksh": "mksh", "toybox": "toybox", "cc": "gcc"}
_SOURCE = Path(__file__).with_name("phonecall.c")
_SBIN = ("/usr/sbin", "/sbin")


@cache
def phone_programs() -> None:
    """Makes sure that the programs are there; skips, saying why, where they cannot be installed."""
    lacking = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    if lacking:
        _install(lacking)
    if chroot() is None:
        pytest.skip("the fake phone needs root or user namespaces for its private file system")


def _install(packages: Sequence[str]) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip(
            f"the fake phone needs Debian packages that only root can install: apt-get install {' '.join(packages)}"
        )
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], capture_output=True, timeout=300, check=False)
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(packages)} cannot be installed: {done.stderr.strip().splitlines()[-1:]}")


@cache
def chroot() -> tuple[str, ...] | None:
    """The command, but for the folder, that runs something in a private file system; None: not allowed here."""
    path = os.pathsep.join((os.environ.get("PATH", ""), *_SBIN))
    found, unshare = shutil.which("chroot", path=path), shutil.which("unshare", path=path)
    if os.geteuid() == 0 and found is not None and _works(found, "/", "true"):
        return (found, "--userspec={user}:{user}", "--groups=")
    if unshare is not None and found is not None and _works(unshare, "--user", "--map-root-user", found, "/", "true"):
        return (unshare, "--user", "--map-root-user", found)
    return None


def _works(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@cache
def phonecall() -> Path:
    """The helper, built once per process, without any library."""
    folder = Path(tempfile.mkdtemp(prefix="windtunnel-phonecall-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "phonecall"
    command = ["cc", "-Os", "-static", "-s", "-Wall", "-Werror", "-o", str(target), str(_SOURCE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{_SOURCE.name} does not build on {sys.platform}: {done.stderr}")
    return target


def libraries(program: Path) -> list[Path]:
    """The shared libraries of a program, with its loader."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    words = [word for line in listed.splitlines() for word in line.split()]
    return [Path(word) for word in words if word.startswith("/")]

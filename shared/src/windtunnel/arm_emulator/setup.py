"""Builds the ARM64 system: Debian packages through apt, Python packages through pip or uv. Needs no root rights."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from windtunnel.arm_emulator.home import LITERT, NUMPY, ArmHome, default_home
from windtunnel.errors import InvalidInput, Unavailable, Unsupported

_DISTRIBUTION: Final = "bookworm"
_PYTHON: Final = "3.11"
_PACKAGES: Final = (f"python{_PYTHON}-minimal", f"libpython{_PYTHON}-stdlib", "libstdc++6", "libgcc-s1", "zlib1g")
_MIRROR: Final = "http://deb.debian.org/debian"
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_TOOLS: Final = ("apt-get", "dpkg-deb")
_LIMIT_S: Final = 1200.0
_TAGS: Final = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")

Report = Callable[[float, str], None]


def build(home: ArmHome | None = None, report: Report = lambda share, text: None) -> ArmHome:
    """Builds the ARM64 system if it is missing: about 40 MB of downloads, 150 MB on disk, half a minute.

    Downloads are kept, so that an interrupted build continues. The system appears whole or not at all. Builds at the
    same time wait for each other.

    Args:
        home: of the system; None: the default one.
        report: called with the share done and what comes next.

    Returns:
        The home that has the system.

    Raises:
        Unsupported: a tool is missing.
        Unavailable: a download fails.
        InvalidInput: the folder cannot be written.
    """
    home = home or default_home()
    _require_tools()
    try:
        home.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"{home.folder} cannot be made: {error.strerror}", hint="set XDG_CACHE_HOME") from error
    with _alone(home.folder / "lock"):
        if not home.root.is_dir():
            _build(home, report)
    report(1.0, "ready")
    return home


def _build(home: ArmHome, report: Report) -> None:
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=home.folder))
    try:
        report(0.0, "Debian packages")
        packages = _debian_packages(home.folder / "apt")
        report(0.3, f"unpacking {len(packages)} packages")
        for package in packages:
            _run(["dpkg-deb", "-x", str(package), str(made)], "unpack a Debian package")
        report(0.5, "Python packages")
        wheels = _wheels(home.folder / "wheels")
        report(0.8, f"unpacking {len(wheels)} wheels")
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(made / "opt" / "windtunnel")
        made.chmod(0o755)
        made.replace(home.root)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    # What was unpacked need not be kept twice.
    for folder in ("apt", "wheels"):
        shutil.rmtree(home.folder / folder, ignore_errors=True)


def _debian_packages(folder: Path) -> Sequence[Path]:
    """Downloads the packages and what they depend on, by an apt whose state is all in `folder`."""
    for name in ("state/lists/partial", "cache/archives/partial", "parts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "state" / "status").touch()
    sources = folder / "sources.list"
    security = f"deb [signed-by={_KEYRING}] {_MIRROR}-security {_DISTRIBUTION}-security main\n"
    sources.write_text(f"deb [signed-by={_KEYRING}] {_mirror()} {_DISTRIBUTION} main\n{security}")
    apt = ["apt-get", "-q", *(f"-o{option}" for option in _apt_options(folder, sources))]
    _run([*apt, "update"], "read the list of Debian packages")
    _run([*apt, "-y", "--download-only", "install", *_PACKAGES], "download Debian packages")
    return sorted((folder / "cache" / "archives").glob("*.deb"))


def _apt_options(folder: Path, sources: Path) -> Iterator[str]:
    yield from ("APT::Architecture=arm64", "APT::Architectures::=arm64", "APT::Install-Recommends=0")
    yield from (f"Dir::State={folder / 'state'}", f"Dir::State::status={folder / 'state' / 'status'}")
    yield from (f"Dir::Cache={folder / 'cache'}", f"Dir::Etc::SourceList={sources}")
    yield from (f"Dir::Etc::SourceParts={folder / 'parts'}", f"Dir::Etc::PreferencesParts={folder / 'parts'}")
    yield from ("Acquire::Languages=none", "Debug::NoLocking=1")
    if os.geteuid() == 0:
        # apt's own user cannot write to a folder of root's cache.
        yield "APT::Sandbox::User=root"


def _mirror() -> str:
    """The mirror that this machine uses for Debian; without one, the official one."""
    for file in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))):
        with suppress(OSError, UnicodeDecodeError):
            found = re.search(r"https?://\S*/debian/?(?=\s)", file.read_text() + "\n")
            if found:
                return found[0]
    return _MIRROR


def _wheels(folder: Path) -> Sequence[Path]:
    """Downloads LiteRT, numpy and what they need as ARM64 wheels."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = _pip()
    platforms = [f"--platform={tag}" for tag in _TAGS]
    wanted = (f"ai-edge-litert=={LITERT}", f"numpy=={NUMPY}")
    command = [*pip, "download", "-q", "--only-binary=:all:", *platforms, "--implementation=cp"]
    _run([*command, f"--python-version={_PYTHON}", "-d", str(folder), *wanted], "download Python packages")
    return sorted(folder.glob("*.whl"))


def _require_tools() -> None:
    lacking = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if lacking:
        raise Unsupported(
            f"the ARM64 system is built with {', '.join(lacking)}, which this machine lacks",
            hint="build it on Debian or Ubuntu and copy the folder, or leave the arm kernels out",
        )
    if not _KEYRING.exists():
        raise Unsupported(f"{_KEYRING} is missing", hint="apt-get install debian-archive-keyring")
    _pip()


def _pip() -> list[str]:
    """A pip: this environment's own, or one on the PATH.

    Raises:
        Unsupported: there is none.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        if found := shutil.which(name):
            return [found]
    raise Unsupported("no pip is found, which downloads the ARM64 wheels", hint="apt-get install python3-pip")


def _run(command: Sequence[str], what: str) -> None:
    """Runs a tool.

    Raises:
        Unavailable: it fails; the message has its last words.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_LIMIT_S, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"could not {what}: {command[0]} did not end in {_LIMIT_S:g} s") from error
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise Unavailable(f"could not {what}: {' / '.join(said[-3:])}", hint="check the network and try again")


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("ab") as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        yield

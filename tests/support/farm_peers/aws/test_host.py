"""The test host: runs the commands of a test spec in a real shell, and gathers what the service would."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from support.farm_peers.aws.phone import Phone

_PHASES: Final = ("install", "pre_test", "test", "post_test")


@dataclass
class Execution:
    """A test spec that runs in a thread. `passed` is known when `ended` is set."""

    folder: Path
    phone: Phone
    spec: dict[str, Any]
    ended: threading.Event = field(default_factory=threading.Event)
    passed: bool = False
    output: str = ""
    _process: subprocess.Popen[str] | None = None
    _killed: bool = False

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def kill(self) -> None:
        """Ends it as a stopped or timed-out job."""
        self._killed = True
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.ended.wait(10)

    @property
    def log_dir(self) -> Path:
        return self.folder / "logs"

    def customer_artifacts(self) -> bytes:
        """A zip of the files that `artifacts` of the spec names, below the locations as the spec has them."""
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for location in self.spec.get("artifacts") or ():
                source = Path(self._expand(str(location)))
                for path in sorted(source.rglob("*")) if source.is_dir() else [source] * source.exists():
                    if path.is_file():
                        inside = path.relative_to(source) if source.is_dir() else Path(path.name)
                        archive.write(path, f"Host_Machine_Files/{location}/{inside}")
        return stream.getvalue()

    def _run(self) -> None:
        try:
            passed = True
            for phase in _PHASES:
                self.output += f"\n[DEVICEFARM] ########### Entering phase {phase} ###########\n\n"
                commands = ((self.spec.get("phases") or {}).get(phase) or {}).get("commands") or ()
                passed = self._phase(commands) and passed
                if self._killed:
                    return
            self.output += "[DEVICEFARM] ########### Finish executing testspec ###########\n"
            self.passed = passed
        finally:
            self.ended.set()

    def _phase(self, commands: Any) -> bool:
        """Runs commands one after the other in one shell, as the real host does."""
        script = "\n".join(f"{command}\nx=$?; [ $x = 0 ] || exit $x" for command in commands)
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", script], cwd=self.folder, env=self._environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        said, _ = self._process.communicate()
        self.output += said
        return self._process.returncode == 0

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.phone.adb}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "DEVICEFARM_DEVICE_UDID": self.phone.udid,
            "DEVICEFARM_DEVICE_NAME": self.phone.udid,
            "DEVICEFARM_DEVICE_PLATFORM_NAME": "Android",
            "DEVICEFARM_LOG_DIR": str(self.log_dir),
            "DEVICEFARM_TEST_PACKAGE_PATH": str(self.folder / "package"),
            "DEVICEFARM_APP_PATH": str(self.folder / "app.apk"),
            "WORKING_DIRECTORY": str(self.folder),
        }

    def _expand(self, location: str) -> str:
        return location.replace("$DEVICEFARM_LOG_DIR", str(self.log_dir)).replace(
            "$WORKING_DIRECTORY", str(self.folder)
        )


def prepare(folder: Path, phone: Phone, spec: bytes, package: bytes, app: bytes | None) -> Execution:
    """A test host with an unpacked test package."""
    for name in ("logs", "tmp", "package"):
        (folder / name).mkdir(parents=True)
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        # The real host unpacks without the modes of the archive.
        archive.extractall(folder / "package")
    if app is not None:
        (folder / "app.apk").write_bytes(app)
    return Execution(folder, phone, yaml.safe_load(spec))


def forget(execution: Execution) -> None:
    """Removes its files."""
    shutil.rmtree(execution.folder, ignore_errors=True)

"""The gcloud command as a child process: no shell, a deadline for every call."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.ddp.failures import of_gcloud
from windtunnel.farm_dispatcher.domain.addresses import is_loopback
from windtunnel.farm_dispatcher.domain.farm_settings import DdpSettings
from windtunnel.farms.failure_kinds import FailureKind

# It starts slowly, and uploads what it is given.
_LONGEST_S: Final = 120.0
UPLOAD_S: Final = 1200.0
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "::1")
_DELIMITERS: Final = ",;|#~@%^:+!&"


@dataclass(frozen=True, slots=True)
class Output:
    """What a command printed."""

    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON on stdout; None: it is not JSON (some commands print text whatever the format)."""
        try:
            return json.loads(self.out)
        except ValueError:
            return None


class Gcloud:
    """`gcloud beta device-run` for one project.

    Args:
        settings: of the farm.
    """

    def __init__(self, settings: DdpSettings) -> None:
        self._settings = settings

    async def run(self, what: str, *words: str, longest_s: float = _LONGEST_S) -> Output:
        """Runs a command.

        Args:
            what: is asked for, for messages.
            *words: after `gcloud beta device-run`.
            longest_s: its deadline, in seconds.

        Returns:
            What it printed.

        Raises:
            FarmError: it failed, or did not end in time.
        """
        command = [
            self._settings.gcloud, "beta", "device-run", *words,
            f"--project={self._settings.project}", "--format=json", "--quiet",
        ]  # fmt: skip
        if self._settings.location:
            command.append(f"--location={self._settings.location}")
        try:
            child = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(),
            )
        except OSError as error:
            raise FarmError(
                f"{self._settings.gcloud} cannot be run: {error.strerror}",
                retryable=False,
                hint="install the Google Cloud CLI, or name it in farms.yaml (gcloud: PATH)",
                kind=FailureKind.UNSUPPORTED,
            ) from error
        out, err = await _ended(child, what, longest_s)
        if child.returncode:
            raise of_gcloud(what, child.returncode, err)
        return Output(out, err)

    def _environment(self) -> Mapping[str, str]:
        environment = {
            **os.environ,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_SHOW_STRUCTURED_LOGS": "never",
        }
        storage = self._settings.endpoints.storage
        if storage:
            environment["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] = storage.rstrip("/") + "/"
        if storage and is_loopback(storage):
            environment["CLOUDSDK_AUTH_DISABLE_CREDENTIALS"] = "true"
            hosts = [*_THIS_MACHINE, *environment.get("NO_PROXY", "").split(",")]
            environment["NO_PROXY"] = environment["no_proxy"] = ",".join(filter(None, hosts))
        return environment


async def _ended(child: asyncio.subprocess.Process, what: str, longest_s: float) -> tuple[str, str]:
    """What a child printed. In the end it is gone, however this ends.

    Raises:
        FarmError: it did not end in time.
    """
    try:
        async with asyncio.timeout(longest_s):
            out, err = await child.communicate()
    except TimeoutError as error:
        raise FarmError(f"{what}: gcloud did not end in {longest_s:g} s") from error
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    return out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def list_flag(name: str, items: Sequence[str]) -> str:
    """A flag that takes a list.

    Args:
        name: of the flag.
        items: any texts.

    Returns:
        The flag, with another delimiter than ',' where an item has one (`gcloud topic escaping`).

    Raises:
        FarmError: the items contain every delimiter.
    """
    delimiter = next((one for one in _DELIMITERS if not any(one in item for item in items)), None)
    if delimiter is None:
        raise FarmError(f"--{name} cannot hold {items[0]!r}", retryable=False, kind=FailureKind.UNSUPPORTED)
    return f"--{name}=" + ("" if delimiter == "," else f"^{delimiter}^") + delimiter.join(items)

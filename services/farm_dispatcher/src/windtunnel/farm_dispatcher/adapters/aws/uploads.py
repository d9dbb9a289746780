"""Uploads: each content once, by a name that carries its hash, and ready before anything is scheduled with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.aws.client import DeviceFarmClient, RefusedCall
from windtunnel.farm_dispatcher.adapters.aws.package import require_size
from windtunnel.farm_dispatcher.adapters.aws.presigned import BUSY, put_file
from windtunnel.farms.failure_kinds import FailureKind

log = logging.getLogger(__name__)
# Device Farm keeps uploads for 30 days.
_KEPT_S: Final = 28 * 86_400.0
# A list of uploads is good for so long: others add to it, and what it lacks is only uploaded once more.
_LISTED_S: Final = 1800.0
_PUT_ATTEMPTS: Final = 3
_PUT_S: Final = 1800.0
_READY_S: Final = 600.0
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 10.0
# CreateUpload asks for .zip at everything that is not an app; UpdateUpload and the service's examples name specs .yml.
_ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "ANDROID_APP": (".apk",),
    "IOS_APP": (".ipa",),
    "INSTRUMENTATION_TEST_PACKAGE": (".apk",),
    "APPIUM_PYTHON_TEST_SPEC": (".yml", ".zip"),
}


@dataclass
class Uploads:
    """The uploads of a project.

    Attributes:
        client: of the service.
        project: its ARN.
        clock: in seconds.
    """

    client: DeviceFarmClient
    project: str
    clock: Callable[[], float] = time.monotonic
    _ready: dict[tuple[str, str], str] = field(default_factory=dict)
    _listed_at: dict[str, float] = field(default_factory=dict)
    _locks: dict[tuple[str, str], asyncio.Lock] = field(default_factory=dict)

    async def arn(self, kind: str, sha256: str, path: Path) -> str:
        """The ARN of an upload that is ready. Asking at the same time for the same content uploads it once.

        Args:
            kind: its type.
            sha256: of the content.
            path: the content.

        Returns:
            The ARN.

        Raises:
            FarmError: the service does not take it, or is not done with it in time.
        """
        async with self._locks.setdefault((kind, sha256), asyncio.Lock()):
            await self._list(kind)
            if (kind, sha256) not in self._ready:
                require_size("the upload", path.stat().st_size)
                self._ready[kind, sha256] = await self._upload(kind, sha256, path)
            return self._ready[kind, sha256]

    async def are_ready(self, arns: Iterable[str]) -> bool:
        """Whether uploads are still there and can be used.

        Args:
            arns: of the uploads.

        Returns:
            False: one of them is not.
        """
        for arn in arns:
            try:
                upload = (await self.client.call("get_upload", arn=arn))["upload"]
            except RefusedCall:
                return False
            if upload.get("status") != "SUCCEEDED":
                return False
        return True

    def forget(self) -> None:
        """Asks the service again next time: an upload that was ready may have been deleted."""
        self._ready.clear()
        self._listed_at.clear()

    async def _list(self, kind: str) -> None:
        """Notes which uploads of a type the project has: of earlier processes, and of other dispatchers."""
        if self.clock() - self._listed_at.get(kind, float("-inf")) < _LISTED_S:
            return
        try:
            found = await self.client.all_pages("list_uploads", "uploads", arn=self.project, type=kind)
        except FarmError as error:
            # Without the list, a content is uploaded once more.
            log.warning("uploads of the project are not known: %s", error)
            found = []
        for one in found:
            sha256 = _hash_in(one.get("name", ""))
            if sha256 and one.get("status") == "SUCCEEDED" and _is_young(one):
                self._ready.setdefault((kind, sha256), one["arn"])
        self._listed_at[kind] = self.clock()

    async def _upload(self, kind: str, sha256: str, path: Path) -> str:
        made = await self._create(kind, sha256)
        await self._put(made["url"], path)
        return await self._wait(made["arn"], made["name"])

    async def _create(self, kind: str, sha256: str) -> dict[str, Any]:
        endings = _ENDINGS.get(kind, (".zip",))
        for ending in endings:
            name = f"windtunnel-{sha256}{ending}"
            try:
                answer = await self.client.call("create_upload", projectArn=self.project, name=name, type=kind)
                made: dict[str, Any] = answer["upload"]
                return made
            except RefusedCall as error:
                if error.service_code not in {"ArgumentException", "ValidationException"} or ending == endings[-1]:
                    raise
        raise AssertionError("unreachable")

    async def _put(self, url: str, path: Path) -> None:
        said = ""
        for attempt in range(_PUT_ATTEMPTS):
            try:
                status = await self.client.in_thread(partial(put_file, url, path), _PUT_S)
            except OSError as error:
                said = str(error)
            else:
                if status < 300:
                    return
                said = f"HTTP status {status}"
                if status not in BUSY:
                    raise FarmError(f"the upload to AWS Device Farm is refused: {said}", retryable=False)
            log.info("upload of %s failed: %s", path.name, said)
            await self.client.sleep(2.0**attempt)
        raise FarmError(f"the upload to AWS Device Farm does not arrive: {said}")

    async def _wait(self, arn: str, name: str) -> str:
        """Waits until an upload is processed: before that it must not be scheduled.

        Raises:
            FarmError: the service does not take it, or leaves it as it is.
        """
        wait_s, waited = _FIRST_WAIT_S, 0.0
        while True:
            upload = (await self.client.call("get_upload", arn=arn))["upload"]
            status = upload.get("status", "")
            if status == "SUCCEEDED":
                return arn
            if status == "FAILED":
                raise FarmError(
                    f"AWS Device Farm does not take {name}: {upload.get('message') or 'no reason given'}",
                    retryable=False,
                    kind=FailureKind.TEST,
                )
            if waited >= _READY_S:
                raise FarmError(
                    f"AWS Device Farm left the upload {name} in {status} for {waited:.0f} s",
                    retryable=False,
                    kind=FailureKind.INFRASTRUCTURE,
                )
            await self.client.sleep(wait_s)
            waited += wait_s
            wait_s = min(_LONGEST_WAIT_S, wait_s * 1.5)


def _hash_in(name: str) -> str:
    stem = name.rsplit(".", 1)[0].removeprefix("windtunnel-")
    return stem if name.startswith("windtunnel-") and len(stem) == 64 else ""


def _is_young(upload: Mapping[str, Any]) -> bool:
    created = upload.get("created")
    if not isinstance(created, datetime):
        return False
    return (datetime.now(UTC) - created).total_seconds() < _KEPT_S

"""What a run left: the lists of its artifacts, and the files themselves."""

from __future__ import annotations

import logging
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final

from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.aws.client import DeviceFarmClient
from windtunnel.farm_dispatcher.adapters.aws.presigned import BUSY, get_file

log = logging.getLogger(__name__)
_CATEGORIES: Final = ("FILE", "LOG", "SCREENSHOT")
# The types that are fetched; videos and packet dumps are large and never read.
_WANTED: Final = frozenset({"CUSTOMER_ARTIFACT", "TESTSPEC_OUTPUT", "DEVICE_LOG", "XCTEST_LOG"})
_GET_ATTEMPTS: Final = 3
_GET_S: Final = 1800.0
# All customer artifacts are lost above this; a zip that says it holds more is not one of the service.
_MOST_BYTES: Final = 4 << 30


@dataclass(frozen=True, slots=True)
class Left:
    """Local copies of what a run left.

    Attributes:
        folder: the customer artifacts, unpacked: their paths below the log folder of the test host.
        output: of the test spec. Empty: there is none.
        device_log: of the system of the device. Empty: there is none.
        has_customer_artifacts: whether there were any.
    """

    folder: Path
    output: str
    device_log: str
    has_customer_artifacts: bool


async def fetch_artifacts(client: DeviceFarmClient, run: str, jobs: Sequence[str], into: Path) -> Left:
    """Fetches what a run left.

    Args:
        client: of the service.
        run: its ARN.
        jobs: the ARNs of its jobs, for what the run itself does not list.
        into: an empty folder.

    Returns:
        The copies.

    Raises:
        FarmError: the service does not give them.
    """
    listed = await _listed_everywhere(client, run, jobs)
    wanted = {one["url"]: one for one in listed if one.get("type") in _WANTED and one.get("url")}
    texts: dict[str, str] = {}
    folder = into / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    has_customer_artifacts = False
    for number, (url, one) in enumerate(wanted.items()):
        path = into / f"{number}-{one['type'].lower()}"
        if not await _fetch(client, url, path):
            continue
        if one["type"] == "CUSTOMER_ARTIFACT":
            has_customer_artifacts |= await client.in_thread(partial(unpack, path, folder), _GET_S)
        else:
            text = await client.in_thread(partial(path.read_text, "utf-8", "replace"))
            texts[one["type"]] = texts.get(one["type"], "") + text
    device_log = texts.get("DEVICE_LOG", "") or texts.get("XCTEST_LOG", "")
    return Left(folder, texts.get("TESTSPEC_OUTPUT", ""), device_log, has_customer_artifacts)


async def _listed_everywhere(client: DeviceFarmClient, run: str, jobs: Sequence[str]) -> list[dict[str, Any]]:
    """The artifacts of a run; those of its jobs, then of their suites, if it lists none."""
    listed = await _listed(client, run)
    level = list(jobs)
    for operation, result in (("list_suites", "suites"), ("list_tests", "tests"), ("", "")):
        if {one.get("type") for one in listed} & _WANTED:
            break
        for arn in level:
            listed += await _listed(client, arn)
        if operation:
            level = [one["arn"] for arn in level for one in await client.all_pages(operation, result, arn=arn)]
    return listed


async def _listed(client: DeviceFarmClient, arn: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = []
    for category in _CATEGORIES[:2]:
        listed += await client.all_pages("list_artifacts", "artifacts", arn=arn, type=category)
    return listed


async def _fetch(client: DeviceFarmClient, url: str, path: Path) -> bool:
    """Fetches an artifact; False: it is no longer there, and trying again would not help.

    Raises:
        FarmError: its store does not answer.
    """
    said = ""
    for attempt in range(_GET_ATTEMPTS):
        try:
            status = await client.in_thread(partial(get_file, url, path), _GET_S)
        except OSError as error:
            said = str(error)
        else:
            if status < 300:
                return True
            said = f"HTTP status {status}"
            if status not in BUSY:
                log.warning("an artifact of AWS Device Farm is not there: %s", said)
                return False
        await client.sleep(2.0**attempt)
    raise FarmError(f"an artifact of AWS Device Farm cannot be fetched: {said}")


def unpack(path: Path, folder: Path) -> bool:
    """Unpacks customer artifacts below a folder, without the literal names of the host's folders. Blocks.

    Args:
        path: the zip.
        folder: where to.

    Returns:
        False: it is not a zip, or holds more than the service allows; what was unpacked before stays.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            if sum(entry.file_size for entry in entries) > _MOST_BYTES:
                log.warning("the customer artifacts hold more than 4 GB, they are left out")
                return False
            for entry in entries:
                target = folder / local_name(entry.filename)
                if target.resolve().is_relative_to(folder.resolve()):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as source, target.open("wb") as out:
                        shutil.copyfileobj(source, out)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        log.warning("the customer artifacts cannot be unpacked: %s", error)
        return False
    return True


def local_name(name: str) -> Path:
    """Where an entry of the customer artifacts belongs.

    Args:
        name: in the zip, such as `Host_Machine_Files/$DEVICEFARM_LOG_DIR/a/b`.

    Returns:
        `a/b`.
    """
    parts = [part for part in PurePosixPath(name).parts if part not in {"/", "..", "."}]
    if parts[:1] == ["Host_Machine_Files"]:
        parts = parts[1:]
    while parts and parts[0].startswith("$"):
        parts = parts[1:]
    return Path(*parts) if parts else Path("unnamed")

"""The store of files on a phone: what is there with the right bytes is not pushed again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.adb.attached_phone import AttachedPhone
from windtunnel.farm_dispatcher.adapters.adb.lease import ROOT

BLOBS: Final = f"{ROOT}/blobs"
# How long a file that nobody asks for stays.
_DAYS: Final = 7
# Hashing a gigabyte takes a phone a few seconds.
_HASH_S: Final = 300.0


async def push_missing(
    phone: AttachedPhone, files: Mapping[ArtifactRef, Path], before_each: Callable[[ArtifactRef], Awaitable[object]]
) -> None:
    """Pushes what the phone does not have, and checks the bytes on the phone.

    Args:
        phone: that is leased.
        files: local copies.
        before_each: called with each file before it is pushed.

    Raises:
        FarmError: the phone takes no file, or has other bytes than were sent.
    """
    await phone.shell(f"cd {BLOBS} && find . -type f -mtime +{_DAYS} -exec rm -f {{}} +; true")
    missing = await _missing(phone, list(files))
    for blob in missing:
        await before_each(blob)
        await _push(phone, files[blob], blob.sha256, keep=[one.sha256 for one in files])
    wrong = await _missing(phone, missing)
    if wrong:
        names = ", ".join(f"{blob.sha256[:12]}..." for blob in wrong)
        raise FarmError(
            f"phone {phone.serial} has other bytes than were pushed: {names}", hint="try another cable or USB port"
        )


async def _missing(phone: AttachedPhone, blobs: Sequence[ArtifactRef]) -> list[ArtifactRef]:
    if not blobs:
        return []
    names = " ".join(blob.sha256 for blob in blobs)
    answer = await phone.shell(f"cd {BLOBS} && sha256sum {names}; touch -c {names}", _HASH_S)
    lines = [line.split() for line in answer.text.splitlines()]
    there = {parts[1] for parts in lines if len(parts) == 2 and parts[0] == parts[1]}
    if not there and "sha256sum" in answer.text and "not found" in answer.text:
        hint = "use a phone with Android 8 or later"
        raise FarmError(f"phone {phone.serial} has no sha256sum", retryable=False, hint=hint, kind="device")
    return [blob for blob in blobs if blob.sha256 not in there]


async def _push(phone: AttachedPhone, source: Path, name: str, keep: Sequence[str]) -> None:
    """Under another name first: a file with its right name is whole.

    Raises:
        FarmError: as from `push_missing`.
    """
    part = f"{BLOBS}/{name}.part"
    try:
        await phone.push(source, part)
    except FarmError as error:
        if "No space left" not in error.message:
            raise
        # Room of earlier farm runs.
        spared = " ".join(f"! -name {one}" for one in keep)
        await phone.shell(f"cd {BLOBS} && find . -type f {spared} -exec rm -f {{}} +; true")
        await phone.push(source, part)
    await phone.shell(f"mv -f {part} {BLOBS}/{name}")

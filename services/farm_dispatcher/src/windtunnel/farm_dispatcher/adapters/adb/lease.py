"""One farm run at a time on a phone, whoever asks: the lease is a folder on the phone.

It says which farm run holds it and until when. It is stale, and may be taken over, if the script of its farm run does
not live (or belongs to an earlier boot) and its time is over. A script that ends removes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.farm_dispatcher.adapters.adb.attached_phone import AttachedPhone
from windtunnel.farm_dispatcher.adapters.adb.failures import farm_error
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER

ROOT: Final = f"{DEVICE_FOLDER}/windtunnel"
# How long a lease holds without a script: a dispatcher that pushes files renews it before each.
HOLD_S: Final = 180

_HERE: Final = Path(__file__).parent
ALIVE: Final = (_HERE / "alive.sh").read_text(encoding="utf-8")
_TAKE: Final = (_HERE / "take_lease.sh").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer: granted, or `held_by` another farm run. `left_over`: a farm run that did not end properly before."""

    granted: bool
    held_by: str = ""
    left_over: str = ""


async def take_lease(phone: AttachedPhone, key: str, hold_s: int = HOLD_S) -> Lease:
    """Takes or renews the lease of a phone.

    Args:
        phone: to lease.
        key: of the farm run.
        hold_s: how long it holds without a script, in seconds.

    Returns:
        Whether it is granted.

    Raises:
        FarmError: the phone does not answer.
    """
    command = f"mkdir -p {ROOT} && cd {ROOT}\nKEY={key} HOLD={hold_s}\n{ALIVE}{_TAKE}"
    text = (await phone.shell(command)).text.strip()
    word, _, owner = text.rpartition("\n")[2].partition(" ")
    if word == "granted":
        return Lease(True, left_over="" if owner == key else owner)
    if word == "busy" and "denied" not in text:
        return Lease(False, held_by=owner or "another farm run")
    raise farm_error(phone.serial, text)


async def release_lease(phone: AttachedPhone, key: str) -> None:
    """Gives the lease back, if this farm run has it.

    Args:
        phone: that is leased.
        key: of the farm run.

    Raises:
        FarmError: the phone does not answer.
    """
    await phone.shell(f'cd {ROOT} 2>/dev/null && [ "$(cat lease/owner 2>/dev/null)" = {key} ] && rm -rf lease; true')

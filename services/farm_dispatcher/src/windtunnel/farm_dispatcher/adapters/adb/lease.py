"""One farm run at a time on a phone, whoever asks: the lease is a folder on the phone.

It says which farm run holds it and until when. It is stale, and may be taken over, if the script of its farm run does
not live (or belongs to an earlier boot) and its time is over. A script that ends removes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from windtunnel.farm_dispatcher.adapters.adb.attached_phone import AttachedPhone
from windtunnel.farm_dispatcher.adapters.adb.failures import farm_error
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER

ROOT: Final = f"{DEVICE_FOLDER}/windtunnel"
# How long a lease holds without a script: a dispatcher that pushes files renews it before each.
HOLD_S: Final = 180

# Sets `alive` if the script of the farm run in $1 runs.
ALIVE: Final = """alive() {
    pid=$(cat "$1/script.pid" 2>/dev/null)
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null || return 1
    [ "$(cat "$1/boot" 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)" ]
}
"""
_TAKE: Final = """
mkdir -p blobs runs
now=$(date +%s)
if ! mkdir lease 2>/dev/null; then
    owner=$(cat lease/owner 2>/dev/null)
    until=$(cat lease/until 2>/dev/null)
    [ -n "$until" ] || until=$(($(stat -c %Y lease) + {hold}))
    if [ "$owner" != {key} ]; then
        if alive "runs/$owner" || {{ [ "$now" -lt "$until" ] && [ ! -e "runs/$owner/started" ]; }}; then
            echo "busy $owner"
            exit 0
        fi
        mv lease "lease.$$" && rm -rf "lease.$$"
        mkdir lease 2>/dev/null || {{ echo busy; exit 0; }}
    fi
fi
echo {key} > lease/owner
echo $((now + {hold})) > lease/until
echo "mine $owner"
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """The answer: `held_by` another farm run, or ours; `left_over`: a farm run that did not end properly before."""

    is_ours: bool
    held_by: str = ""
    left_over: str = ""


async def take_lease(phone: AttachedPhone, key: str) -> Lease:
    """Takes or renews the lease of a phone.

    Args:
        phone: to lease.
        key: of the farm run.

    Returns:
        Whether it is ours.

    Raises:
        FarmError: the phone does not answer.
    """
    command = f"mkdir -p {ROOT} && cd {ROOT}\n{ALIVE}{_TAKE.format(key=key, hold=HOLD_S)}"
    text = (await phone.shell(command)).text.strip()
    word, _, owner = text.rpartition("\n")[2].partition(" ")
    if word == "mine":
        return Lease(True, left_over="" if owner == key else owner)
    if word == "busy" and "denied" not in text:
        return Lease(False, held_by=owner or "another farm run")
    raise farm_error(phone.serial, text)


async def release_lease(phone: AttachedPhone, key: str) -> None:
    """Gives the lease back, if it is ours.

    Args:
        phone: that is leased.
        key: of the farm run.

    Raises:
        FarmError: the phone does not answer.
    """
    await phone.shell(f'cd {ROOT} 2>/dev/null && [ "$(cat lease/owner 2>/dev/null)" = {key} ] && rm -rf lease; true')

"""A farm run on a phone: a folder there, named by its key, that survives the cable, the dispatcher and a restart."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from windtunnel.farm_dispatcher.adapters.adb.attached_phone import AttachedPhone, quoted
from windtunnel.farm_dispatcher.adapters.adb.lease import ALIVE, ROOT
from windtunnel.farm_dispatcher.domain.jobs import DEVICE_FOLDER

_DAYS: Final = 7
_BURY: Final = Path(__file__).with_name("bury.sh").read_text(encoding="utf-8")
_STATE: Final = """
[ -e started ] && echo started
[ -e ended ] && echo ended
[ -e not_restored ] && echo not_restored
alive . && echo alive
[ -s script.log ] && echo complained
for entry in entries/*/begun; do [ -e "$entry" ] && echo begun; done
echo "words $(cat words 2>/dev/null)"
"""
# Both the process of an entry and a wait between two are woken; the script then sees that it is to stop.
_CANCEL: Final = """
[ -e started ] && [ ! -e ended ] && alive . || exit 0
touch cancel
for file in pid nap; do
    one=$(cat $file 2>/dev/null)
    [ -n "$one" ] && kill -9 "$one" 2>/dev/null
done
true
"""


@dataclass(frozen=True, slots=True)
class RunState:
    """What a folder says: nothing at all, started, still alive, ended."""

    exists: bool = False
    started: bool = False
    alive: bool = False
    ended: bool = False
    begun: bool = False
    restored: bool = True
    complained: bool = False
    words: str = ""


class RunFolder:
    """The folder of one farm run on one phone. Every method raises FarmError if the phone does not answer.

    Args:
        phone: that holds it.
        key: of the farm run.
    """

    def __init__(self, phone: AttachedPhone, key: str) -> None:
        self.phone = phone
        self._path = f"{ROOT}/runs/{key}"

    async def state(self) -> RunState:
        """What the folder says now.

        Returns:
            The state.

        Raises:
            FarmError: the phone does not answer.
        """
        command = f"cd {self._path} 2>/dev/null || exit 0\necho exists\n{ALIVE}{_STATE}"
        lines = (await self.phone.shell(command)).text.splitlines()
        words = next((line.removeprefix("words").strip() for line in lines if line.startswith("words")), "")
        return RunState(
            exists="exists" in lines,
            started="started" in lines,
            alive="alive" in lines,
            ended="ended" in lines,
            begun="begun" in lines,
            restored="not_restored" not in lines,
            complained="complained" in lines,
            words=words,
        )

    async def begin(self, script: str) -> bool:
        """Starts the script, detached from the connection, unless it was started before.

        Args:
            script: of `script_of`.

        Returns:
            Whether it is there.

        Raises:
            FarmError: the phone does not answer.
        """
        with tempfile.TemporaryDirectory(prefix="windtunnel-adb-") as folder:
            local = Path(folder, "run.sh")
            local.write_text(script, encoding="utf-8", newline="\n")
            await self.phone.shell(f"mkdir -p {self._path}")
            await self.phone.push(local, f"{self._path}/run.sh")
        # The end of the connection hangs up what its shell runs: the script, and all that it starts, do not listen.
        script_command = f"trap '' HUP; exec $(command -v setsid) sh ./run.sh {DEVICE_FOLDER}"
        command = (
            f"cd {self._path} && mkdir started 2>/dev/null && "
            f"{{ ( {script_command} ) > script.log 2>&1 < /dev/null & }}; [ -e started ]"
        )
        return (await self.phone.shell(command)).status == 0

    async def cancel(self) -> None:
        """Asks the script to stop.

        Raises:
            FarmError: the phone does not answer.
        """
        await self.phone.shell(f"cd {self._path} 2>/dev/null || exit 0\n{ALIVE}{_CANCEL}")

    async def bury(self) -> None:
        """Ends a farm run whose script is gone.

        Raises:
            FarmError: the phone does not answer.
        """
        await self.phone.shell(f"cd {self._path} 2>/dev/null || exit 0\n{_BURY}")

    async def forget(self) -> None:
        """Removes the folder.

        Raises:
            FarmError: the phone does not answer.
        """
        await self.phone.shell(f"rm -rf {self._path}")

    async def fetch(self, into: Path) -> None:
        """Copies everything that the entries left.

        Args:
            into: a folder.

        Raises:
            FarmError: the phone does not answer.
        """
        listed = await self.phone.shell(
            f"cd {self._path} && {{ ls cancel not_prepared script.log 2>/dev/null; find entries -type f; }}"
        )
        for line in listed.text.splitlines():
            name = line.strip()
            if name in ("cancel", "not_prepared", "script.log") or name.startswith("entries/"):
                await self.phone.pull(f"{self._path}/{name}", into / name)


async def tidy_up(phone: AttachedPhone) -> None:
    """Puts back what earlier farm runs could not, and removes the folders of those that ended days ago.

    Args:
        phone: that is leased.

    Raises:
        FarmError: the phone does not answer.
    """
    old = f"find {quoted(ROOT)}/runs -maxdepth 2 -name ended -mtime +{_DAYS}"
    again = (
        f'for run in {quoted(ROOT)}/runs/*/not_restored; do [ -e "$run" ] && (cd "${{run%/*}}" && {{ {_BURY} }}); done'
    )
    await phone.shell(again)
    await phone.shell(f'{old} | while read -r file; do rm -rf "${{file%/ended}}"; done; true')

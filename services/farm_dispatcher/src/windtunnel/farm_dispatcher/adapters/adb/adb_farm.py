"""The farm: finds a phone for a farm run, starts the run on it, and reads what became of it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from windtunnel.accelerators import XNNPACK
from windtunnel.artifacts import ArtifactRef
from windtunnel.errors import FarmError
from windtunnel.farm_dispatcher.adapters.adb.attached_phone import AdbServer, AttachedPhone, is_on_network
from windtunnel.farm_dispatcher.adapters.adb.failures import farm_error
from windtunnel.farm_dispatcher.adapters.adb.lease import HOLD_S, release_lease, take_lease
from windtunnel.farm_dispatcher.adapters.adb.phone_facts import FACTS_COMMAND, PhoneFacts, parse_facts
from windtunnel.farm_dispatcher.adapters.adb.pushed_blobs import push_missing
from windtunnel.farm_dispatcher.adapters.adb.readiness import READY_COMMAND, parse_state, why_not_ready
from windtunnel.farm_dispatcher.adapters.adb.refusals import refusal
from windtunnel.farm_dispatcher.adapters.adb.results import LeftBehind, none_ran, result_of
from windtunnel.farm_dispatcher.adapters.adb.run_folder import RunFolder, tidy_up
from windtunnel.farm_dispatcher.adapters.adb.run_script import Waits, script_of
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Phase, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm import Farm, Files
from windtunnel.farm_dispatcher.domain.farm_settings import AdbSettings, HostSettings
from windtunnel.farm_dispatcher.domain.jobs import AppKind, FarmRunRequest
from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.farms.properties import PHONES
from windtunnel.service.settings import InvalidSetting

log = logging.getLogger(__name__)
_USABLE: Final = "device"
_KEPT_S: Final = 7 * 86400.0
# Bytes in a second, over a bad radio.
_SLOWEST_PUSH: Final = 500_000
# A cable that is pulled and put back within this time costs nothing: the phone runs on meanwhile.
UNPLUGGED_S: Final = 60.0


@asynccontextmanager
async def open_farm(settings: AdbSettings, host: HostSettings) -> AsyncIterator[Farm]:
    """Opens the phones at an adb server. The server need not run yet.

    Args:
        settings: of the farm.
        host: of this service.

    Yields:
        The farm.

    Raises:
        InvalidSetting: the address of the server cannot be, or airplane mode would cut a phone off.
    """
    if not settings.server.rpartition(":")[2].isdigit():
        raise InvalidSetting(f"farm {settings.name!r} has server {settings.server!r}", hint="give HOST:PORT")
    far = [serial for serial in settings.serials if is_on_network(serial)]
    if settings.airplane and far:
        hint = "set airplane: false for it"
        raise InvalidSetting(f"farm {settings.name!r}: airplane mode would end the connection of {far[0]}", hint=hint)
    yield AdbFarm(settings, host.home_folder / "adb")


class AdbFarm:
    """Phones at an adb server. A farm run is a script on a phone, so it outlives the cable and the dispatcher.

    Its id is the serial of the phone and the key.

    Args:
        settings: of the farm.
        notes: a folder that keeps which phone a key was given to.
        waits: of the scripts, for phones that are not ready.
        unplugged_s: how long a phone may be away before it is lost, in seconds.
    """

    properties = PHONES
    default_accelerator = XNNPACK
    runs: tuple[RunAs, ...] = ("executable", "app")
    app_kinds: tuple[AppKind, ...] = ("activity", "game_loop", "instrumentation")

    def __init__(
        self, settings: AdbSettings, notes: Path, waits: Waits | None = None, unplugged_s: float = UNPLUGGED_S
    ) -> None:
        self.settings = settings
        self._server = AdbServer(settings.server)
        self._notes = notes
        self._waits = waits or Waits()
        self._unplugged_s = unplugged_s
        self._facts: dict[str, PhoneFacts] = {}
        self._away_since: dict[str, float] = {}
        self._submitting = asyncio.Lock()

    async def devices(self) -> Sequence[Device]:
        """Implements `Farm.devices`. Phones of one model and system are one device."""
        states = await self._server.states(self.settings.serials)
        await asyncio.gather(*(self._learn(serial) for serial, state in states.items() if state == _USABLE))
        for serial, state in states.items():
            if state != _USABLE:
                log.warning("phone %s of farm %s is %s", serial, self.settings.name, state)
        found: dict[tuple[str, str], Device] = {}
        # Usable phones last: one is enough for the device to be available.
        for serial, state in sorted(states.items(), key=lambda one: one[1] == _USABLE):
            if (facts := self._facts.get(serial)) is not None:
                device = facts.device(
                    self.settings.name, self.settings.price_per_minute_usd, available=state == _USABLE
                )
                same = found.get((device.name, device.os_version))
                usable = (same.instances if same is not None and same.available else 0) + device.available
                found[device.name, device.os_version] = dataclasses.replace(device, instances=max(1, usable))
        return list(found.values())

    async def find(self, key: str) -> Submitted | None:
        """Implements `Farm.find`."""
        noted = self._noted(key)
        states = await self._server.states(self.settings.serials)
        if noted is not None and states.get(noted) != _USABLE:
            if not self._is_lost(key):
                self._away_since.setdefault(key, time.monotonic())
                raise farm_error(noted, f"device {states.get(noted, 'not found')}; it may run {key}")
            noted = None
        else:
            self._away_since.pop(key, None)
        for serial in [noted] if noted is not None else [one for one, state in states.items() if state == _USABLE]:
            state = await RunFolder(self._server.phone(serial), key).state()
            if state.started:
                return Submitted(f"{serial}/{key}", words=state.words)
        return None

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Implements `Farm.submit`."""
        async with self._submitting:
            found = await self.find(request.key)
            if found is not None:
                return found
            wanted = [entry for entry in request.entries if refusal(entry, request.device) is None]
            blobs = {blob: await files.path(blob) for entry in wanted for blob in entry.job.blobs}
            phone = await self._leased(request)
        try:
            return await self._begin(phone, request, blobs)
        except FarmError:
            await self._give_back(phone, request.key)
            raise

    async def poll(self, submitted: Submitted) -> Polled:
        """Implements `Farm.poll`."""
        folder = self._folder(submitted)
        try:
            state = await folder.state()
        except FarmError:
            # Raises if it is the server that does not answer; attaches a phone on the network again.
            states = await self._server.states(self.settings.serials)
            if states.get(folder.phone.serial) != _USABLE:
                return self._away(submitted)
            state = await folder.state()
        self._away_since.pop(submitted.id, None)
        if not state.exists:
            return Polled(Phase.LOST, "the phone has forgotten it")
        if state.ended or not state.started:
            return Polled(Phase.ENDED if state.started else Phase.LOST, state.words)
        if state.alive:
            return Polled(Phase.RUNNING, state.words)
        return await self._dead(folder, left_something=state.begun or state.complained)

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Implements `Farm.collect`."""
        folder = self._folder(submitted)
        serial = folder.phone.serial
        try:
            state = await folder.state()
            if not state.restored:
                log.warning("phone %s: its settings could not be put back after %s", serial, request.key)
            await folder.fetch(into)
        except FarmError as error:
            if not self._is_lost(submitted.id):
                raise
            message = f"it was unplugged while it ran: {error.message}"
            return Collected(none_ran(len(request.entries), serial, message, FailureKind.INFRASTRUCTURE))
        if (into / "not_prepared").exists():
            message = f"phone {serial} cannot be put into airplane mode by its shell (Android 11 can)"
            return Collected(none_ran(len(request.entries), serial, message, FailureKind.DEVICE))
        canceled = (into / "cancel").exists()
        return Collected(
            tuple(
                result_of(entry, request.device, LeftBehind(into, number, canceled, serial))
                for number, entry in enumerate(request.entries)
            )
        )

    async def cancel(self, submitted: Submitted) -> None:
        """Implements `Farm.cancel`. A phone that is lost has nothing to cancel."""
        folder = self._folder(submitted)
        try:
            await folder.cancel()
        except FarmError:
            states = await self._server.states(self.settings.serials)
            if states.get(folder.phone.serial) == _USABLE:
                raise
            self._away(submitted)
            if not self._is_lost(submitted.id):
                raise

    async def _learn(self, serial: str) -> None:
        """Reads a phone's facts; one that does not answer keeps those it had."""
        try:
            answer = await self._server.phone(serial).shell(FACTS_COMMAND)
        except FarmError as error:
            log.warning("phone %s of farm %s says nothing: %s", serial, self.settings.name, error.message)
            return
        self._facts[serial] = parse_facts(answer.text)

    async def _leased(self, request: FarmRunRequest) -> AttachedPhone:
        """A phone of the device that is free and ready, one that failed these cells before last.

        Raises:
            FarmError: there is none now.
        """
        states = await self._server.states(self.settings.serials)
        unknown = [one for one, state in states.items() if state == _USABLE and one not in self._facts]
        await asyncio.gather(*map(self._learn, unknown))
        wanted = (request.device.name, request.device.os_version)
        fitting = [one for one in states if (f := self._facts.get(one)) and (f.name, f.os_version) == wanted]
        if not fitting:
            raise FarmError(f"device {request.device.name!r} is gone", hint="see: adb devices", kind="device")
        reasons = []
        for serial in sorted(fitting, key=lambda one: (one in request.avoid, one)):
            if states[serial] != _USABLE:
                reasons.append(farm_error(serial, f"device {states[serial]}"))
                continue
            try:
                return await self._lease(self._server.phone(serial), request.key)
            except FarmError as error:
                reasons.append(error)
        raise max(reasons, key=lambda error: error.retryable)

    async def _lease(self, phone: AttachedPhone, key: str) -> AttachedPhone:
        why = why_not_ready(parse_state((await phone.shell(READY_COMMAND)).text), self.settings)
        if why:
            raise FarmError(f"phone {phone.serial} is not ready: {why}", hint="it is asked again later", kind="device")
        lease = await take_lease(phone, key)
        if not lease.granted:
            raise FarmError(f"phone {phone.serial} is busy with {lease.held_by}", hint="it is asked again later")
        if lease.left_over:
            log.warning("phone %s: farm run %s did not end properly", phone.serial, lease.left_over)
            await RunFolder(phone, lease.left_over).bury()
            await take_lease(phone, key)
        return phone

    async def _begin(self, phone: AttachedPhone, request: FarmRunRequest, blobs: dict[ArtifactRef, Path]) -> Submitted:
        await tidy_up(phone)
        await push_missing(phone, blobs, lambda blob: _renew_lease(phone, request.key, blob.size_bytes))
        await _renew_lease(phone, request.key)
        # From here on the phone may run it, whatever this process learns of it.
        self._note(request.key, phone.serial)
        started = await RunFolder(phone, request.key).begin(script_of(request, self.settings, self._waits))
        if not started:
            raise FarmError(f"phone {phone.serial} does not start {request.key}", kind="infrastructure")
        return Submitted(f"{phone.serial}/{request.key}", words="started")

    async def _give_back(self, phone: AttachedPhone, key: str) -> None:
        """After a failure before the start. A phone that is gone gives its lease back when its time is over."""
        try:
            if not (await RunFolder(phone, key).state()).started:
                await release_lease(phone, key)
                (self._notes / key).unlink(missing_ok=True)
        except FarmError as error:
            log.warning("phone %s keeps its lease for now: %s", phone.serial, error.message)

    def _away(self, submitted: Submitted) -> Polled:
        """A phone that is not attached: it may come back, and runs on meanwhile."""
        since = self._away_since.setdefault(submitted.id, time.monotonic())
        if self._is_lost(submitted.id):
            return Polled(Phase.ENDED, "unplugged while it ran")
        return Polled(Phase.RUNNING, f"unplugged for {time.monotonic() - since:.0f} s")

    def _is_lost(self, what: str) -> bool:
        since = self._away_since.get(what)
        return since is not None and time.monotonic() - since >= self._unplugged_s

    async def _dead(self, folder: RunFolder, *, left_something: bool) -> Polled:
        """The script is gone without an end: the phone was started again, or something killed it."""
        await folder.bury()
        if left_something:
            return Polled(Phase.ENDED, "the phone ended it")
        await folder.forget()
        return Polled(Phase.LOST, "the phone ended it before it began")

    def _folder(self, submitted: Submitted) -> RunFolder:
        serial, _, key = submitted.id.rpartition("/")
        return RunFolder(self._server.phone(serial), key)

    def _note(self, key: str, serial: str) -> None:
        self._notes.mkdir(parents=True, exist_ok=True)
        for old in self._notes.iterdir():
            if time.time() - old.stat().st_mtime > _KEPT_S:
                old.unlink(missing_ok=True)
        (self._notes / key).write_text(serial, encoding="utf-8")

    def _noted(self, key: str) -> str | None:
        try:
            return (self._notes / key).read_text(encoding="utf-8") or None
        except FileNotFoundError:
            return None


async def _renew_lease(phone: AttachedPhone, key: str, size_bytes: int = 0) -> None:
    """Holds the lease while so much is pushed.

    Raises:
        FarmError: another farm run has it.
    """
    lease = await take_lease(phone, key, HOLD_S + size_bytes // _SLOWEST_PUSH)
    if not lease.granted:
        raise FarmError(f"phone {phone.serial} was given to {lease.held_by}", hint="it is asked again later")

"""The port to a device farm."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from windtunnel.artifacts.stores.port import ArtifactRef
from windtunnel.farm_dispatcher.domain.cells import RunAs
from windtunnel.farm_dispatcher.domain.device_runs import Collected, Polled, Submitted
from windtunnel.farm_dispatcher.domain.devices import Device
from windtunnel.farm_dispatcher.domain.farm_settings import FarmSettings
from windtunnel.farm_dispatcher.domain.jobs import AppKind, FarmRunRequest
from windtunnel.farms.properties import FarmProperties


class Files(Protocol):
    """Artifacts as local files."""

    async def path(self, blob: ArtifactRef) -> Path:
        """A local copy, verified by its hash.

        Args:
            blob: the artifact.

        Returns:
            A file that nobody may change.

        Raises:
            NotFound: there is no such artifact.
            Unavailable: the store does not answer.
        """
        ...


class Farm(Protocol):
    """What runs jobs on devices. One room in `adapters`, one entry in `farm_registry.FARMS`.

    Every method raises FarmError if the farm does not do what is asked. `retryable`: it is busy, throttled or does not
    answer, and the same call may succeed later; nothing is lost meanwhile. Otherwise it refuses, and `kind` says why.
    What happened to a job on its device is not an error but a `JobFailure`.
    """

    @property
    def settings(self) -> FarmSettings:
        """What farms.yaml says of it."""
        ...

    @property
    def properties(self) -> FarmProperties:
        """What holds for all its devices; each cell carries it to whoever judges the run."""
        ...

    @property
    def default_accelerator(self) -> str:
        """What a cell uses where the plan names no accelerator."""
        ...

    @property
    def runs(self) -> tuple[RunAs, ...]:
        """The kinds of job that it takes, its default first."""
        ...

    @property
    def app_kinds(self) -> tuple[AppKind, ...]:
        """The kinds of app job that it takes, the preferred one first."""
        ...

    async def devices(self) -> Sequence[Device]:
        """The devices that can be used now."""
        ...

    async def find(self, key: str) -> Submitted | None:
        """Looks for a farm run that was submitted under a key: after a crash, or a lost answer.

        Args:
            key: of its request.

        Returns:
            None: the farm has never started it.
        """
        ...

    async def submit(self, request: FarmRunRequest, files: Files) -> Submitted:
        """Starts a farm run. Repeating it with the same key starts nothing.

        Args:
            request: what to run.
            files: gives the artifacts that the jobs name.

        Returns:
            The farm run as the farm knows it.

        Raises:
            InvalidInput: a job cannot be run as it is.
        """
        ...

    async def poll(self, submitted: Submitted) -> Polled:
        """Asks how far a farm run is.

        Args:
            submitted: by `submit` or `find`, of this process or an earlier one.

        Returns:
            What the farm says.
        """
        ...

    async def collect(self, submitted: Submitted, request: FarmRunRequest, into: Path) -> Collected:
        """Fetches what an ended farm run left. Repeating it gives the same.

        Args:
            submitted: the farm run.
            request: as it was submitted.
            into: an empty folder for files.

        Returns:
            One result for each entry, whatever became of it, and the bill.
        """
        ...

    async def cancel(self, submitted: Submitted) -> None:
        """Ends a farm run on its farm. Repeating it, or canceling one that has ended, changes nothing.

        Args:
            submitted: the farm run.
        """
        ...

"""The farms of an installation as typed values: what farms.yaml says of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Protocol

_FREE: Mapping[str, Decimal] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class PollSeconds:
    """The shortest and the longest wait between two questions about a farm run."""

    min: float = 5.0
    max: float = 60.0


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent on a farm, in US dollars: for one run, and in one day (UTC). None: any amount."""

    run: Decimal | None = None
    day: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Addresses of emulators of a vendor's services. Empty: the vendor's own."""

    testing: str = ""
    toolresults: str = ""
    storage: str = ""


@dataclass(frozen=True, kw_only=True)
class FarmSettings:
    """What holds for every farm.

    Attributes:
        name: what plans call it.
        parallel: how many farm runs at once.
        attempts: at a cell, while the farm fails.
        timeout_minutes: the longest job.
        poll_seconds: waits between two questions.
        budget_usd: what may be spent.
        price_per_minute_usd: of a device, by its kind (physical, virtual).
        entries: how many cells one farm run may carry.
        pack_seconds: how long a cell waits for others of its device, in seconds.
    """

    kind: ClassVar[str] = ""
    # The farm has as many of a device as `Device.instances` says, and each runs one farm run at a time. Otherwise the
    # farm queues what it cannot run yet.
    exclusive_devices: ClassVar[bool] = False

    name: str
    parallel: int = 1
    attempts: int = 3
    timeout_minutes: float = 15.0
    poll_seconds: PollSeconds = PollSeconds()
    budget_usd: Budget = Budget()
    price_per_minute_usd: Mapping[str, Decimal] = field(default_factory=lambda: _FREE)
    entries: int = 1
    pack_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class LocalSettings(FarmSettings):
    """This host."""

    kind: ClassVar[str] = "local"
    exclusive_devices: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class ArmSettings(FarmSettings):
    """ARM64 under emulation."""

    kind: ClassVar[str] = "arm"
    exclusive_devices: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class AdbSettings(FarmSettings):
    """Phones attached to an adb server.

    Attributes:
        server: host and port of the adb server.
        serials: phones to use. Empty: all that are attached.
        min_battery_percent: a phone below waits.
        max_celsius: a battery above waits.
        cool_down_seconds: wait between two jobs on a phone.
        airplane: switch radios off while a job runs.
    """

    kind: ClassVar[str] = "adb"
    exclusive_devices: ClassVar[bool] = True

    server: str = "127.0.0.1:5037"
    serials: tuple[str, ...] = ()
    min_battery_percent: int = 20
    max_celsius: float = 40.0
    cool_down_seconds: float = 0.0
    airplane: bool = False


@dataclass(frozen=True, kw_only=True)
class FirebaseSettings(FarmSettings):
    """Firebase Test Lab.

    Attributes:
        project: of Google Cloud.
        results: gs:// folder for uploads and results.
        endpoints: of emulators.
    """

    kind: ClassVar[str] = "firebase"

    project: str
    results: str
    endpoints: Endpoints = Endpoints()


@dataclass(frozen=True, kw_only=True)
class DdpSettings(FarmSettings):
    """Google's Developer Device Platform, through the gcloud command.

    Attributes:
        project: of Google Cloud.
        results: gs:// folder for uploads and results.
        location: of the sessions. Empty: gcloud's own.
        gcloud: the command.
        endpoints: of emulators; only `storage` is used.
    """

    kind: ClassVar[str] = "ddp"

    project: str
    results: str
    location: str = ""
    gcloud: str = "gcloud"
    endpoints: Endpoints = Endpoints()


@dataclass(frozen=True, kw_only=True)
class AwsSettings(FarmSettings):
    """AWS Device Farm.

    Attributes:
        region: the service exists in us-west-2 only.
        project: its ARN.
    """

    kind: ClassVar[str] = "aws"

    project: str
    region: str = "us-west-2"


class HostSettings(Protocol):
    """What farms on this host take from the settings of the service."""

    @property
    def job_timeout_s(self) -> float:
        """The longest measurement, in seconds."""
        ...

    @property
    def job_memory_mb(self) -> int:
        """The most memory of a measurement, in MB."""
        ...

    @property
    def quiet_wait_s(self) -> float:
        """The longest wait for a quiet host, in seconds."""
        ...

    @property
    def local_lock(self) -> Path:
        """The lock of measurements on this host."""
        ...

    @property
    def home_folder(self) -> Path:
        """Where the service keeps files."""
        ...

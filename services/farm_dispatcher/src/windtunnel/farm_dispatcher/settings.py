"""Settings of the farm dispatcher."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from windtunnel.service.settings import ServiceSettings


class FarmDispatcherSettings(ServiceSettings):
    """The farm dispatcher's settings, in addition to those of every service."""

    farms: str = Field("local", description="Farms that are set up without a farms.yaml, ',' between them.")
    farms_file: Path | None = Field(None, description="farms.yaml; absent: the farms of WINDTUNNEL_FARMS.")
    cell_attempts: int = Field(3, ge=1, le=20, description="Attempts at a cell before it fails.")
    cell_backoff_s: float = Field(2.0, ge=0, description="Wait before the second attempt at a cell; doubles after it.")

    farm_lease_s: float = Field(
        10.0, gt=0, description="A dispatcher that is silent for so long does not lead its farms any more."
    )
    run_deadline_s: float = Field(
        3600.0, gt=0, description="A run ends this long after its start, if its plan is silent."
    )
    quiet_wait_s: float = Field(
        120.0,
        ge=0,
        description="Longest wait for Windtunnel's own work on this host before an unstable cell is measured again.",
    )

    @property
    def farm_names(self) -> tuple[str, ...]:
        """The farms to open."""
        return tuple(name.strip() for name in self.farms.split(",") if name.strip())

    @property
    def local_lock(self) -> Path:
        """Held while a measurement runs on this host: two at once would disturb each other."""
        return self.home_folder / "local-farm.lock"

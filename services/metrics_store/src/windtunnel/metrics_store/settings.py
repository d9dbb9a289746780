"""Settings of the metrics store."""

from __future__ import annotations

from pydantic import Field

from windtunnel.service.settings import ServiceSettings


class MetricsStoreSettings(ServiceSettings):
    """What every service takes, and where the metrics store keeps its state."""

    database_url: str = Field("", description="sqlite:///<file> or postgresql://...; empty: <home>/metrics.db.")
    run_deadline_s: float = Field(
        3600.0, gt=0, description="A run ends this long after its start, if its plan is silent."
    )

    @property
    def database(self) -> str:
        """URL of the database; the file `<home>/metrics.db` if none is set."""
        return self.database_url or f"sqlite:///{self.home_folder / 'metrics.db'}"

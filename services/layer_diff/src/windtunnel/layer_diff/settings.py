"""Settings of the layer diff."""

from __future__ import annotations

from pydantic import Field

from windtunnel.service.settings import ServiceSettings


class LayerDiffSettings(ServiceSettings):
    """The layer diff's settings, in addition to those of every service."""

    compare_threads: int = Field(1, ge=1, le=256, description="CPU threads of each of the two interpreters.")

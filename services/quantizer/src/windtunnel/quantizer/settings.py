"""Settings of the quantizer."""

from __future__ import annotations

from windtunnel.service.settings import ServiceSettings


class QuantizerSettings(ServiceSettings):
    """What every service takes; the quantizer needs nothing else."""

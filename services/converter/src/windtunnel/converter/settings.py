"""Settings of the converter."""

from __future__ import annotations

from pydantic import Field

from windtunnel.service.settings import ServiceSettings


class ConverterSettings(ServiceSettings):
    """The converter's settings, in addition to those of every service."""

    allow_model_code: bool = Field(False, description="Load Keras models with Lambda layers, which are code.")

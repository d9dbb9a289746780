"""Settings of the converter."""

from __future__ import annotations

from pydantic import Field

from windtunnel.service.settings import ServiceSettings


class ConverterSettings(ServiceSettings):
    """What the converter takes beside what every service takes."""

    allow_model_code: bool = Field(False, description="Load Keras models with Lambda layers, which are code.")

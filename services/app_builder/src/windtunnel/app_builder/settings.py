"""Settings of the app builder."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from windtunnel.service.settings import ServiceSettings


class AppBuilderSettings(ServiceSettings):
    """The app builder's settings, in addition to those of every service."""

    android_base_app: str = Field("", description="URI of the benchmark app's APK that variants are put into.")
    android_base_app_sha256: str = Field(
        "", description="SHA-256 of the base app; needed with it.", validate_default=True
    )
    android_signing_key: str = Field(
        "", description="PEM file with the private key that signs APKs; empty: one is made and kept in <home>."
    )
    android_signing_cert: str = Field(
        "", description="PEM file with the certificate of the signing key.", validate_default=True
    )

    @field_validator("android_base_app_sha256")
    @classmethod
    def _pinned(cls, value: str, info: ValidationInfo) -> str:
        if (value or info.data.get("android_base_app")) and not re.fullmatch("[0-9a-f]{64}", value):
            raise ValueError("the base app needs its SHA-256: 64 lower-case hex digits, as sha256sum prints them")
        return value

    @field_validator("android_signing_cert")
    @classmethod
    def _paired(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("android_signing_key")):
            raise ValueError("signing key and certificate go together: give both or neither")
        return value

    @property
    def kept_signing_key(self) -> Path:
        """Where a key lies that was made because none is configured."""
        return self.home_folder / "android-signing.pem"

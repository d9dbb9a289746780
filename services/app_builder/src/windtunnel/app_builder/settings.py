"""Settings of the app builder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from windtunnel.app_builder.domain.app_package import Platform
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

    ios_base_app: str = Field("", description="URI of the benchmark app's IPA that variants are put into.")
    ios_base_app_sha256: str = Field(
        "", description="SHA-256 of the base app for iOS; needed with it.", validate_default=True
    )
    ios_p12: str = Field(
        "", description="PKCS #12 file with the key and certificates that sign IPAs; empty: they are not signed."
    )
    ios_p12_password_file: str = Field("", description="File with the password of the PKCS #12 file; empty: none.")
    ios_profile: str = Field(
        "", description="Provisioning profile for signed IPAs (.mobileprovision).", validate_default=True
    )

    @field_validator("android_base_app_sha256", "ios_base_app_sha256")
    @classmethod
    def _pinned(cls, value: str, info: ValidationInfo) -> str:
        app = str(info.field_name).removesuffix("_sha256")
        if (value or info.data.get(app)) and not re.fullmatch("[0-9a-f]{64}", value):
            raise ValueError("the base app needs its SHA-256: 64 lower-case hex digits, as sha256sum prints them")
        return value

    @field_validator("android_signing_cert")
    @classmethod
    def _paired(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("android_signing_key")):
            raise ValueError("signing key and certificate go together: give both or neither")
        return value

    @field_validator("ios_profile")
    @classmethod
    def _with_key(cls, value: str, info: ValidationInfo) -> str:
        if bool(value) != bool(info.data.get("ios_p12")):
            raise ValueError("PKCS #12 file and provisioning profile go together: give both or neither")
        return value

    @property
    def base_apps(self) -> Mapping[Platform, tuple[str, str]]:
        """The base apps that are set, by platform: URI and SHA-256; empty texts: none."""
        return {
            Platform.ANDROID: (self.android_base_app, self.android_base_app_sha256),
            Platform.IOS: (self.ios_base_app, self.ios_base_app_sha256),
        }

    @property
    def kept_signing_key(self) -> Path:
        """Where a key lies that was made because none is configured."""
        return self.home_folder / "android-signing.pem"

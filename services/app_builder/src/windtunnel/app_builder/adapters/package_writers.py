"""The writers of app packages, with the key that signs them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from windtunnel.app_builder.adapters.signing import SigningKey
from windtunnel.app_builder.adapters.write_apk import write_apk
from windtunnel.app_builder.adapters.write_bundle import write_bundle
from windtunnel.app_builder.domain.app_package import BenchmarkConfig


@dataclass(frozen=True, slots=True)
class ZipPackageWriters:
    """Writes zip files and APKs. `key` None: no APK can be signed."""

    key: SigningKey | None = None

    @property
    def can_sign(self) -> bool:
        """Implements `PackageWriters.can_sign`."""
        return self.key is not None

    def bundle(self, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> str:
        """Implements `PackageWriters.bundle`."""
        return write_bundle(model, config, output)

    def apk(self, base: BinaryIO, label: str, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> str:
        """Implements `PackageWriters.apk`."""
        if self.key is None:
            raise ValueError("an APK needs a key: ask can_sign first")
        return write_apk(base, label, model, config, self.key, output)

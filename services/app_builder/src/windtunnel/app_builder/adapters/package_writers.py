"""The writers of app packages, with the keys that sign them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from windtunnel.app_builder.adapters.android import write_apk
from windtunnel.app_builder.adapters.ios import write_ipa
from windtunnel.app_builder.adapters.ios.base_ipa import BaseIpa
from windtunnel.app_builder.adapters.ios.provisioning import IosSigner
from windtunnel.app_builder.adapters.keys.signing_key import SigningKey
from windtunnel.app_builder.adapters.write_bundle import hashing, write_bundle
from windtunnel.app_builder.domain.app_package import BenchmarkConfig
from windtunnel.app_builder.domain.file_digests import blocks, sha256_of
from windtunnel.app_builder.use_cases.build_app import Written

ASSETS: Final = "assets/windtunnel"
# What the app's AssetManager calls the model.
GRAPH: Final = "windtunnel/model.tflite"
DATA: Final = "benchmark_data"
_MODEL: Final = "model.tflite"
_PARAMS: Final = "benchmark_params.json"


@dataclass(frozen=True, slots=True)
class ZipPackageWriters:
    """Writes zip files, APKs and IPAs.

    Attributes:
        key: signs APKs; None: no APK can be signed.
        ios: signs IPAs; None: they are left for the farm to sign.
    """

    key: SigningKey | None = None
    ios: IosSigner | None = None

    @property
    def can_sign(self) -> bool:
        """Implements `PackageWriters.can_sign`."""
        return self.key is not None

    def bundle(self, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> str:
        """Implements `PackageWriters.bundle`."""
        return write_bundle(model, config, output)

    def apk(self, base: BinaryIO, label: str, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> Written:
        """Implements `PackageWriters.apk`."""
        digest = hashlib.sha256()
        added = (
            write_apk.AddedFile(f"{ASSETS}/config.json", iter((config.to_json(GRAPH),))),
            write_apk.AddedFile(f"{ASSETS}/{_MODEL}", hashing(blocks(model), digest), write_apk.PAGE),
        )
        done = write_apk.write_apk(base, label, added, self._key(), output)
        return Written(done.facts, done.schemes, digest.hexdigest())

    def test_apk(self, base: BinaryIO, label: str, output: BinaryIO) -> Written:
        """Implements `PackageWriters.test_apk`."""
        done = write_apk.write_apk(base, label, (), self._key(), output)
        return Written(done.facts, done.schemes, "")

    def ipa(self, base: BinaryIO, label: str, model: BinaryIO, config: BenchmarkConfig, output: BinaryIO) -> Written:
        """Implements `PackageWriters.ipa`."""

        def read_model() -> Iterator[bytes]:
            model.seek(0)
            return blocks(model)

        def added(_: BaseIpa, paths: Iterable[str]) -> Sequence[write_ipa.AddedFile]:
            files = [
                write_ipa.AddedFile(f"{DATA}/{_MODEL}", read_model),
                _text(f"{DATA}/{_PARAMS}", config.to_benchmark_params(_MODEL)),
            ]
            if _PARAMS in paths:
                # An app whose project copies its resources without their folder reads them here.
                files.append(_text(_PARAMS, config.to_benchmark_params(f"{DATA}/{_MODEL}")))
            return files

        facts = write_ipa.write_ipa(base, label, added, self.ios, output)
        model.seek(0)
        return Written(facts, ("apple",) if self.ios else (), sha256_of(model)[0])

    def _key(self) -> SigningKey:
        if self.key is None:
            raise ValueError("an APK needs a key: ask can_sign first")
        return self.key


def _text(path: str, data: bytes) -> write_ipa.AddedFile:
    return write_ipa.AddedFile(path, lambda: iter((data,)))

"""The local farm opens what the app builder makes."""

from __future__ import annotations

import io
from pathlib import Path

from windtunnel.app_builder.adapters.write_bundle import write_bundle
from windtunnel.app_builder.domain.app_package import BenchmarkConfig
from windtunnel.farm_dispatcher.adapters.host.host_bundle import unpack_model


def test_a_bundle_of_the_app_builder_gives_its_model(tmp_path: Path) -> None:
    content = bytes(range(256)) * 300
    with (tmp_path / "app.zip").open("w+b") as output:
        write_bundle(io.BytesIO(content), BenchmarkConfig("run-1", "int8"), output)
    (tmp_path / "work").mkdir()
    assert unpack_model(tmp_path / "app.zip", tmp_path / "work").read_bytes() == content

"""Cells that need an app, and cells that need none."""

from __future__ import annotations

from windtunnel.enum_words import PLATFORM, RUN_AS
from windtunnel.v1 import types_pb2


def cell(platform: str, run_as: str = "app", skip_reason: str = "") -> types_pb2.Cell:
    """A cell on a device of a platform."""
    return types_pb2.Cell(
        id=f"{platform}-{run_as}",
        variant="int8",
        platform=platform,
        device_platform=PLATFORM.number(platform),
        run_as=RUN_AS.number(run_as),
        skip_reason=skip_reason,
    )

"""The job of the child process, which alone loads TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from windtunnel.converter.domain.conversion import Exported, Source
from windtunnel.pipeline import Shapes


def tensorflow_job(
    source: Source,
    target: Path,
    samples: Path | None,
    pipeline: Mapping[str, Any] | None,
    shapes: Shapes = MappingProxyType({}),
) -> Exported:
    """Converts with TensorFlow, see `tensorflow_convert.convert`; the import stays out of the service's process."""
    from windtunnel.converter.adapters import tensorflow_convert

    return tensorflow_convert.convert(source, target, samples, pipeline, shapes)

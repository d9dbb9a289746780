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
    """Converts with TensorFlow, see `tensorflow_convert.convert`; the import stays out of the service's process.

    Args:
        source: the model.
        target: the new .tflite file.
        samples: as for `convert`.
        pipeline: as for `convert`.
        shapes: as for `convert`.

    Returns:
        As from `convert`.
    """
    from windtunnel.converter.adapters import tensorflow_convert

    return tensorflow_convert.convert(source, target, samples, pipeline, shapes)

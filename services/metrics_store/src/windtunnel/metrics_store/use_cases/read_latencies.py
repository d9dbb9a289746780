"""The latencies of a device run, from the raw samples that it left."""

from __future__ import annotations

import json
import logging
import math
from typing import Final

from windtunnel.errors import WindtunnelError
from windtunnel.metrics_store.domain import facts
from windtunnel.metrics_store.use_cases.ports import BlobReader

log = logging.getLogger(__name__)

# Latencies that are used of one device run, and bytes of the artifact that holds them.
SAMPLES: Final = 10_000
_SAMPLES_BYTES: Final = 16 * 1024**2
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


async def latencies(artifacts: BlobReader, samples: str | None, fact: facts.Measured) -> list[float]:
    """The latencies of a device run: the raw ones if they can be read, or the median, or none.

    Args:
        artifacts: the store.
        samples: SHA-256 of the raw samples; None: there are none.
        fact: the measurement.

    Returns:
        Seconds.
    """
    if samples is not None:
        try:
            return _raw(await artifacts.read_bytes(samples, limit=_SAMPLES_BYTES))
        except (WindtunnelError, ValueError) as error:
            log.warning("raw latencies %s of cell %s cannot be used, the median is: %s", samples, fact.cell.id, error)
    p50 = fact.measurement.latency.p50
    return [] if p50 is None else [p50 * 1e-3]


def _raw(data: bytes) -> list[float]:
    """The inference latencies in a samples artifact, in seconds.

    Raises:
        ValueError: it is not such an artifact.
    """
    value = json.loads(data)
    if not isinstance(value, dict) or str(value.get("unit")) not in _SECONDS:
        raise ValueError("it is not an object with a known unit")
    figures = value.get("inference")
    if not isinstance(figures, list) or not figures:
        raise ValueError("it has no inference latencies")
    for figure in figures:
        if isinstance(figure, bool) or not isinstance(figure, int | float) or not math.isfinite(figure) or figure < 0:
            raise ValueError(f"{figure!r} is not a latency")
    return [figure * _SECONDS[value["unit"]] for figure in figures[:SAMPLES]]

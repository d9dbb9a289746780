"""The use case: the log and the raw samples of one device run become its measurement, or the reason for none."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from windtunnel.errors import InvalidInput
from windtunnel.log_parser.domain.log import RunLog
from windtunnel.log_parser.use_cases.measure_cell import Latency, Measurement, measure
from windtunnel.log_parser.use_cases.parse_log import parse_log


def judge_run(log: bytes, samples: bytes | None, *, times_count: bool = True) -> Measurement:
    """Measures a device run from its benchmark log and its raw samples, if there are any.

    Of several runs in a log the last one counts: earlier ones are of an earlier start of the app. What a failed run
    measured is not used.

    Args:
        log: what the benchmark tool printed.
        samples: JSON `{"unit": "us", "inference": [...], "warmup": [...]}`, microseconds; or None.
        times_count: False: times and memory say nothing about the device, and are left out.

    Returns:
        The measurement.

    Raises:
        InvalidInput: the log has no run, the run did not come to its end, or samples cannot be read. The code is the
            log's error kind if the run ended in an error.
    """
    parsed = parse_log(log)
    if not parsed.runs:
        raise InvalidInput(
            f"the log has no benchmark run; {parsed.unrecognized_lines} of its lines were not recognized",
            hint="did the benchmark app start?",
        )
    run = parsed.runs[-1]
    latencies = None if samples is None else read_samples(samples)
    if run.error is not None or run.truncated or (latencies is None and not _has_figures(run)):
        raise _no_measurement(run)
    found = measure(run, latencies)
    return found if times_count else dataclasses.replace(found, latency_ms=Latency(), init_ms=None, memory_mb=None)


def read_samples(data: bytes) -> list[float]:
    """The regular invocations of raw samples.

    Args:
        data: JSON, see `judge_run`.

    Returns:
        Microseconds.

    Raises:
        InvalidInput: it is not such JSON.
    """
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"the raw samples are not JSON: {error}") from error
    if not isinstance(value, dict) or value.get("unit") != "us" or not isinstance(value.get("inference"), list):
        raise InvalidInput(
            "the raw samples have another form", hint='write {"unit": "us", "inference": [...], "warmup": [...]}'
        )
    latencies: list[Any] = value["inference"]
    for index, latency in enumerate(latencies):
        if isinstance(latency, bool) or not isinstance(latency, int | float):
            raise InvalidInput(f"latency sample {index} is {latency!r:.60}", hint="give microseconds as numbers")
    return latencies


def _has_figures(run: RunLog) -> bool:
    """Whether the log states any latency of the regular invocations."""
    stats = dataclasses.asdict(run.inference)
    return any(value is not None for name, value in stats.items() if name != "count")


def _no_measurement(run: RunLog) -> InvalidInput:
    if run.error is not None:
        return InvalidInput(run.error.message, hint="see the benchmark log of this attempt", code=run.error.kind)
    if run.truncated:
        where = "the end of the run" if _has_figures(run) else "the first latency"
        return InvalidInput(f"the log stops before {where}", hint="was the app killed, or the log cut?")
    return InvalidInput("the log states no latency", hint="see the benchmark log of this attempt")

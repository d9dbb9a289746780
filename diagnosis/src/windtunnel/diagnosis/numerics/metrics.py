"""The metrics of a layer: all of them, each a pure function of the layer's sums.

To add a metric, write its formula and add it to `METRICS`. The JSON of a diagnosis, its schema, the tables of pages and
terminal, and docs/metrics.md take it from there. A is the reference, b the candidate, d = b - a, over all n values of
all samples. What a formula needs beyond the shared sums is declared with it (`Metric.sums`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from windtunnel.diagnosis.numerics.layer_totals import LayerTotals
from windtunnel.diagnosis.numerics.metric import Metric, Value
from windtunnel.diagnosis.numerics.nrmse_interval import nrmse_interval
from windtunnel.plain_text import UNKNOWN, figure, is_number, named, nrmse_text

# Pages and texts read this module: what needs NumPy is imported where it is used.


def rmse(totals: LayerTotals) -> float:
    """sqrt(sum d^2 / n)"""
    from windtunnel.tflite import tensor_error

    return tensor_error.rmse(totals.squares, totals.count)


def value_range(totals: LayerTotals) -> float:
    """max(max a - min a, max b - min b)"""
    ends = totals.reference_range, totals.candidate_range
    return max(high - low for low, high in ends) if totals.count else 0.0


def nrmse(totals: LayerTotals) -> float | None:
    """rmse / range"""
    from windtunnel.tflite import tensor_error

    return tensor_error.nrmse(rmse(totals), value_range(totals))


def nrmse_ci(totals: LayerTotals) -> tuple[float, float] | None:
    """nrmse exp(-+ t se / (2 MSE)): the 95 % interval over samples, se that of the ratio estimator, on the logarithm"""
    return None if totals.moments is None else nrmse_interval(totals.moments, value_range(totals))


def max_abs(totals: LayerTotals) -> float:
    """max |d|"""
    return totals.largest


def cosine(totals: LayerTotals) -> float | None:
    """sum a b / sqrt(sum a^2 sum b^2), in [-1, 1]"""
    close = totals.close
    if not close.count:
        return None
    if close.reference <= 0.0 or close.candidate <= 0.0:
        return 1.0 if close.reference <= 0.0 and close.candidate <= 0.0 else 0.0
    return max(-1.0, min(1.0, close.products / (math.sqrt(close.reference) * math.sqrt(close.candidate))))


def snr_db(totals: LayerTotals) -> float | None:
    """10 log10(sum a^2 / sum d^2)"""
    close = totals.close
    if close.reference <= 0.0 or close.squares <= 0.0:
        return None
    return 10.0 * (math.log10(close.reference) - math.log10(close.squares))


def bias(totals: LayerTotals) -> float | None:
    """sum d / n"""
    return totals.close.difference / totals.close.count if totals.close.count else None


def saturated(totals: LayerTotals) -> float | None:
    """(stored integers at either end of their type) / (stored integers), of the candidate"""
    stored, low, high = totals.close.stored
    return (low + high) / stored if stored else None


def dead_channels(totals: LayerTotals) -> Mapping[str, int] | None:
    """channels that hold one value over all samples and positions, of the candidate and of the reference"""
    channels = totals.close.channels
    # One value per channel is constant by itself.
    if channels is None or totals.count <= channels.channels:
        return None
    reference, candidate = channels.dead()
    return {"candidate": candidate, "reference": reference, "channels": channels.channels}


def channel_nrmse(totals: LayerTotals) -> Mapping[str, float] | None:
    """nrmse of every channel (last dimension) by its own range: the largest, which channel has it, and the median"""
    channels = totals.close.channels
    if channels is None or not channels.count:
        return None
    found = channels.nrmse(totals.close.scales)
    # NaN marks a channel without one.
    known = found[found == found]
    known.sort()
    if not len(known):
        return None
    largest, middle = float(known[-1]), float(known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2.0
    worst = int((found == largest).argmax())
    return {"axis": -1, "worst": worst, "max": largest, "median": middle, "without": len(found) - len(known)}


def _interval_text(value: Any) -> str:
    known = isinstance(value, list | tuple) and len(value) == 2
    return f"{nrmse_text(value[0])} to {nrmse_text(value[1])}" if known else ""


def _percent_text(value: Any) -> str:
    return f"{100 * value:.2g} %" if is_number(value) else UNKNOWN


def _dead_text(value: Any) -> str:
    if not isinstance(value, Mapping) or not (value.get("candidate") or value.get("reference")):
        return UNKNOWN
    return f"{named(value.get('candidate'))} / {named(value.get('reference'))} of {named(value.get('channels'))}"


def _worst_channel_text(value: Any) -> str:
    if not isinstance(value, Mapping) or not value:
        return UNKNOWN
    return f"{nrmse_text(value.get('max'))} (no. {named(value.get('worst'))})"


_COUNT: Final = {"type": "integer", "minimum": 0}
_NOT_NEGATIVE: Final = {"type": ["number", "null"], "minimum": 0}


def _parts(properties: Mapping[str, Any], *, required: tuple[str, ...]) -> Mapping[str, Any]:
    """The JSON Schema of a value with several figures."""
    known = {"type": "object", "required": list(required), "properties": dict(properties)}
    return {"oneOf": [{"type": "null"}, known]}


# In the order of the columns of a page.
METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "nrmse",
        nrmse,
        unit="share of the range",
        better="lower",
        zero="0 if both tensors are constant and equal; null, with the problem `constant_differs`, if they are not",
        source="ML-EXray (MLSys 2022)",
        title="nRMSE",
        meaning="error accumulated up to this layer, with its 95 % interval",
        shown=nrmse_text,
        in_terminal=True,
        schema=_NOT_NEGATIVE,
    ),
    Metric(
        "nrmse_ci",
        nrmse_ci,
        unit="share of the range",
        better="lower",
        zero="null for fewer than two samples, or if the range is 0; [0, 0] if the error is 0",
        source="Cochran, Sampling Techniques (1977), 6.4; delta method; Student's t",
        shown=_interval_text,
        schema={
            "oneOf": [
                {"type": "null"},
                {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 2},
            ]
        },
    ),
    Metric(
        "channel_nrmse",
        channel_nrmse,
        unit="share of the channel's range",
        better="lower",
        zero="as nrmse; a channel that is constant on both sides but different has none and is counted in `without`",
        source="as nrmse",
        samples="close",
        title="worst channel",
        meaning="largest nRMSE of a single channel",
        shown=_worst_channel_text,
        schema=_parts(
            {
                "axis": {"type": "integer"},
                "worst": _COUNT,
                "max": {"type": "number", "minimum": 0},
                "median": {"type": "number", "minimum": 0},
                "without": _COUNT,
            },
            required=("axis", "worst", "max", "median"),
        ),
    ),
    Metric(
        "snr_db",
        snr_db,
        unit="dB",
        better="higher",
        zero="null without an error, and without a signal",
        source="power ratio of signal and noise",
        samples="close",
        title="SNR dB",
        meaning="power of reference divided by power of error",
        shown=lambda value: figure(value, ".1f"),
        in_terminal=True,
    ),
    Metric(
        "cosine",
        cosine,
        unit="none",
        better="higher",
        zero="1 if both tensors are all zeros, 0 if one is",
        source="angle between two vectors",
        samples="close",
        title="cosine",
        meaning="similarity of both models' values",
        shown=lambda value: figure(value, ".4f"),
        schema={"type": ["number", "null"], "minimum": -1.000001, "maximum": 1.000001},
    ),
    Metric(
        "bias",
        bias,
        unit="real units of the layer",
        better="closer to 0",
        zero="null without values",
        source="mean error",
        samples="close",
        title="bias",
        meaning="mean of candidate minus reference, in real units",
        shown=lambda value: figure(value, ".2g"),
    ),
    Metric(
        "max_abs",
        max_abs,
        unit="real units of the layer",
        better="lower",
        zero="no denominator; 0 without values",
        source="Chebyshev distance",
        title="max abs",
        meaning="largest difference of a value, in real units",
        schema=_NOT_NEGATIVE,
    ),
    Metric(
        "rmse",
        rmse,
        unit="real units of the layer",
        better="lower",
        zero="0 without values",
        source="root mean squared error",
        schema=_NOT_NEGATIVE,
    ),
    Metric(
        "range",
        value_range,
        unit="real units of the layer",
        better="neither",
        zero="no denominator; 0 without values",
        source="the denominator of nrmse (ML-EXray, MLSys 2022)",
        schema=_NOT_NEGATIVE,
    ),
    Metric(
        "saturated",
        saturated,
        unit="share of the stored integers",
        better="neither",
        zero="null for layers that are not quantized",
        source="counted; the zeros of a ReLU are at the low end",
        samples="close",
        title="at the ends",
        meaning="share of stored values at an end of the integer type",
        shown=_percent_text,
        schema={"type": ["number", "null"], "minimum": 0, "maximum": 1},
    ),
    Metric(
        "dead_channels",
        dead_channels,
        unit="channels",
        better="lower",
        zero="null without channels, or with one value in each",
        source="counted",
        samples="close",
        title="dead channels",
        meaning="channels that never change, candidate / reference",
        shown=_dead_text,
        schema=_parts(
            {"candidate": _COUNT, "reference": _COUNT, "channels": {"type": "integer", "minimum": 1}},
            required=("candidate", "reference", "channels"),
        ),
    ),
)


def metric(name: str) -> Metric:
    """The metric with this name.

    Args:
        name: its field in the JSON of a layer.

    Returns:
        The entry of `METRICS`.

    Raises:
        KeyError: if there is none.
    """
    return {one.name: one for one in METRICS}[name]


def values_of(totals: LayerTotals) -> dict[str, Value]:
    """All metrics of a layer.

    Args:
        totals: the sums of the layer.

    Returns:
        The values by the names of the metrics.
    """
    return {one.name: one.value(totals) for one in METRICS}

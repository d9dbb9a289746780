"""Figures and names of reports as text, the same for the terminal and the page. Unknown is a dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from windtunnel.accelerators import shown_accelerator
from windtunnel.input_shapes import shapes_words
from windtunnel.plain_text import UNKNOWN as UNKNOWN
from windtunnel.plain_text import clean as clean
from windtunnel.plain_text import figure as figure
from windtunnel.plain_text import flat as flat
from windtunnel.plain_text import is_number as is_number
from windtunnel.plain_text import measure as measure
from windtunnel.plain_text import named as named
from windtunnel.plain_text import nrmse_text as nrmse_text
from windtunnel.plain_text import shorten as shorten

VERDICTS: Final[Mapping[str | None, tuple[str, str]]] = {
    "passed": ("✓", "passed"),
    "healthy": ("✓", "healthy"),
    "failed": ("✗", "failed"),
    "broken": ("✗", "broken"),
    "degraded": ("!", "degraded"),
    "could_not_run": ("?", "could not run"),
    None: ("…", "still running"),
}
GOOD: Final = frozenset({"passed", "healthy"})
BAD: Final = frozenset({"failed", "broken"})
# For a conversion with nothing to compare.
NOT_COMPARED: Final = "not checked: no original model was run, so nothing was compared"


def share(value: Any) -> str:
    """A share in [0, 1], four digits.

    Args:
        value: the figure; anything else is unknown.

    Returns:
        The digits, or the dash.
    """
    return figure(value, ".4f")


def megabytes(size_bytes: Any) -> str:
    """Bytes as MB of 10^6 bytes.

    Args:
        size_bytes: the size; anything that is not a number is unknown.

    Returns:
        The digits without the unit, or the dash.
    """
    return measure(size_bytes / 1e6) if is_number(size_bytes) else UNKNOWN


def moment(value: Any) -> str:
    """A time as UTC.

    Args:
        value: an ISO 8601 text.

    Returns:
        The date and time. Any other text is shown as it is, an absent one as a dash.
    """
    found = _time(value)
    return named(value) if found is None else found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def elapsed(start: Any, end: Any) -> str:
    """Time from start to end, in words.

    Args:
        start: an ISO 8601 text.
        end: an ISO 8601 text.

    Returns:
        The time; the dash if one of them is unknown.
    """
    first, last = _time(start), _time(end)
    if first is None or last is None:
        return UNKNOWN
    seconds = (last - first).total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _time(value: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Gate:
    """One judged gate. `column` is the figure that it limits: accuracy, size, drop, p50, ...; None: unknown here.

    `limit` is the limit at which it was judged; `sign` is ≤ for an upper and ≥ for a lower one. `why`: why it
    failed or was not judged, if that is known. `compared`: with which run, the interval and the noise, in words.
    """

    name: str
    limit: str
    measured: str
    passed: bool | None
    column: str | None
    sign: str = "≤"
    why: str = ""
    compared: str = ""

    @property
    def mark(self) -> str:
        """✓, ✗, or ? if the figure is unknown."""
        return "?" if self.passed is None else "✓" if self.passed else "✗"


_COLUMNS: Final = (
    ("accuracy_min", "accuracy", share),
    ("accuracy_max", "accuracy", share),
    ("accuracy_drop", "drop", share),
    ("latency_ms_p50", "p50", measure),
    ("latency_ms_p95", "p95", measure),
    ("size_mb", "size", measure),
    ("memory_mb", "memory", measure),
    ("layer_nrmse", "nrmse", nrmse_text),
)


def gates_of(variant: Mapping[str, Any]) -> list[Gate]:
    """The gates of a variant.

    Args:
        variant: of a report.

    Returns:
        All that it was judged by, in the order of the report.
    """
    return [_gate(entry) for entry in entries(variant, "gates")]


def _gate(entry: Mapping[str, Any]) -> Gate:
    name = clean(entry.get("gate"))
    key = name.replace(".", "_")
    column, form = next(((column, form) for known, column, form in _COLUMNS if key == known), (None, figure))
    sign = "≥" if entry.get("bound") == "at_least" else "≤"
    # A figure between the plan's limit and the limit that the number of samples allows has passed.
    bound = entry.get("limit") if entry.get("judged_at") is None else entry.get("judged_at")
    limit, measured, why = figure(bound, "g"), form(entry.get("measured")), entry.get("why")
    said = "" if why is None else clean(why)
    return Gate(name, limit, measured, entry.get("passed"), column, sign, said, _compared_words(entry))


def _compared_words(entry: Mapping[str, Any]) -> str:
    """With which run a gate compares, what the ratio may be, and what identical jobs differ by."""
    interval, noise = entry.get("interval"), entry.get("noise")
    if not (isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval))):
        return ""
    low, high = (f"{value:.3f}" for value in interval)
    words = f"{figure(entry.get('measured'))} times run {clean(entry.get('baseline'))}, interval {low} to {high}"
    return f"{words}, 1 in 20 pairs of identical jobs differs by over {noise:.1%}" if is_number(noise) else words


def worst(gates: Sequence[Gate]) -> Gate | None:
    """The gate that matters most: a failed one, otherwise an unknown one, otherwise any.

    Args:
        gates: of one figure.

    Returns:
        The gate; None if there are none.
    """
    order: Mapping[bool | None, int] = {False: 0, None: 1, True: 2}
    return min(gates, key=lambda gate: order[gate.passed], default=None)


def entries(owner: Mapping[str, Any] | None, key: str) -> list[Any]:
    """The list under a key.

    Args:
        owner: a JSON object, or None.
        key: the field.

    Returns:
        The list; an absent or null one is empty.
    """
    return list((owner or {}).get(key) or [])


def part(owner: Mapping[str, Any] | None, key: str) -> Mapping[str, Any]:
    """The object under a key.

    Args:
        owner: a JSON object, or None.
        key: the field.

    Returns:
        The object; an absent or null one is empty.
    """
    return (owner or {}).get(key) or {}


def first_over(summary: Mapping[str, Any]) -> str | None:
    """The name of the first layer that diverges. Documents give the name only, or with its index.

    Args:
        summary: the object with the field `first_over`.

    Returns:
        The name; None if no layer diverges.
    """
    found = summary.get("first_over")
    name = found.get("layer") if isinstance(found, Mapping) else found
    return None if name in (None, "") else clean(name)


def was_compared(check: Mapping[str, Any]) -> bool:
    """Whether the check of a conversion compared anything: a .tflite has no original.

    Args:
        check: the object `check` of a document.
    """
    judged = [check.get(key) for key in ("output_nrmse", "agreement", "original")]
    return check.get("passed") is not True or any(one is not None for one in judged)


def samples_words(diagnosis: Mapping[str, Any]) -> str | None:
    """The number and kind of a diagnosis' samples.

    `windtunnel diff` notes random inputs at the top of its document, a stored diagnosis in its settings.

    Args:
        diagnosis: a `windtunnel.diagnosis/1`.

    Returns:
        The words; None if it does not say.
    """
    if diagnosis.get("samples") is None:
        return None
    is_random = diagnosis.get("synthetic_samples") or part(diagnosis, "settings").get("synthetic_samples")
    return f"{named(diagnosis['samples'])} {'seeded random inputs' if is_random else 'samples'}"


def place_of(cell: Mapping[str, Any]) -> str:
    """Where a cell runs.

    Args:
        cell: of a report.

    Returns:
        Farm, device and system.
    """
    system = " ".join(clean(cell[key]) for key in ("platform", "os_version") if cell.get(key))
    device = "/".join(clean(cell[key]) for key in ("farm", "device") if cell.get(key)) or UNKNOWN
    return f"{device} ({system})" if system else device


def engine_of(cell: Mapping[str, Any]) -> str:
    """What a cell runs on.

    Args:
        cell: of a report.

    Returns:
        Accelerator and threads.
    """
    threads, accelerator = cell.get("threads"), named(shown_accelerator(str(cell.get("accelerator") or "")))
    if not threads:
        return accelerator
    return f"{accelerator}, {threads} thread{'' if threads == 1 else 's'}"


def nodes_of(cell: Mapping[str, Any]) -> str:
    """Nodes that the delegate took over, of all: "40/65".

    Args:
        cell: of a report.

    Returns:
        The two counts; the dash if there is no delegate.
    """
    if cell.get("accelerator") == "cpu" or cell.get("nodes_total") is None:
        return UNKNOWN
    return f"{named(cell.get('nodes_delegated'))}/{cell['nodes_total']}"


def conditions_words(conditions: Mapping[str, Any]) -> str:
    """The conditions of a measurement.

    Args:
        conditions: the object `conditions` of a document.

    Returns:
        Load of other processes, spread and drift in words; the dash if none is known.
    """
    found = [
        (f"others used {measure(conditions.get('other_load_cores'))} cores", conditions.get("other_load_cores")),
        (f"spread {figure(conditions.get('spread'), '.0%')}", conditions.get("spread")),
        (f"drift {figure(conditions.get('drift'), '+.0%')}", conditions.get("drift")),
    ]
    return ", ".join(words for words, value in found if is_number(value)) or UNKNOWN


def input_words(shapes: Any, *, known: bool | None = True) -> str:
    """The shapes of inputs for people: "input 1x224x224x3".

    Args:
        shapes: the list `input_shapes` of a document, or None.
        known: False: the model has open dimensions, and the sizes that ran are not known. None: not stated.

    Returns:
        The words; empty if there are no shapes.
    """
    if not shapes:
        return ""
    plural = "s" if len(shapes) > 1 else ""
    return f"input{plural} {shapes_words(shapes)}{' (dynamic dimensions taken as 1)' if known is False else ''}"

"""One run that several files of a result folder speak of: a logcat, a console, a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from windtunnel.log_parser.domain.log import Memory, RunLog, Stats


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run, and the file that says most of it; its name is below the folder or archive."""

    file: str
    run: RunLog


def merged(found: Iterable[FoundRun]) -> tuple[FoundRun, ...]:
    """Joins what several files say of one run.

    Two runs are the same if their files differ, and initialization and average latency are equal. A report of a
    failure is of the failed run that a log has with the same accelerator. Runs of which a log
    has only lines of the runtime are left out if there are others: they may be those of any app.

    Args:
        found: all runs.

    Returns:
        Each run once, in the order given.
    """
    known: list[FoundRun] = []
    places: dict[tuple[float, float], int] = {}
    for one in found:
        figures = (one.run.init_us, one.run.inference.avg_us)
        if figures[0] is None or figures[1] is None:
            known.append(one)
            continue
        place = places.setdefault((figures[0], figures[1]), len(known))
        if place == len(known) or known[place].file == one.file:
            known.append(one)
        else:
            known[place] = _joined(known[place], one)
    known = _without_repeated_failures(known)
    measured = tuple(one for one in known if _is_of_tool(one.run))
    return measured or tuple(known)


def _without_repeated_failures(known: list[FoundRun]) -> list[FoundRun]:
    """Leaves out reports that only say that a run failed, if a log has a failed run with the same accelerator."""
    failed = {(one.file, one.run.accelerator_requested) for one in known if one.run.error and one.run.model}
    return [
        one
        for one in known
        if one.run.model is not None
        or one.run.error is None
        or one.run.inference.avg_us is not None
        or not any(file != one.file and accelerator == one.run.accelerator_requested for file, accelerator in failed)
    ]


def _is_of_tool(run: RunLog) -> bool:
    """Whether a run has more than what every app that uses the runtime prints."""
    facts: Sequence[Any] = (run.model, run.model_size_mb, run.threads, run.init_us, run.inference.avg_us)
    return any(fact is not None for fact in facts) or bool(run.ops or run.top_ops) or run.error is not None


def _joined(one: FoundRun, other: FoundRun) -> FoundRun:
    """A run as its log has it, or the record that says most of it, with what the other has besides."""
    most, least = (one, other) if _weight(one.run) >= _weight(other.run) else (other, one)
    run, more = most.run, least.run
    filled: dict[str, Any] = {
        field.name: _first(getattr(run, field.name), getattr(more, field.name)) for field in fields(RunLog)
    }
    warnings = tuple(dict.fromkeys((*run.warnings, *more.warnings)))
    joined = replace(RunLog(**filled), warnings=warnings, truncated=run.truncated and more.truncated)
    return FoundRun(most.file, joined)


def _weight(run: RunLog) -> tuple[bool, int]:
    """Reports do not name the model."""
    return run.model is not None, _known(asdict(run))


def _known(value: Any) -> int:
    """How many facts a record has."""
    if isinstance(value, dict):
        return sum(_known(item) for item in value.values())
    if isinstance(value, list | tuple):
        return sum(_known(item) for item in value)
    return value is not None


def _first(value: Any, other: Any) -> Any:
    if isinstance(value, Stats | Memory):
        parts = {part.name: _first(getattr(value, part.name), getattr(other, part.name)) for part in fields(value)}
        return replace(value, **parts)
    return other if value is None or value == () else value

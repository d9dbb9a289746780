"""The steps of a run under its plan, and what has become of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from windtunnel.farms.failure_kinds import FailureKind
from windtunnel.metrics_store.domain.failure_kinds import kind_of_app, kind_of_run, kind_of_skip
from windtunnel.metrics_store.domain.record import CellState, RunRecord, VariantState
from windtunnel.metrics_store.domain.values import Failure
from windtunnel.plan.plan_values import Plan


class Outcome(Enum):
    """What has become of a step."""

    DONE = "done"
    # Ended, without what it was to give.
    FAILED = "failed"
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `text` says what failed and why, or what is missing; empty when done. `variant` None: all of it.

    `needed` False: a run waits for it, and is not incomplete without it.
    """

    variant: str | None
    outcome: Outcome
    text: str = ""
    needed: bool = True


def steps(run: RunRecord, plan: Plan | None) -> tuple[Step, ...]:
    """All steps of a run that are known up to now.

    Args:
        run: its record.
        plan: None: not known yet, or not readable.

    Returns:
        With their outcome.
    """
    return tuple(_steps(run, plan))


def is_complete(run: RunRecord, plan: Plan | None, *, with_repeats: bool = True) -> bool:
    """Whether every step has ended, well or not, or the run was canceled.

    Args:
        run: its record.
        plan: None: not known yet, or not readable.
        with_repeats: repeats that were asked for must have come too.
    """
    pending = (step for step in _steps(run, plan) if step.outcome is Outcome.PENDING)
    return run.canceled is not None or not any(step.needed or with_repeats for step in pending)


def progress(run: RunRecord, plan: Plan | None) -> tuple[int, int]:
    """How far a run is.

    Args:
        run: its record.
        plan: None: not known yet, or not readable.

    Returns:
        Steps ended, steps known up to now.
    """
    known = steps(run, plan)
    return sum(step.outcome is not Outcome.PENDING for step in known), len(known)


@dataclass(frozen=True, slots=True)
class CellFailure:
    """Why a cell has no measurement: the kind, and words for people. `skipped`: it was planned, and never to run."""

    kind: FailureKind
    message: str
    skipped: bool = False


def cell_failure(run: RunRecord, cell: CellState) -> CellFailure | None:
    """Why a cell has no measurement.

    Args:
        run: its record.
        cell: of it.

    Returns:
        None if it has one or may still get one.
    """
    if cell.measured is not None:
        return None
    if cell.not_run is not None:
        failure = cell.not_run.failure
        return CellFailure(kind_of_run(failure), explain(failure))
    if cell.skip_reason:
        return CellFailure(kind_of_skip(cell.skip_kind), cell.skip_reason, skipped=True)
    app = run.apps.get((cell.spec.variant, cell.spec.app_platform)) if cell.spec.needs_app else None
    if app is not None and app.package is None and app.not_built is not None:
        words = f"the {cell.spec.app_platform} app could not be built: {explain(app.not_built)}"
        return CellFailure(kind_of_app(app.not_built), words)
    return None


def not_made(state: VariantState) -> Failure | None:
    """Why a variant could not be made.

    Args:
        state: of the variant.

    Returns:
        None if it was, or may still be.
    """
    made = state.ready is not None or state.compared is not None or state.planned
    return None if made else state.not_made


def explain(failure: Failure) -> str:
    """A failure in one line.

    Args:
        failure: of a job.

    Returns:
        Words for people.
    """
    message = failure.message or failure.code or "no reason was given"
    return f"{message} ({failure.hint})" if failure.hint else message


def not_converted(failure: Failure) -> str:
    """Why a run has no converted model; the model is not blamed for its samples, its plan or its announcement.

    Args:
        failure: of the conversion.

    Returns:
        A sentence.
    """
    what = {
        "malformed_event": "the run could not start",
        "unknown_plan": "the run could not start",
        "sha256_missing": "the run could not start",
        "invalid_samples": "the samples cannot be used",
        "invalid_plan": "the plan cannot be used",
    }.get(failure.code, "the model could not be converted")
    return f"{what}: {explain(failure)}"


def _steps(run: RunRecord, plan: Plan | None) -> Iterator[Step]:
    if run.converted is not None:
        yield Step(None, Outcome.DONE)
    elif run.not_converted is not None:
        yield Step(None, Outcome.FAILED, not_converted(run.not_converted))
        return
    else:
        yield Step(None, Outcome.PENDING, "the model was not converted")
    if plan is None:
        yield Step(None, Outcome.PENDING, "the plan of the run is not known")
        return
    for variant in plan.variants:
        yield from _variant_steps(run, plan, variant.name)


def _variant_steps(run: RunRecord, plan: Plan, name: str) -> Iterator[Step]:
    state = run.variant(name)
    if state.ready is not None:
        yield Step(name, Outcome.DONE)
    elif (failure := not_made(state)) is not None:
        yield Step(name, Outcome.FAILED, f"variant {name} could not be made: {explain(failure)}")
        return
    else:
        yield Step(name, Outcome.PENDING, f"variant {name} was not made")
    yield _ended(
        name,
        state.compared is not None,
        state.not_compared,
        f"variant {name} could not be compared",
        f"variant {name} was not compared",
    )
    planning = _ended(
        name,
        state.planned,
        state.not_planned,
        f"the cells of variant {name} could not be planned",
        f"the cells of variant {name} were not planned",
    )
    yield planning
    if planning.outcome is Outcome.DONE:
        yield from _cell_steps(run, plan, name)


def _ended(name: str, done: bool, failure: Failure | None, failed: str, pending: str) -> Step:
    if done:
        return Step(name, Outcome.DONE)
    if failure is not None:
        return Step(name, Outcome.FAILED, f"{failed}: {explain(failure)}")
    return Step(name, Outcome.PENDING, pending)


def _cell_steps(run: RunRecord, plan: Plan, name: str) -> Iterator[Step]:
    cells = [cell for cell in run.cells_of(name) if cell.planned]
    # Filters that match no device must not look like devices that passed.
    for farm in dict.fromkeys(device.farm for device in plan.devices):
        if not any(cell.spec.farm == farm for cell in cells):
            yield Step(name, Outcome.FAILED, f"variant {name} has no cell on farm {farm}")
    for cell in cells:
        label = f"cell {cell.spec.label} of variant {name}"
        failure = cell_failure(run, cell)
        if cell.measured is not None:
            yield Step(name, Outcome.DONE)
        elif failure is not None:
            became = "was skipped" if failure.skipped else "failed"
            yield Step(name, Outcome.FAILED, f"{label} {became}: {failure.message}")
        else:
            yield Step(name, Outcome.PENDING, f"{label} has no measurement")
        if cell.awaits_diagnosis:
            yield Step(name, Outcome.PENDING, f"{label}: its edge log was not diagnosed", needed=False)
        for number, of_baseline in cell.awaited:
            of = "its baseline" if of_baseline else "it"
            yield Step(name, Outcome.PENDING, f"{label}: repeat {number} of {of} has not come", needed=False)

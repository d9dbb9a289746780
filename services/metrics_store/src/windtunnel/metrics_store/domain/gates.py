"""The gates of a plan on the figures of one variant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from windtunnel.datacheck.chance import lowest_expected, lowest_expected_share
from windtunnel.metrics_store.domain.latency_vs import CellComparison, slower_words, undecided_words
from windtunnel.metrics_store.domain.measurement_warnings import doubt
from windtunnel.metrics_store.domain.record import CellState, RunRecord
from windtunnel.metrics_store.domain.values import Layers, Measurement, Quality
from windtunnel.plan.plan_values import LatencyVs, Plan
from windtunnel.task_names import drop_of

BYTES_PER_MB: Final = 1_000_000
# It judges samples and preprocessing, so it is the same for every variant.
EXPECTED: Final = "expected_accuracy"
LATENCY_VS: Final = "latency_vs"
NO_COMPARISONS: Final[Mapping[str, CellComparison]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate of one variant. `passed` None: not judged. `place`: the cell, where it belongs to one.

    `limit` is the plan's number, an upper bound, with `at_least` a lower one. `judged_at`: the bound that the samples
    allow, where it is another. `why` says why a gate failed where the two figures do not, or why one that has a figure
    was not judged.
    """

    gate: str
    limit: float
    measured: float | None
    passed: bool | None
    place: str = ""
    why: str = ""
    at_least: bool = False
    judged_at: float | None = None
    # Of latency_vs: the run that is compared with, what the ratio may be, and what identical jobs differ by.
    baseline: str = ""
    interval: tuple[float, float] | None = None
    noise: float | None = None
    # False: the run may pass though the gate was not judged.
    needed: bool = True


def gate_results(
    run: RunRecord, plan: Plan, variant: str, comparisons: Mapping[str, CellComparison] = NO_COMPARISONS
) -> tuple[GateResult, ...]:
    """The gates that the plan sets for a variant.

    Args:
        run: its record.
        plan: of the run.
        variant: its name.
        comparisons: of latencies with a baseline, by cell id.

    Returns:
        In the plan's order.
    """
    return tuple(_results(run, plan, variant, comparisons))


def trained_accuracy(run: RunRecord, variant: str) -> float | None:
    """Accuracy of the model as trained; that of the float model if the original cannot be run here.

    Args:
        run: its record.
        variant: its name.

    Returns:
        0 to 1; None: not known.
    """
    found = _trained(run, variant)
    return None if found is None else found.accuracy


def _trained(run: RunRecord, variant: str) -> Quality | None:
    """The figures that `trained_accuracy` reads, those with an accuracy first."""
    check = None if run.converted is None else run.converted.check
    compared = run.variant(variant).compared
    known = [] if check is None else [check.original]
    known += [None if compared is None else compared.reference, None if check is None else check.converted]
    return next((quality for quality in known if quality is not None and quality.accuracy is not None), None)


def accuracy_drop(run: RunRecord, variant: str) -> float | None:
    """By how much the variant is worse than the model as trained, absolute: of an error, by how much it is larger.

    Args:
        run: its record.
        variant: its name.

    Returns:
        Of shares -1 to 1; None: not known.
    """
    compared = run.variant(variant).compared
    if compared is None:
        return None
    return drop_of(compared.candidate.metric, trained_accuracy(run, variant), compared.candidate.accuracy)


def _results(
    run: RunRecord, plan: Plan, variant: str, comparisons: Mapping[str, CellComparison]
) -> Iterator[GateResult]:
    gates = plan.gates_of(variant)
    state = run.variant(variant)
    layers = None if state.compared is None else state.compared.layers
    size = None if state.model is None else state.model.size_bytes / BYTES_PER_MB
    of_cell: tuple[tuple[str, float | None, Callable[[Measurement], float | None]], ...] = (
        ("latency_ms_p50", gates.latency_ms_p50, lambda m: m.latency.p50),
        ("latency_ms_p95", gates.latency_ms_p95, lambda m: m.latency.p95),
        ("memory_mb", gates.memory_mb, lambda m: m.memory_mb),
    )
    if plan.expected_accuracy is not None:
        yield _expected(plan.expected_accuracy, _trained(run, variant))
    if gates.accuracy_min is not None:
        accuracy = None if state.compared is None else state.compared.candidate.accuracy
        passed = None if accuracy is None else accuracy >= gates.accuracy_min
        yield GateResult("accuracy_min", gates.accuracy_min, accuracy, passed, at_least=True)
    if gates.accuracy_max is not None:
        largest = None if state.compared is None else state.compared.candidate.accuracy
        yield _bound("accuracy_max", gates.accuracy_max, largest)
    if gates.accuracy_drop is not None:
        yield _bound("accuracy_drop", gates.accuracy_drop, accuracy_drop(run, variant))
    for name, limit, figure in of_cell[:2]:
        if limit is not None:
            yield _worst_cell(run, variant, name, limit, figure)
    if gates.latency_vs is not None:
        yield _latency_vs(run, variant, gates.latency_vs, comparisons)
    if gates.size_mb is not None:
        yield _bound("size_mb", gates.size_mb, size)
    for name, limit, figure in of_cell[2:]:
        if limit is not None:
            yield _worst_cell(run, variant, name, limit, figure)
    if gates.layer_nrmse is not None:
        yield _layers(gates.layer_nrmse, layers)


def _expected(expected: float, trained: Quality | None) -> GateResult:
    """Whether the model as trained reaches the accuracy that its training reported, as far as the samples can show.

    `judged_at` is `lowest_expected` of the expected accuracy and the number of samples; for masks
    `lowest_expected_share`, which minds how much the samples differ. Other metrics of a task are taken for shares of
    samples.
    """
    if trained is None or trained.accuracy is None:
        return GateResult(EXPECTED, expected, None, None, at_least=True)
    if trained.top1 is None and trained.metric in ("", "pixel_accuracy"):
        lowest = lowest_expected_share(expected, trained.samples, trained.element_spread)
    else:
        lowest = lowest_expected(expected, trained.samples)
    if trained.accuracy >= lowest:
        return GateResult(EXPECTED, expected, trained.accuracy, passed=True, at_least=True, judged_at=lowest)
    why = (
        f"the model as trained has {trained.called} of {trained.accuracy:.4g} on {trained.samples} samples; the plan "
        f"expects {expected:.4g}, and so many samples would show at least {lowest:.4g}: samples, labels or "
        "preprocessing are not those of the training"
    )
    return GateResult(EXPECTED, expected, trained.accuracy, False, why=why, at_least=True, judged_at=lowest)


def _layers(limit: float, layers: Layers | None) -> GateResult:
    """Holds when every layer holds; one without a figure never does, though `max_nrmse` of the others may be small."""
    measured = None if layers is None else layers.max_nrmse
    if layers is None or (measured is not None and measured > limit):
        return _bound("layer_nrmse", limit, measured)
    if layers.non_finite:
        why = f"{layers.non_finite} of {layers.total} layers hold NaN or infinity (non-finite)"
        return GateResult("layer_nrmse", limit, None, passed=False, why=why)
    if layers.first_over is not None:
        # Layers were compared with this very limit: what is over it without being in the maximum has no figure.
        why = f"layer {layers.first_over} has no figure (non-finite or not comparable)"
        return GateResult("layer_nrmse", limit, None, passed=False, why=why)
    return _bound("layer_nrmse", limit, measured)


def _bound(gate: str, limit: float, measured: float | None) -> GateResult:
    return GateResult(gate, limit, measured, None if measured is None else measured <= limit)


def _latency_vs(
    run: RunRecord, variant: str, bound: LatencyVs, comparisons: Mapping[str, CellComparison]
) -> GateResult:
    """The gate on the cell that is slowest compared with its baseline; emulated cells do not count."""
    limit = round(1.0 + bound.max_increase, 12)
    cells = _real_cells(run, variant)
    found = [comparisons.get(cell.spec.id) or CellComparison(cell.spec.label) for cell in cells]
    known = [one for one in found if one.found is not None]
    open_ones = [one for one in found if one.found is None]
    if alarms := [one for one in known if one.alarm]:
        worst = max(alarms, key=_ratio)
        return _compared(worst, limit, False, slower_words(worst, limit))
    if open_ones:
        first = min(open_ones, key=lambda one: one.missing_baseline)
        needed = not all(one.missing_baseline for one in open_ones)
        return replace(_compared(first, limit, None, first.why), needed=needed)
    if not known:
        return GateResult(LATENCY_VS, limit, None, None)
    worst = max(known, key=_ratio)
    return _compared(worst, limit, True, undecided_words(worst))


def _ratio(one: CellComparison) -> float:
    assert one.found is not None
    return one.found.ratio


def _compared(one: CellComparison, limit: float, passed: bool | None, why: str) -> GateResult:
    found = one.found
    return GateResult(
        LATENCY_VS,
        limit,
        None if found is None else found.ratio,
        passed,
        one.label,
        why,
        baseline="" if one.baseline is None else one.baseline.run_id,
        interval=None if found is None else found.interval,
        noise=None if found is None else found.noise,
    )


@dataclass(frozen=True, slots=True)
class _CellFigure:
    """A figure of one cell. `doubt`: why no gate may be judged on it; empty where it can be trusted."""

    label: str
    value: float | None
    doubt: str = ""


def _worst_cell(
    run: RunRecord, variant: str, gate: str, limit: float, figure: Callable[[Measurement], float | None]
) -> GateResult:
    """The gate on the cell with the largest figure; emulated cells do not count.

    Not known while one has no figure that can be trusted and no other exceeds the limit.
    """
    found = [_figure_of(cell, gate, figure) for cell in _real_cells(run, variant)]
    sure = [(one.value, one.label) for one in found if one.value is not None and not one.doubt]
    worst, place = max(sure, default=(None, ""))
    if worst is not None and worst > limit:
        return GateResult(gate, limit, worst, False, place)
    open_ones = [one for one in found if one.value is None or one.doubt]
    if not open_ones:
        return GateResult(gate, limit, worst, None if worst is None else True, place)
    largest = max((one.value for one in found if one.value is not None), default=None)
    # What has no figure at all is reported first: it is the larger gap.
    first = min(open_ones, key=lambda one: bool(one.doubt))
    more = len(open_ones) - 1
    why = f"{first.doubt}; {more} more cell{'s' if more > 1 else ''} likewise" if first.doubt and more else first.doubt
    return GateResult(gate, limit, largest, None, first.label, why)


def _real_cells(run: RunRecord, variant: str) -> list[CellState]:
    cells = [cell for cell in run.cells_of(variant) if cell.planned or cell.measured is not None]
    return [cell for cell in cells if cell.spec.times_count]


def _figure_of(cell: CellState, gate: str, figure: Callable[[Measurement], float | None]) -> _CellFigure:
    if cell.measured is None:
        return _CellFigure(cell.spec.label, None)
    measurement = cell.measured.measurement
    value = figure(measurement)
    why = "" if value is None else doubt(cell.spec, measurement, of_latency=gate.startswith("latency"))
    return _CellFigure(cell.spec.label, value, why)

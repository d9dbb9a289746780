"""Comparison of runs: each figure of their reports with its difference from the first run's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from windtunnel.client.figures import CELL_IDENTITY, cell_identity, cell_label, cell_sizes
from windtunnel.client.listing import RunFilter, list_runs
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.task_names import better

if TYPE_CHECKING:
    from windtunnel.client.client import AsyncClient

SCHEMA: Final = "windtunnel.comparison/1"
# Name, unit, and whether more is better; None: neither.
_OF_VARIANT: Final = (
    ("accuracy", "", True),
    ("accuracy_drop", "", False),
    ("loss", "nats", False),
    ("agreement", "", True),
    ("size_bytes", "bytes", False),
    ("layers.max_nrmse", "", False),
)
_OF_CELL: Final = (
    ("latency_ms.p50", "ms", False),
    ("latency_ms.p95", "ms", False),
    ("init_ms", "ms", False),
    ("memory_mb", "MB", False),
)

Report = Mapping[str, Any]
Identity = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run of a comparison."""

    run_id: str
    model: str | None
    version: str | None
    verdict: str | None
    started_at: str | None
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure in every run.

    Attributes:
        figure: its path in the reports, with the label of a cell, since ids differ between runs.
        cell: the cell that it was measured on, None for a figure of the variant.
        more_is_better: None if neither is better.
        values: one per run; None if that run does not have it.
        differences: from the first run, one per run; None for the first, and if one of both is not known.
        ratios: to the first run, in the same way; also None if that is 0.
        unstable: whether load or spread made the run's figure worthless.
        spreads: the spread of a latency over the run's inferences, as a share of their median: the interquartile
            range, otherwise the standard deviation; None if neither is known. Empty for other figures.
    """

    figure: str
    variant: str
    name: str
    unit: str
    more_is_better: bool | None
    cell: Mapping[str, Any] | None
    values: Sequence[float | None]
    differences: Sequence[float | None]
    ratios: Sequence[float | None]
    unstable: Sequence[bool]
    spreads: Sequence[float | None] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of runs. `notes` name what makes figures hard to compare."""

    runs: Sequence[ComparedRun]
    rows: Sequence[Row]
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """`windtunnel.comparison/1`."""
        return {
            "schema": SCHEMA,
            "runs": [asdict(run) for run in self.runs],
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


async def find_run(client: AsyncClient, target: str) -> str:
    """The id of a run.

    Args:
        client: connected.
        target: a run id, or MODEL@VERSION for its newest completed run.

    Returns:
        The run id.

    Raises:
        NotFound: there is no such run.
        Unavailable: the services do not answer.
    """
    model, separator, version = target.rpartition("@")
    if not separator:
        return target
    found = await list_runs(client, RunFilter(model=model, version=version, state="completed"), 1)
    if not found:
        raise NotFound(
            f"no completed run of model {model!r} in version {version!r}", hint="`windtunnel runs` lists them"
        )
    return found[0].run_id


async def compare_runs(client: AsyncClient, targets: Sequence[str]) -> Comparison:
    """Compares runs.

    Args:
        client: connected.
        targets: as `find_run` takes them; the first one is the base.

    Returns:
        The comparison.

    Raises:
        InvalidInput: there are fewer than two.
        NotFound: there is no such run.
        Unavailable: the services do not answer.
    """
    if len(targets) < 2:
        raise InvalidInput(f"{len(targets)} run is given", hint="give two or more")
    reports = [(await client.run(await find_run(client, target)).report()).json for target in targets]
    return compare_reports(reports)


def compare_reports(reports: Sequence[Report]) -> Comparison:
    """Compares reports with the first one.

    Args:
        reports: `windtunnel.report/1` documents.

    Returns:
        The comparison.
    """
    variants = [{variant["name"]: variant for variant in report["variants"]} for report in reports]
    names = dict.fromkeys(name for of_run in variants for name in of_run)
    rows = [row for name in names for row in _variant_rows(name, [of_run.get(name) for of_run in variants])]
    return Comparison([_run(report) for report in reports], rows, list(_notes(reports, variants, rows)))


def _run(report: Report) -> ComparedRun:
    model = report["model"]
    return ComparedRun(
        report["run_id"],
        model["name"],
        model["version"],
        report["verdict"],
        report["started_at"],
        report.get("labels", {}),
    )


def _variant_rows(name: str, variants: Sequence[Report | None]) -> Iterator[Row]:
    for figure, unit, usual in _OF_VARIANT:
        values = [_value(variant, figure) for variant in variants]
        more = _more_is_better(variants) if figure == "accuracy" else usual
        yield _row(f"variants[{name}].{figure}", name, figure, unit, more, None, values, [False] * len(values))
    for cells in _matched_cells([_cells(variant) for variant in variants]):
        first = next(cell for cell in cells if cell is not None)
        place = {key: first.get(key) for key in (*CELL_IDENTITY, "input_shapes")}
        unstable = [bool(cell and cell.get("unstable")) for cell in cells]
        for figure, unit, more in _OF_CELL:
            path = f"variants[{name}].cells[{cell_label(first)}].{figure}"
            values = [_value(cell, figure) for cell in cells]
            # Load of other processes changes times, not memory.
            marks = [False] * len(cells) if figure == "memory_mb" else unstable
            row = _row(path, name, figure, unit, more, place, values, marks)
            spreads = [None if cell is None else _spread(cell) for cell in cells]
            yield replace(row, spreads=spreads) if figure.startswith("latency_ms.") else row


def _more_is_better(variants: Sequence[Report | None]) -> bool | None:
    """Of the accuracy: not of an error; None if the runs have main metrics of both kinds."""
    found = {better(str(variant.get("metric") or "")) for variant in variants if variant is not None}
    return None if len(found) > 1 else found != {"lower"}


def _row(
    path: str,
    variant: str,
    name: str,
    unit: str,
    more: bool | None,
    cell: Mapping[str, Any] | None,
    values: Sequence[float | None],
    unstable: Sequence[bool],
) -> Row:
    return Row(
        figure=path,
        variant=variant,
        name=name,
        unit=unit,
        more_is_better=more,
        cell=cell,
        values=values,
        differences=_against_first(values, lambda value, first: value - first),
        ratios=_against_first(values, lambda value, first: value / first if first else None),
        unstable=unstable,
    )


def _against_first(
    values: Sequence[float | None], compare: Callable[[float, float], float | None]
) -> list[float | None]:
    first = values[0]
    others = [None if value is None or first is None else compare(value, first) for value in values[1:]]
    return [None, *others]


def _spread(cell: Report) -> float | None:
    """The spread of a cell's times, as a share of the median; see `Row.spreads`."""
    spread = _value(cell, "conditions.spread")
    if spread is not None:
        return spread
    std, middle = _value(cell, "latency_ms.std"), _value(cell, "latency_ms.p50")
    return None if std is None or not middle else std / middle


def _value(owner: Report | None, path: str) -> float | None:
    value: Any = owner
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _matched_cells(by_identity: Sequence[Mapping[Identity, Report]]) -> Iterator[list[Report | None]]:
    """The same cell in every run, None if a run does not have it. Different input sizes are different cells.

    A cell whose input sizes are not known may be any of those, so it is a row of its own.
    """
    for identity in dict.fromkeys(identity for cells in by_identity for identity in cells):
        cells = [of_run.get(identity) for of_run in by_identity]
        sizes = list(dict.fromkeys(cell_sizes(cell) for cell in cells if cell))
        if sum(map(bool, sizes)) < 2:
            yield cells
            continue
        for own in sizes:
            yield [cell if cell and cell_sizes(cell) == own else None for cell in cells]


def _cells(variant: Report | None) -> dict[Identity, Report]:
    """The cells of a variant by place and inputs, not by id; of two that are the same, the one with figures."""
    found: dict[Identity, Report] = {}
    for cell in (variant or {}).get("cells", ()):
        identity = cell_identity(cell)
        if identity not in found or found[identity].get("status") != "measured":
            found[identity] = cell
    return found


def _notes(reports: Sequence[Report], variants: Sequence[Mapping[str, Report]], rows: Sequence[Row]) -> Iterator[str]:
    for report in reports:
        if report["verdict"] is None:
            yield f"run {report['run_id']} is still running: its figures are not complete"
    numbers = [row for row in rows if any(value is not None for value in row.values)]
    for place, report in enumerate(reports):
        if numbers and report["verdict"] == "could_not_run" and all(row.values[place] is None for row in numbers):
            yield (
                f"run {report['run_id']} could not run and has no figures: name another run of "
                f"{report['model']['name']} by its id (`windtunnel runs` lists them)"
            )
    if len({report.get("plan_sha256") for report in reports}) > 1:
        yield "the runs follow different plans: samples, devices and gates may differ"
    if len({report["model"]["name"] for report in reports}) > 1:
        yield "the runs are of different models"
    for name in dict.fromkeys(name for of_run in variants for name in of_run):
        samples = {int(of_run[name].get("samples") or 0) for of_run in variants if name in of_run} - {0}
        if len(samples) > 1:
            yield f"variant {name} was compared on different numbers of samples: {', '.join(map(str, sorted(samples)))}"
        if len({bool(of_run[name].get("synthetic_samples")) for of_run in variants if name in of_run}) > 1:
            yield f"variant {name} was compared on random inputs in one run, on samples in another"
        yield from _shape_notes(name, [of_run.get(name) for of_run in variants])


def _shape_notes(name: str, variants: Sequence[Report | None]) -> Iterator[str]:
    """Notes on measured cells without input sizes, if the same cell of another run has them."""
    by_identity = [_cells(variant) for variant in variants]
    for identity in dict.fromkeys(identity for cells in by_identity for identity in cells):
        cells = [of_run[identity] for of_run in by_identity if identity in of_run]
        measured = [cell for cell in cells if cell.get("status") == "measured"]
        known = [bool(cell_sizes(cell)) for cell in measured]
        if any(known) and not all(known):
            yield (
                f"variant {name} on {cell_label(measured[0])}: not every run has the input shape of its "
                "measurement; the figures may not be comparable"
            )

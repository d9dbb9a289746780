"""What the outcomes of the fault matrix add up to."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from benchmarks.diagnosis.cases import Outcome

_BINS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.0001))


def _of(outcomes: Iterable[Outcome], visibility: str) -> list[Outcome]:
    return [one for one in outcomes if one.visibility == visibility]


def _share(part: int, whole: int) -> str:
    # Rounded down: what is not all of it is not 100 %.
    return f"{part} of {whole}" + (f" ({1000 * part // whole / 10:.1f} %)" if whole else "")


def counts(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """The figures that count, as (what, figure)."""
    visible, clean = _of(outcomes, "visible"), _of(outcomes, "healthy")
    rows = [
        ("visible faults: cause and place right", _share(sum(one.right for one in visible), len(visible))),
        ("visible faults: cause right", _share(sum(one.code_right for one in visible), len(visible))),
        ("visible faults: place right", _share(sum(one.place_right for one in visible), len(visible))),
        (
            "clean pairs not found healthy (false alarms, errors)",
            _share(sum(not one.right for one in clean), len(clean)),
        ),
    ]
    for kind in ("faint", "invisible", "unsound"):
        some = _of(outcomes, kind)
        named, quiet = sum(one.right for one in some), sum(one.quiet for one in some)
        what = "pairs without a fault that precision alone harms" if kind == "unsound" else f"{kind} faults"
        rows.append((f"{what}: right, found healthy", f"{named}, {quiet} of {len(some)}"))
    rows.append(("could not be compared", str(sum(bool(one.error) for one in outcomes))))
    return rows


def confusion(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """Rows of expected code by first code named, with the share of right places."""
    shown = [one for one in outcomes if one.visibility in ("visible", "healthy")]
    table: dict[str, Counter[str]] = defaultdict(Counter)
    places: Counter[str] = Counter()
    for one in shown:
        wanted = one.expected[0] if one.expected else "healthy"
        got = (
            "error"
            if one.error
            else one.code or ("nothing" if one.expected else ("healthy" if one.verdict == "healthy" else one.verdict))
        )
        # A second accepted code is as right as the first.
        got = wanted if one.expected and one.code_right else got
        table[wanted][got] += 1
        places[wanted] += one.right
    columns = sorted({got for row in table.values() for got in row})
    rows = [["expected", *(column.split(".")[-1] for column in columns), "cause and place right"]]
    for wanted in sorted(table):
        cells = [str(table[wanted][column] or "") for column in columns]
        rows.append([wanted, *cells, f"{places[wanted]} of {sum(table[wanted].values())}"])
    return rows


def calibration(outcomes: Sequence[Outcome]) -> list[list[str]]:
    """How often a cause named with this confidence was right, and the Brier score of all."""
    named = [one for one in outcomes if one.code is not None]
    rows = [["confidence", "causes", "mean confidence", "right"]]
    for low, high in _BINS:
        some = [one for one in named if low <= one.confidence < high]
        if some:
            mean = sum(one.confidence for one in some) / len(some)
            right = sum(one.right for one in some) / len(some)
            rows.append([f"{low:g} to {min(high, 1):g}", str(len(some)), f"{mean:.2f}", f"{right:.2f}"])
    if named:
        brier = sum((one.confidence - one.right) ** 2 for one in named) / len(named)
        rows.append(["Brier score", str(len(named)), "", f"{brier:.3f}"])
    return rows


def by(outcomes: Sequence[Outcome], key: Callable[[Outcome], str], title: str) -> list[list[str]]:
    """Right ones of visible faults and clean pairs by a key."""
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        if one.visibility in ("visible", "healthy"):
            groups[key(one)].append(one)
    rows = [[title, "right", "cause right", "cases"]]
    for name, some in sorted(groups.items()):
        rows.append([name, str(sum(o.right for o in some)), str(sum(o.code_right for o in some)), str(len(some))])
    return rows


def _part(number: int) -> Callable[[Outcome], str]:
    return lambda one: one.name.split("/")[number]


def _form(one: Outcome) -> str:
    _, form, _, stage, _ = one.name.split("/")
    return form if stage in ("clean", "calibration") or form == "float32" else f"{form} ({stage})"


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """For the terminal."""
    parts = [f"\n{len(outcomes)} cases in {seconds:.0f} s"]
    parts += [f"{what}: {figure}" for what, figure in counts(outcomes)]
    for rows in _tables(outcomes).values():
        parts.append("\n" + _aligned(rows))
    return "\n".join(parts)


def _tables(outcomes: Sequence[Outcome]) -> dict[str, list[list[str]]]:
    return {
        "Expected cause by first cause named": confusion(outcomes),
        "Confidence": calibration(outcomes),
        "By architecture": by(outcomes, _part(0), "architecture"),
        "By form of the candidate": by(outcomes, _form, "form"),
        "By kind": by(outcomes, _part(2), "kind"),
    }


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell or " " for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The page of the documentation."""
    architectures = sorted({one.name.split("/")[0] for one in outcomes})
    parts = [_INTRODUCTION.format(cases=len(outcomes), architectures=", ".join(architectures))]
    parts.append(_markdown([["what", "figure"], *([what, figure] for what, figure in counts(outcomes))]))
    for title, rows in _tables(outcomes).items():
        parts.append(f"## {title}\n\n{_markdown(rows)}")
    wrong = [one for one in outcomes if not one.right and one.visibility in ("visible", "healthy")]
    parts.append("## What was wrong\n\n" + ("\n".join(_wrong(one) for one in wrong) or "Nothing."))
    return "\n\n".join(parts) + "\n"


def _wrong(one: Outcome) -> str:
    wanted = " or ".join(one.expected) or "healthy"
    got = one.error or (one.code or f"no cause, {one.verdict}")
    place = "at another place" if one.code_right and not one.place_right else ""
    return f"- `{one.name}`: {wanted} expected ({one.what}, effect {one.effect:.2g}); found {got} {place}".rstrip()


_INTRODUCTION = """# How good the diagnosis is

`windtunnel diff` was given {cases} pairs of models with one known fault or none, made from seeds over these
architectures: {architectures}. The page is written by `benchmarks/diagnosis/run.py --markdown`; the faults are made by
`tests/support/faults.py`, without any code of the diagnosis.

A fault is *visible* where it changes an output on the samples by more than half of what the candidate's precision does
by itself (twice, where the fault had all tensors quantised anew), *faint* where by less, *invisible* where it changes
no output at all. A pair without a fault whose output is off by more than 0.06 nRMSE through its precision alone is
counted apart. Only the first cause named counts; its place is right where layer and op index are those of the fault, or
of a tensor that must share its scale.

| code | means | do |
|---|---|---|
| `conversion.weights` | a constant differs by more than its precision explains | convert it again |
| `conversion.op` | an op, its attributes, activation or inputs differ, or one is left out | convert it again |
| `conversion.outputs` | outputs or inputs exchanged, or in another order without names | convert it again |
| `quantization.calibration_clipped`, `_wide` | ranges too small, too large | calibrate on data like it |
| `quantization.per_tensor` | one scale for channels whose ranges differ widely | one scale per channel |
| `quantization.parameters` | one tensor's scale or zero point is wrong | calibrate the tensor again |
| `quantization.shared_scale` | one scale for parts of very different range, or beside a mask | split or scale them |
| `quantization.accumulated` | no single layer: rounding adds up | `windtunnel remedy` |
| `kernel` | the same layer is right on other kernels | run it on those, report it |

A part has lost its values where its own range is less than 2.9 quantization steps of the scale that it shares: rounding
alone then gives it an nRMSE of 1 / (2.9 sqrt(12)) = 0.10. Probabilities have a range of 1, whatever the samples reach.
A cause is *verified* where its fix brings an output nearer by more than noise (10 %), alone or with the other causes
fixed. A difference that no output shows is a finding (`difference.without_effect`), and changes no verdict. Outputs in
another order that the names of the signature still find are a finding too (`conversion.output_order`).

*broken*: NaN, another output shape, top-1 lower by 0.10 or more, 30 % of the classes changed, or output nRMSE 0.30.
*degraded*: less than that, a layer over the threshold, or a known cause. nRMSE is the root mean square error over the
larger range of both tensors. The faults are ours: [those of other authors](diagnosis-by-others.md) found more."""

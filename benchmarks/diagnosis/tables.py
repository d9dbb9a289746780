"""Tables of the outcomes of the fault matrix."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from benchmarks.diagnosis.cases import Outcome

_BINS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 1.0001))


def _of(outcomes: Iterable[Outcome], visibility: str) -> list[Outcome]:
    return [one for one in outcomes if one.visibility == visibility]


def _share(part: int, whole: int) -> str:
    # Rounded down, so that only a complete share is 100 %.
    return f"{part} of {whole}" + (f" ({1000 * part // whole / 10:.1f} %)" if whole else "")


def counts(outcomes: Sequence[Outcome]) -> list[tuple[str, str]]:
    """The main figures, as pairs of what is counted and the figure."""
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
        what = "pairs without a fault, degraded by precision alone" if kind == "unsound" else f"{kind} faults"
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
    parts.append(_markdown([["result", "figure"], *([what, figure] for what, figure in counts(outcomes))]))
    for title, rows in _tables(outcomes).items():
        parts.append(f"## {title}\n\n{_markdown(rows)}")
    wrong = [one for one in outcomes if not one.right and one.visibility in ("visible", "healthy")]
    parts.append("## Wrong answers\n\n" + ("\n".join(_wrong(one) for one in wrong) or "Nothing."))
    return "\n\n".join(parts) + "\n"


def _wrong(one: Outcome) -> str:
    wanted = " or ".join(one.expected) or "healthy"
    got = one.error or (one.code or f"no cause, {one.verdict}")
    place = "at another place" if one.code_right and not one.place_right else ""
    return f"- `{one.name}`: expected {wanted} ({one.what}, effect {one.effect:.2g}); found {got} {place}".rstrip()


_INTRODUCTION = """# How good the diagnosis is

`windtunnel diff` was run on {cases} pairs of models with one known fault or none. The pairs are made from seeds, over
these architectures: {architectures}. `benchmarks/diagnosis/run.py --markdown` writes this page.
`tests/support/faults.py` makes the faults, without any code of the diagnosis.
[The README of the fault matrix](../benchmarks/diagnosis/README.md) explains forms, kinds and stages (*before*, *after*,
*crossed*).

The effect of a fault is measured at the outputs, on the samples:

| effect | meaning |
|---|---|
| *visible* | more than half of the error that precision alone causes; twice that if all tensors were requantized |
| *faint* | less than that |
| *invisible* | no output changes |

Pairs without a fault whose precision alone causes an output nRMSE of more than 0.06 are counted separately. Only the
first cause named counts. Its place is right if layer and op index are those of the fault, or of a tensor that must
share its scale.

| code | meaning | what to do |
|---|---|---|
| `conversion.weights` | a constant differs by more than its precision explains | convert again |
| `conversion.op` | an op, its attributes, activation or inputs differ, or an op is missing or added | convert again |
| `conversion.outputs` | outputs or inputs are exchanged, or in another order without names | convert again |
| `quantization.calibration_clipped`, `_wide` | ranges are too small, too large | calibrate on representative data |
| `quantization.per_tensor` | one scale for channels whose ranges differ widely | one scale per channel |
| `quantization.parameters` | the scale or zero point of one tensor is wrong | calibrate the tensor again |
| `quantization.shared_scale` | one scale for parts of very different range, or a mask | split or scale them |
| `quantization.accumulated` | no single layer: rounding accumulates | `windtunnel remedy` |
| `kernel` | the same layer is right on other kernels | run it on those, report it |

A part loses its values if its own range is less than 2.9 quantization steps of the scale that it shares. Rounding
alone then gives it an nRMSE of 1 / (2.9 sqrt(12)) = 0.10. Probabilities have a range of 1, whatever range is
observed.

A cause is *verified* if its fix brings an output closer to the reference by more than noise (10 %), alone or together
with the fixes of the other causes. A difference that changes no output is a finding (`difference.without_effect`),
which does not affect the verdict. Outputs in another order that can still be matched by the names of the signature
are a finding too (`conversion.output_order`).

Causes and exclusions name the rule that decided (`rule`); [thresholds.md](thresholds.md) lists the rules and their
thresholds.

| figure | *degraded* if | *broken* if |
|---|---|---|
| top-1 of the candidate | lower by more than 0.02 | lower by 0.10 or more |
| samples with another predicted class | more than 5 % | 30 % or more |
| nRMSE of the worst output | above the threshold (0.1) | 0.30 or more |
| NaN, infinity, shapes of outputs | | only the candidate has NaN or infinity, or a shape differs |
| layers | one diverges, or none could be compared | |
| causes | one is known | |

Otherwise the candidate is *healthy*. A drop of top-1, and a share of changed classes, count only if chance does not
explain them ([decision 7](decisions/0007-small-losses-may-be-chance.md)). A changed class counts only if the
reference's class was clear ([decision 8](decisions/0008-a-class-must-be-clear-to-count-as-changed.md)).

nRMSE is the root mean square error divided by the larger range of the two tensors. The developers of the diagnosis
chose these faults: [independently written fault sets](diagnosis-by-others.md) are harder."""

"""Tables of the outcomes of the matrix of apps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from benchmarks.app_diagnosis.outcomes import Judged, Outcome

_RIGHT = "right app"
Rows = list[list[str]]


def _share(part: int, whole: int) -> str:
    # Rounded down, so that only a complete share is 100 %.
    return f"{part} of {whole}" + (f" ({1000 * part // whole / 10:.1f} %)" if whole else "")


def counts(outcomes: Sequence[Outcome]) -> Rows:
    """The main figures.

    Args:
        outcomes: of all cases.

    Returns:
        Rows of what is counted and the figure.
    """
    clean = [one for one in outcomes if one.clean]
    faulty = [one for one in outcomes if one.wanted]
    wanted = [fault for one in faulty for fault in one.wanted]
    placed = [fault for fault in wanted if fault.placed is not None]
    named = [code for one in outcomes for code in dict.fromkeys(one.named)]
    false = [code for one in outcomes for code in one.false]
    rows = [["result", "figure"]]
    rows.append(["visible faults named (recall)", _share(sum(one.found for one in wanted), len(wanted))])
    rows.append(["causes named that are right (precision)", _share(len(named) - len(false), len(named))])
    rows.append(["kernel faults placed at their op", _share(sum(bool(one.placed) for one in placed), len(placed))])
    for number, word in ((1, "one fault"), (2, "two faults"), (3, "three faults")):
        some = [one for one in faulty if len(one.faults) == number]
        rows.append([f"cases with {word}: all named, nothing else", _share(sum(one.right for one in some), len(some))])
    rows.append(["right apps found healthy", _share(sum(one.right for one in clean), len(clean))])
    rows.append(["cases that could not be diagnosed", str(sum(bool(one.error) for one in outcomes))])
    return rows


def confusion(outcomes: Sequence[Outcome]) -> Rows:
    """Expected codes by what was named.

    Args:
        outcomes: of all cases.

    Returns:
        For each code: how often it was planted, named, missed, and what was falsely named in the cases that missed it
        or, for right apps, at all; and how often it was named falsely.
    """
    planted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    instead: dict[str, Counter[str]] = defaultdict(Counter)
    false = Counter(code for one in outcomes for code in one.false)
    for one in outcomes:
        for fault in one.wanted:
            planted[fault.code] += 1
            found[fault.code] += fault.found
            if not fault.found:
                instead[fault.code].update(one.false or ("error" if one.error else "nothing",))
        if one.clean:
            planted[_RIGHT] += 1
            found[_RIGHT] += one.right
            if not one.right:
                instead[_RIGHT].update(one.false or ("error" if one.error else one.verdict,))
    rows = [["expected", "planted", "named", "missed", "named instead", "falsely named"]]
    for code in sorted(planted | false):
        missed = planted[code] - found[code]
        others = ", ".join(f"{name} {count}" for name, count in instead[code].most_common())
        rows.append([code, str(planted[code]), str(found[code]), str(missed), others, str(false[code])])
    return rows


def by_fault(outcomes: Sequence[Outcome], number: int | None = None) -> Rows:
    """Every kind of fault: how often it was named.

    Args:
        outcomes: of all cases.
        number: only cases with so many faults; None: all.

    Returns:
        Rows of fault, code, cases, named, and the faint ones.
    """
    groups: dict[str, list[Judged]] = defaultdict(list)
    for one in outcomes:
        if number is None or len(one.faults) == number:
            for fault in one.faults:
                groups[fault.fault].append(fault)
    rows = [["fault", "code", "visible", "named", "faint, named", "invisible, named"]]
    for name, some in sorted(groups.items(), key=lambda item: (item[1][0].code, item[0])):
        parts = [[one for one in some if one.visibility == kind] for kind in ("visible", "faint", "invisible")]
        named = [sum(one.found for one in part) for part in parts]
        rest = [f"{count} of {len(part)}" if part else "" for part, count in zip(parts[1:], named[1:], strict=True)]
        rows.append([name, some[0].code, str(len(parts[0])), str(named[0]), *rest])
    return rows


def by_part(outcomes: Iterable[Outcome], part: Callable[[Outcome], str], title: str) -> Rows:
    """Right answers by a part of the name.

    Args:
        outcomes: of all cases.
        part: of an outcome.
        title: of the part.

    Returns:
        Rows of the part, right answers and cases.
    """
    groups: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        if one.clean or one.wanted:
            groups[part(one)].append(one)
    rows = [[title, "right", "cases"]]
    return rows + [[name, str(sum(one.right for one in some)), str(len(some))] for name, some in sorted(groups.items())]


def _tables(outcomes: Sequence[Outcome]) -> dict[str, Rows]:
    return {
        "Expected causes by what was named": confusion(outcomes),
        "By fault": by_fault(outcomes),
        "By domain": by_part(outcomes, lambda one: one.name.split("/")[0], "domain"),
        "By model": by_part(outcomes, lambda one: "/".join(one.name.split("/")[:2]), "model"),
        "By form of the model": by_part(outcomes, lambda one: one.name.split("/")[2], "form"),
        "By library of the app": by_part(outcomes, lambda one: one.name.split("/")[3], "library"),
    }


def misses(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each wrong answer.

    Args:
        outcomes: of all cases.

    Returns:
        Lines with the name of the case, what was missed and what was falsely named.
    """
    lines = []
    for one in outcomes:
        judged = one.clean or bool(one.wanted)
        if (one.right or not judged) and not one.false and not one.error:
            continue
        parts = [f"missed {', '.join(f'{fault.code} ({fault.fault})' for fault in one.missed)}"] if one.missed else []
        parts += [f"falsely named {', '.join(one.false)}"] if one.false else []
        parts += ["another place"] if any(fault.placed is False and fault.found for fault in one.wanted) else []
        parts += [one.error] if one.error else []
        parts += [f"found {one.verdict}"] if one.clean and one.verdict != "healthy" and not one.error else []
        parts += [f"note: {one.note}"] if one.note else []
        lines.append(f"{one.name}: {'; '.join(parts)}")
    return lines


def summary(outcomes: Sequence[Outcome]) -> str:
    """For the terminal.

    Args:
        outcomes: of all cases.

    Returns:
        Text.
    """
    parts = [f"\n{len(outcomes)} cases", _aligned(counts(outcomes))]
    parts += [f"\n{title}\n{_aligned(rows)}" for title, rows in _tables(outcomes).items()]
    wrong = misses(outcomes)
    parts.append(f"\n{len(wrong)} wrong answers\n" + "\n".join(wrong))
    return "\n".join(parts)


def _aligned(rows: Rows) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _markdown(rows: Rows) -> str:
    lines = ["| " + " | ".join(cell or " " for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def markdown(outcomes: Sequence[Outcome], day: str) -> str:
    """The page of the documentation.

    Args:
        outcomes: of all cases.
        day: when they were made.

    Returns:
        Markdown.
    """
    parts = [_INTRODUCTION.format(cases=len(outcomes), day=day), _markdown(counts(outcomes))]
    parts += [f"## {title}\n\n{_markdown(rows)}" for title, rows in _tables(outcomes).items()]
    wrong = misses(outcomes)
    parts.append("## Wrong answers\n\n" + ("\n".join(f"- `{line}`" for line in wrong) or "None."))
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """# How good the diagnosis of apps is

`windtunnel diagnose` was run on {cases} apps with known faults or none ({day}). `benchmarks/app_diagnosis/run.py
--markdown` writes this page. `tests/support/app_faults` makes the apps from seeds, with OpenCV, Pillow, NumPy and
SciPy, and without any code of the diagnosis.

The name of a case says what it is: domain/model/form/library/faults/samples/seed. The same name makes the same files
on every machine: `python benchmarks/app_diagnosis/run.py --case NAME --keep DIR`. A form with `@float32` is diagnosed
with the float model as the reference.

Faults are planted alone, in pairs and in triples. The effect of a fault is measured at the model's input, by the same
app without the fault:

| effect | meaning |
|---|---|
| *visible* | the input changes by more than one level of 255 (root mean square), or the fault is not in the input |
| *faint* | less than that, as the rounding of a right app |
| *invisible* | nothing changes in these samples |

Every visible fault must be named, and nothing else. Faint and invisible faults may be named, but need not be. Right
apps compute the same as the pipeline with another library; their own rounding is not a fault."""

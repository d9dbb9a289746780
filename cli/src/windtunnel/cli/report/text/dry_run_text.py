"""The text of `windtunnel submit --dry-run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from windtunnel.accelerators import shown_accelerator
from windtunnel.cli.report.formatting import clean

# More places than this are counted by farm, not listed.
_MOST: Final = 40


def dry_run_text(document: Mapping[str, Any]) -> str:
    """A planned run as text.

    Args:
        document: a `windtunnel.dry_run/1`.

    Returns:
        The lines as one text.
    """
    return "\n".join(_lines(document))


def _lines(document: Mapping[str, Any]) -> Iterator[str]:
    variants = document["variants"]
    yield f"{clean(document['model'])}: nothing is started"
    yield f"variants   {', '.join(clean(one['name']) for one in variants)}"
    yield f"cells      {document['cells']} can run, {document['skipped']} are skipped; of each variant:"
    yield ""
    # Every variant has the same places.
    places = variants[0]["cells"] if variants else []
    yield from _places([cell for cell in places if cell["skip_reason"] is None], len(variants))
    skipped = [cell for cell in places if cell["skip_reason"] is not None]
    for reason, count in Counter(cell["skip_reason"] for cell in skipped).items():
        yield f"  skipped{f' {count} times' if count > 1 else ''}: {clean(reason)}"
    if document["farms"]:
        yield ""
        yield from _costs(document)
    yield from _reuse(document["reuse_seconds"])
    for problem in document["problems"]:
        yield f"problem: {problem}"


def _places(cells: Sequence[Mapping[str, Any]], variants: int) -> Iterator[str]:
    if len(cells) > _MOST:
        for farm, count in Counter(cell["farm"] for cell in cells).items():
            devices = len({(cell["device"], cell["os_version"]) for cell in cells if cell["farm"] == farm})
            yield f"  {clean(farm)}: {count} cells of each variant on {devices} devices"
        return
    for cell in cells:
        threads = "1 thread" if cell["threads"] == 1 else f"{cell['threads']} threads"
        way = ", as an app" if cell["run_as"] == "app" else ""
        system = f"{cell['platform']} {clean(cell['os_version'] or '')}".rstrip()
        place = f"{clean(cell['farm'])}/{clean(cell['device'])} ({system})"
        yield f"  {place}: {clean(shown_accelerator(cell['accelerator']))}, {threads}{way}"


def _costs(document: Mapping[str, Any]) -> Iterator[str]:
    head = ("FARM", "CELLS", "FARM RUNS", "BILLED", "COST", "UNPACKED", "BUDGET")
    rows = [head, *map(_farm_row, document["farms"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        first = row[0].ljust(widths[0])
        yield "  ".join([first, *map(str.rjust, row[1:], widths[1:])]).rstrip()
    most = "nothing" if document["cost_usd"] is None else f"{_money(document['cost_usd'])} at most"
    yield f"expected cost: {most}{_of_budget(document['budget_usd'])}"
    if document["cost_usd"] and len(document["variants"]) > 1:
        yield "variants that are ready together share farm runs, which costs less"


def _farm_row(farm: Mapping[str, Any]) -> tuple[str, ...]:
    limits = farm["budget_usd"]
    words = [f"{_money(limits[name])} a {name}" for name in ("run", "day") if limits[name] is not None]
    if farm["today_usd"] is not None:
        words.append(f"{_money(farm['today_usd'])} spent today")
    billed = f"{farm['billed_minutes']:g} min" if farm["cost_usd"] is not None else ""
    return (
        clean(farm["farm"]),
        str(farm["cells"]),
        str(farm["farm_runs"]),
        billed,
        _money(farm["cost_usd"]),
        _money(farm["unpacked_cost_usd"]) if farm["cost_usd"] is not None else "",
        ", ".join(words),
    )


def _reuse(seconds: int | None) -> Iterator[str]:
    if seconds:
        age = f"{seconds / 86400:g} days" if seconds >= 86400 else f"{seconds / 3600:g} hours"
        yield f"reuse: a cell with a measurement of the same variant in the last {age} takes it, and costs nothing"


def _of_budget(usd: float | None) -> str:
    return "" if usd is None else f", of a budget of {_money(usd)}"


def _money(usd: float | None) -> str:
    return "free" if usd is None else f"${usd:.2f}"

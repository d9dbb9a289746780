"""The text of `windtunnel devices`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from windtunnel.accelerators import shown_accelerator
from windtunnel.cli.report.formatting import clean

_HEAD: Final = ("FARM", "DEVICE", "NAME", "SYSTEM", "KIND", "PER MINUTE", "ACCELERATORS")
# A name that is longer moves the rest of its line, not the whole table.
_WIDEST: Final = 32


def devices_text(devices: Sequence[Mapping[str, Any]]) -> str:
    """A table of devices.

    Args:
        devices: as `devices --json` lists them.

    Returns:
        A line for each, below their heads.
    """
    rows = [_HEAD, *map(_row, devices)]
    widths = [max(min(len(row[column]), _WIDEST) for row in rows) for column in range(len(_HEAD) - 1)]
    lines = ("  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in rows)
    return "\n".join(lines)


def _row(device: Mapping[str, Any]) -> tuple[str, ...]:
    maker, name = clean(device["maker"] or ""), clean(device["name"])
    called = name if name.casefold().startswith(maker.casefold()) else f"{maker} {name}"
    kind = device["kind"] if device["available"] else f"{device['kind']}, not available"
    return (
        clean(device["farm"]),
        clean(device["device"]),
        called if called != clean(device["device"]) else "",
        f"{device['platform']} {clean(device['os_version'])}",
        kind,
        price_words(device["price_per_minute_usd"]),
        ", ".join(clean(shown_accelerator(one)) for one in device["accelerators"]),
    )


def price_words(usd: float | None) -> str:
    """The price of a started minute.

    Args:
        usd: in US dollars; None: it costs nothing.

    Returns:
        For example "$0.17".
    """
    return "free" if usd is None else f"${usd:.4f}".rstrip("0") if round(usd, 2) != usd else f"${usd:.2f}"

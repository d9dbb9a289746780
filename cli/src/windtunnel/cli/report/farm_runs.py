"""What carried the cells of a report, what they cost, and which kind of failure they had: the words for both forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from windtunnel.cli.report.formatting import clean, is_number, part, shorten


def dollars(cost: Any) -> str:
    """A cost.

    Args:
        cost: US dollars; it comes from a document.

    Returns:
        With at least two and at most six decimals, for example "0.1702 USD"; empty if it is not known.
    """
    if not is_number(cost):
        return ""
    whole, _, decimals = f"{cost:.6f}".partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')} USD"


def web_link(url: Any) -> str:
    """An address that a page may link to.

    Args:
        url: as a farm gave it.

    Returns:
        Empty for anything but an http or https address with a host.
    """
    if not isinstance(url, str) or any(not character.isprintable() or character.isspace() for character in url):
        return ""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and host else ""


def job_words(cell: Mapping[str, Any]) -> str:
    """What carried a cell.

    Args:
        cell: of a report.

    Returns:
        For example "farm run matrix-1k2, run as an app"; empty if nothing is known.
    """
    said = [f"farm run {shorten(clean(cell['farm_run']), 80)}"] if cell.get("farm_run") else []
    said += ["an earlier measurement was reused"] if cell.get("reused") is True else []
    said += ["run as an app"] if cell.get("run_as") == "app" else []
    return ", ".join(said)


def status_words(cell: Mapping[str, Any]) -> str:
    """The status of a cell, with the kind of its failure.

    Args:
        cell: of a report.

    Returns:
        For example "failed (quota)".
    """
    status, kind = cell.get("status"), part(cell, "failure").get("kind")
    return f"{clean(status)} ({clean(kind)})" if status and kind else clean(status or "")

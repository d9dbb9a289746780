"""Fields of a report that the page shows as names and values: plan, tools, devices, hashes, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from windtunnel.cli.report.formatting import clean, entries, flat, part, place_of

_FACTS_SHOWN = 80
_SHOWN_ELSEWHERE = frozenset(
    {
        *("schema", "run_id", "model", "verdict", "reasons", "started_at", "ended_at"),
        *("variants", "conversion", "labels", "findings"),
    }
)
# Counts of nodes describe a model on a device, not the device.
_NODE_COUNTS = frozenset({"nodes_delegated", "nodes_total"})
_VARIANT_FACTS = (
    "sha256",
    "size_bytes",
    "calibration_samples",
    "calibration_from_samples",
    "synthetic_samples",
    "tool_versions",
    "diagnosis_problem",
    "problems",
)


def other_facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Everything that no other section of a run's page shows: how variants were calibrated, devices, versions.

    Args:
        report: a `windtunnel.report/1`.

    Returns:
        Names and values.
    """
    other: dict[str, Any] = {key: value for key, value in report.items() if key not in _SHOWN_ELSEWHERE}
    variants = entries(report, "variants")
    for cell in (cell for variant in variants for cell in entries(variant, "cells")):
        found = part(cell, "device_facts").items()
        other[f"device {place_of(cell)}"] = {key: value for key, value in found if key not in _NODE_COUNTS}
    for variant in variants:
        known = {key: variant[key] for key in _VARIANT_FACTS if variant.get(key)}
        other[f"variant {clean(variant.get('name'))}"] = known
    return fact_rows(other)


def fact_rows(value: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and values of fields whose meaning the page does not know, as far as there is room.

    Args:
        value: a JSON object.

    Returns:
        Keys in words, with their values as text.
    """
    rows = [(key, words) for key, words in flat(value) if words]
    if len(rows) > _FACTS_SHOWN:
        rows = [*rows[:_FACTS_SHOWN], ("…", f"and {len(rows) - _FACTS_SHOWN} more")]
    return rows

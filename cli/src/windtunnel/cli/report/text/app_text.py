"""The diagnosis of apps for the terminal: one recording as a diagnosis, several as a list before the worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from windtunnel.cli.report.formatting import clean, entries, named, nrmse_text, part, share
from windtunnel.cli.report.text.diagnosis_text import render_diagnosis
from windtunnel.cli.report.text.layout import heading, verdict_words

_DEVICE = ("app", "app_version", "device", "os", "accelerator")


def render_app_diagnoses(document: Mapping[str, Any], console: Console) -> None:
    """Prints the diagnosis of one or more recordings.

    Args:
        document: a `windtunnel.diagnosis/1`, with `recordings` if there are several.
        console: where it is printed.
    """
    recordings = entries(document, "recordings")
    if recordings:
        heading(console, f"{len(recordings)} recordings")
        for one in sorted(recordings, key=_group):
            console.print(Padding(_line(one), (0, 0, 0, 2), expand=False))
        heading(console, f"The worst: {clean(part(document, 'edge').get('source'))}")
    render_diagnosis(dict(document), console)


def _group(diagnosis: Mapping[str, Any]) -> tuple[str, ...]:
    device = part(part(diagnosis, "edge"), "device")
    return tuple(named(device.get(key) or "") for key in ("device", "os", "app", "app_version"))


def _line(diagnosis: Mapping[str, Any]) -> Text:
    """A recording in a line: verdict, device, file, figures and causes."""
    edge = part(diagnosis, "edge")
    device = part(edge, "device")
    where = ", ".join(clean(device[key]) for key in _DEVICE if device.get(key))
    text = verdict_words(diagnosis.get("verdict"))
    text.append(f" {where or clean(edge.get('source'))}", style="not bold not red not yellow not green")
    candidate = part(diagnosis, "accuracy").get("candidate")
    inputs = [value for value in part(diagnosis, "input_nrmse").values() if value is not None]
    figures = [
        f"top-1 {share(candidate.get('top1'))}" if candidate else "",
        f"input nRMSE {nrmse_text(max(inputs))}" if inputs else "",
        ", ".join(clean(one.get("code")) for one in entries(diagnosis, "causes")),
    ]
    text.append("".join(f"; {one}" for one in figures if one), style="not bold not red not yellow not green")
    return text

"""What apps recorded in the cells of a run, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from windtunnel.cli.report.recorded_apps import AppCauseWords, recorded_apps
from windtunnel.cli.report.text.layout import bullets, heading, line, verdict_words


def recorded_apps_text(variants: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Prints the diagnoses of apps; nothing if no app recorded anything.

    Args:
        variants: of a report.
        console: where it is printed.
    """
    found = recorded_apps(variants)
    if not found:
        return
    heading(console, "What apps recorded")
    for app in found:
        title = verdict_words(app.verdict if app.verdict is not None else "could_not_run")
        title.append(f"  {app.variant} on {app.place}", style="not bold not green not red not yellow")
        console.print(title)
        if app.problem:
            line(console, app.problem, indent=2)
        bullets([_cause_words(cause) for cause in app.causes], console)
        if app.frames:
            line(console, f"{app.frames} frames replayed", style="dim", indent=2)
        for gap in app.gaps:
            line(console, f"missing: {gap}", style="dim", indent=2)


def _cause_words(cause: AppCauseWords) -> str:
    at = f" at {cause.place}" if cause.place else ""
    return f"{cause.code}{at} ({cause.proof}, confidence {cause.confidence}): {' '.join(cause.points)}"

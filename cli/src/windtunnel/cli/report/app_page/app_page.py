"""The page of `windtunnel diagnose --html`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from windtunnel.cli.report.app_page.app_samples import Sample, samples_section
from windtunnel.cli.report.formatting import clean, entries, named, part
from windtunnel.cli.report.html.diagnosis_page import variant_diagnosis
from windtunnel.cli.report.html.facts import fact_rows
from windtunnel.cli.report.html.rendering import render


@dataclass(frozen=True, slots=True)
class _Recording:
    """A recording: where it was made, its diagnosis, and its samples."""

    title: str
    verdict: str | None
    device: Sequence[tuple[str, str]]
    body: Markup
    samples: Markup


def app_page(
    document: Mapping[str, Any],
    samples: Sequence[Sequence[Sample]],
    *,
    model: str,
    vocabulary: Sequence[str] = (),
) -> str:
    """The page of the diagnosis of one or more apps.

    Args:
        document: a windtunnel.diagnosis/1 of `diagnose`; of several recordings it lists them under `recordings`.
        samples: of each recording, in the same order; a recording without any has an empty list.
        model: name of the model's file.
        vocabulary: tokens by id, for text; empty: ids are shown.

    Returns:
        The page as HTML.
    """
    listed = entries(document, "recordings") or [document]
    shown = [*samples, *[()] * len(listed)]
    return render(
        "app.html.j2",
        title=f"{clean(model)} in an app",
        model=clean(model),
        verdict=_worst([one.get("verdict") for one in listed]),
        recordings=[_recording(one, shown[number], vocabulary) for number, one in enumerate(listed)],
    )


def _worst(verdicts: Sequence[str | None]) -> str | None:
    return next((one for one in ("broken", "degraded", "healthy") if one in verdicts), None)


def _recording(found: Mapping[str, Any], samples: Sequence[Sample], vocabulary: Sequence[str]) -> _Recording:
    edge = part(found, "edge")
    return _Recording(
        title=named(edge.get("source")),
        verdict=found.get("verdict"),
        device=fact_rows(part(edge, "device")),
        body=variant_diagnosis(found),
        samples=samples_section(samples, vocabulary=vocabulary),
    )

"""What a run used and made, artifact by artifact, with the part that each has in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from windtunnel.metrics_store.domain.lineage import Execution, LineageArtifact
from windtunnel.metrics_store.domain.values import Blob

# Which kind of execution makes which kind of artifact; the others are what a run is given.
_MADE_BY: Final[Mapping[str, str]] = {
    "float_model": "convert",
    "variant": "quantize",
    "diagnosis": "compare",
    "app": "build",
    "log": "run",
    "samples": "run",
    "edge_log": "run",
    "app_diagnosis": "diagnose",
    "report": "judge",
}
_ORDER: Final = (
    "trained_model",
    "plan",
    "float_model",
    "variant",
    "diagnosis",
    "app",
    "log",
    "samples",
    "report",
    "edge_log",
    "app_diagnosis",
)
_SUFFIX: Final[Mapping[str, str]] = {
    "plan": ".json",
    "float_model": ".tflite",
    "variant": ".tflite",
    "diagnosis": ".json",
    "log": ".log",
    "samples": ".json",
    "edge_log": ".mcap",
    "app_diagnosis": ".json",
    "report": ".json",
}
_APP_SUFFIX: Final[Mapping[str, str]] = {"android": ".apk", "ios": ".ipa"}
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class RunArtifact:
    """An artifact and its part in a run. Empty: it belongs to the whole run; `made_at` None: it was given."""

    artifact: Blob
    kind: str
    variant: str = ""
    platform: str = ""
    cell_id: str = ""
    attempt: int = 0
    made_at: datetime | None = None


def artifacts_of_run(kept: Sequence[LineageArtifact], executions: Sequence[Execution]) -> list[RunArtifact]:
    """One entry for each part that an artifact has: two variants of the same bytes are two.

    Args:
        kept: artifacts of the run.
        executions: that made them.

    Returns:
        In the order of the run's parts.
    """
    found = [entry for item in kept for entry in _parts(item, executions)]
    return sorted(found, key=lambda e: (_rank(e.kind), e.variant, e.platform, e.cell_id, e.attempt, e.artifact.sha256))


def _parts(item: LineageArtifact, executions: Sequence[Execution]) -> list[RunArtifact]:
    kind = _MADE_BY.get(item.kind)
    makers = [e for e in executions if e.kind == kind and item.artifact.sha256 in e.outputs]
    if not makers:
        return [RunArtifact(item.artifact, item.kind)]
    parts = {
        (e.variant, e.platform if item.kind == "app" else "", e.cell_id, e.attempt): RunArtifact(
            item.artifact,
            item.kind,
            e.variant,
            e.platform if item.kind == "app" else "",
            e.cell_id,
            e.attempt,
            e.at,
        )
        for e in makers
    }
    return list(parts.values())


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def file_name(model: str, item: RunArtifact) -> str:
    """A file name for an artifact, in letters, digits, '.', '_' and '-'.

    Args:
        model: names the model and its version.
        item: the artifact.

    Returns:
        The name.
    """
    # Their suffix says it.
    kind = "" if item.kind in ("variant", "log") else item.kind
    attempt = str(item.attempt) if item.attempt > 1 else ""
    parts = (model, item.variant, item.platform, item.cell_id[-12:], kind, attempt)
    name = "-".join(_UNSAFE.sub("_", part) for part in parts if part).strip("._-")[:150]
    suffix = _APP_SUFFIX.get(item.platform, ".zip") if item.kind == "app" else _SUFFIX.get(item.kind, "")
    return f"{name or 'artifact'}{suffix}"

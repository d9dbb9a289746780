"""Artifacts as local files for farms."""

from __future__ import annotations

from pathlib import Path

from windtunnel.artifacts import ArtifactRef, Artifacts


class ArtifactFiles:
    """Local copies of artifacts.

    Args:
        artifacts: the store.
    """

    def __init__(self, artifacts: Artifacts) -> None:
        self._artifacts = artifacts

    async def path(self, blob: ArtifactRef) -> Path:
        """Implements `Files.path`."""
        return await self._artifacts.path(blob.sha256)

"""What contract tests know of a store under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from windtunnel.artifacts import ArtifactStore


@dataclass(frozen=True)
class Backend:
    """A store, how to open it again elsewhere, and how to damage it and to take it away."""

    store: ArtifactStore
    url: str
    damage: Callable[[str, bytes], None]  # put other bytes under a blob's name, behind the store's back
    unreachable: Callable[[], ArtifactStore]
    leftovers: Callable[[], list[str]]  # what is there in addition to blobs

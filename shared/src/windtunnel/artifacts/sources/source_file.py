"""What every kind of source gives: files, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source: its place below the source's own name ("" for a single file), and its bytes."""

    relative: str
    open: Callable[[], AbstractContextManager[Iterator[bytes]]]


class Bucket(Protocol):
    """Objects of somebody's bucket, read in place."""

    def files(self, bucket: str, key: str) -> Iterable[SourceFile]:
        """The object `key`; if there is none, every object below `key/`.

        Args:
            bucket: its name.
            key: without leading or trailing slash.

        Returns:
            Empty if neither exists.
        """

"""Sums of a comparison on disk, so that an interrupted one continues where it stopped."""

from __future__ import annotations

import json
import os
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCHEMA = "windtunnel.checkpoint/1"
_META = "meta"


class Checkpoint:
    """A file with the sums after some samples.

    Args:
        path: the file, an .npz; replaced whole each time, so that a kill leaves the last one.
        key: a hash of all that decides the figures: models, samples, preprocessing, settings, versions. A file with
            another key is of another comparison, and is ignored.
        every_s: seconds between two saves; 0: after every sample.

    `note` says why a file that is there was not used, None where there was none or it was.
    """

    def __init__(self, path: Path, key: str, *, every_s: float = 5.0) -> None:
        self.path = path
        self.key = key
        self.note: str | None = None
        self._every_s = every_s
        self._saved_at = time.monotonic()

    def load(self) -> tuple[int, dict[str, NDArray[Any]]] | None:
        """Reads the sums.

        Returns:
            (samples done, sums by name); None: there is nothing to continue from, and `note` says why.

        Raises:
            ValueError: never; it is caught and noted.
        """
        self.note = None
        if not self.path.exists():
            return None
        try:
            # Opened here: NumPy leaves a file open that it cannot read.
            with self.path.open("rb") as content, np.load(content, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            meta = json.loads(bytes(arrays.pop(_META)).decode())
            done = meta["done"]
            if not isinstance(done, int) or done < 0:
                raise ValueError(f"{done!r} samples")
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, NotImplementedError) as error:
            self.reject(f"it is damaged ({type(error).__name__})")
            return None
        if meta.get("schema") != SCHEMA:
            self.reject(f"its format is {meta.get('schema')!r}, not {SCHEMA!r}")
            return None
        if meta.get("key") != self.key:
            self.reject("it belongs to other models, samples or settings")
            return None
        return done, arrays

    def reject(self, why: str) -> None:
        """Notes why the file cannot be used.

        Args:
            why: the reason.
        """
        self.note = f"the checkpoint {self.path.name} is ignored: {why}"

    def is_due(self) -> bool:
        """Whether the time for the next save has come."""
        return time.monotonic() - self._saved_at >= self._every_s

    def save(self, done: int, state: Mapping[str, NDArray[Any]]) -> None:
        """Writes the sums, whole or not at all.

        Args:
            done: how many samples they are of.
            state: arrays by name.
        """
        meta = json.dumps({"schema": SCHEMA, "key": self.key, "done": done}).encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{self.path.name}-", suffix=".npz", dir=self.path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, allow_pickle=False, **{_META: np.frombuffer(meta, np.uint8)}, **state)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._saved_at = time.monotonic()

    def discard(self) -> None:
        """Removes the file, and what a kill left of a save: the comparison is complete."""
        for path in (self.path, *self.path.parent.glob(f".{self.path.name}-*.npz")):
            path.unlink(missing_ok=True)

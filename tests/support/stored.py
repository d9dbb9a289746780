"""Weights of the small networks that tests train: stored, because a training ends elsewhere on another processor.

python tests/support/stored.py     trains them again and writes tests/data/weights; then look at the tests' figures
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_FOLDER = Path(__file__).resolve().parent.parent / "data" / "weights"
# Modules next to this one that train when they are run with the argument "train".
_MAKERS = ("damaged", "models", "task_models", "trained")


def path_of(name: str) -> Path:
    """Where the weights of a network lie."""
    return _FOLDER / f"{name}.npz"


def load(name: str) -> list[NDArray[np.float32]]:
    """The arrays of a network in the order in which they were stored."""
    with np.load(path_of(name)) as found:
        return [found[key] for key in sorted(found, key=int)]


def store(name: str, arrays: Sequence[NDArray[np.float32]]) -> None:
    """Writes the arrays of a network."""
    _FOLDER.mkdir(parents=True, exist_ok=True)
    named = {str(number): np.asarray(array, np.float32) for number, array in enumerate(arrays)}
    np.savez(path_of(name), allow_pickle=False, **named)


def main() -> None:
    """Trains every network again."""
    for name in _MAKERS:
        subprocess.run([sys.executable, "-m", f"support.{name}", "train"], check=True, cwd=_FOLDER.parent.parent)


if __name__ == "__main__":
    main()

"""Samples: what a model is tested on, from an .npz file or a folder (or archive) of images per class."""

from __future__ import annotations

import difflib
import hashlib
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.artifacts.archives.unpack import unpack
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.pipeline.class_folders import ImageFiles, TemporaryFolder, find_classes
from windtunnel.pipeline.ground_truth import NAMES, NO_TRUTH, GroundTruth, take_ground_truth
from windtunnel.pipeline.npz_arrays import read_arrays

DEFAULT_NAME = "x"
MAX_ARCHIVE_BYTES = 20 * 1024**3
MAX_ARCHIVE_FILES = 1_000_000
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_SCAN_BYTES = 64 * 1024 * 1024

# (N, ...) in memory or mapped; or images of any sizes, decoded or still on disk.
Rows = NDArray[Any] | ImageFiles | list[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Samples:
    """`count` samples. `inputs` by name ("x" if there is one without a name).

    `labels` are class indices (N,), masks or targets (N, ...) as given; `class_names` only if folders or the file name
    them. `truth`: boxes and keypoints. `sample_rate_hz`: of waveforms, if the file says it.
    """

    inputs: Mapping[str, Rows]
    labels: NDArray[Any] | None
    count: int
    class_names: tuple[str, ...] | None = None
    truth: GroundTruth = NO_TRUTH
    sample_rate_hz: float | None = None

    def __len__(self) -> int:
        return self.count

    def take(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> Samples:
        """Some of the samples.

        Args:
            indices: which, in the order wanted; at least one.

        Returns:
            The samples.

        Raises:
            InvalidInput: an index that does not exist, or none at all.
        """
        chosen = [int(index) for index in indices]
        for index in chosen:
            if not 0 <= index < self.count:
                raise InvalidInput(f"there is no sample {index}: there are {self.count}, counted from 0")
        if not chosen:
            raise InvalidInput("no samples were chosen")
        inputs = {name: _select(rows, chosen) for name, rows in self.inputs.items()}
        labels = None if self.labels is None else self.labels[chosen]
        truth = self.truth.take(chosen)
        return Samples(inputs, labels, len(chosen), self.class_names, truth, self.sample_rate_hz)

    def distinct(self) -> NDArray[np.int64]:
        """Which samples repeat none before them, bit for bit (images: as their files are).

        Returns:
            Their indices, in order.
        """
        seen: dict[bytes, int] = {}
        for index in range(self.count):
            digest = hashlib.sha256()
            for rows in self.inputs.values():
                digest.update(rows.content(index) if isinstance(rows, ImageFiles) else rows[index].tobytes())
            seen.setdefault(digest.digest(), index)
        return np.array(list(seen.values()), dtype=np.int64)

    def batches(self, size: int) -> Iterator[Samples]:
        """The samples in order, each batch read into memory.

        Args:
            size: samples per batch, at least 1; the last batch may be smaller.

        Yields:
            The batches.

        Raises:
            InvalidInput: the size is below 1.
        """
        if size < 1:
            raise InvalidInput(f"the batch size is {size}, must be 1 or more")
        for start in range(0, self.count, size):
            stop = min(start + size, self.count)
            inputs = {name: _load(rows, start, stop) for name, rows in self.inputs.items()}
            labels = None if self.labels is None else np.array(self.labels[start:stop])
            truth = self.truth.take(slice(start, stop))
            yield Samples(inputs, labels, stop - start, self.class_names, truth, self.sample_rate_hz)


def load_samples(path: Path) -> Samples:
    """Opens samples. Their content decides what they are.

    Arrays are `x` or `x/<input name>`, (N, ...), and optionally `y`, `class_names`, those of `ground_truth`, and
    `sample_rate` (Hz) of waveforms; stored ones stay on disk until they are read. `y` may hold names of `class_names`,
    which become indices.

    Args:
        path: an .npz file, a folder of class folders, or its .zip or .tar.gz.

    Returns:
        The samples.

    Raises:
        NotFound: the path does not exist.
        InvalidInput: damage, no samples, NaN or infinity, objects, or counts that differ.
    """
    if not path.exists():
        raise NotFound(f"there are no samples at {path}")
    if path.is_dir():
        return _from_folder(path)
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise InvalidInput(f"{path.name} is a Git LFS pointer, no samples", hint="fetch the file: git lfs pull")
    if _is_npz(path):
        return _from_arrays(path, read_arrays(path))
    home = TemporaryFolder(Path(tempfile.mkdtemp(prefix="windtunnel-samples-")))
    root = unpack(path, home.path / "content", max_bytes=MAX_ARCHIVE_BYTES, max_files=MAX_ARCHIVE_FILES)
    return _from_folder(_unwrapped(root), home)


def _is_npz(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist()) or not archive.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return path.suffix == ".npz"


def _unwrapped(root: Path) -> Path:
    """Archives often wrap everything in one folder."""
    entries = [entry for entry in root.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    if len(entries) == 1 and entries[0].is_dir() and any(entry.is_dir() for entry in entries[0].iterdir()):
        return entries[0]
    return root


def _from_folder(root: Path, keep: object = None) -> Samples:
    names, paths, labels = find_classes(root)
    return Samples({DEFAULT_NAME: ImageFiles(paths, keep)}, labels, len(paths), tuple(names))


def _from_arrays(path: Path, arrays: dict[str, NDArray[Any]]) -> Samples:
    names = arrays.pop("class_names", None)
    rate = _sample_rate(path, arrays.pop("sample_rate", None))
    truth, others = take_ground_truth(path.name, arrays)
    labels = arrays.pop("y", others)
    if "x" in arrays and len(arrays) > 1 and all(name == "x" or name.startswith("x/") for name in arrays):
        raise InvalidInput(f"{path.name} has both x and x/<input name>", hint="name all inputs, or have only one")
    inputs = {_input_name(path, name): array for name, array in arrays.items()}
    if not inputs:
        raise InvalidInput(f"{path.name} has no array x", hint="arrays x, or x/<input name> each, and optionally y")
    counts = {
        name: array.shape[0] if array.ndim else 0
        for name, array in {**inputs, "y": labels}.items()
        if array is not None
    }
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name or 'x'} {number}" for name, number in counts.items())
        raise InvalidInput(
            f"{path.name}: the arrays have different counts of samples: {said}",
            hint="every array has one entry per sample, in the same order",
        )
    count = next(iter(counts.values()))
    if count == 0 or any(array.size == 0 for array in inputs.values()):
        raise InvalidInput(f"{path.name} has no samples")
    for name, array in inputs.items():
        _check_finite(path, name, array)
    class_names = _class_names(path, names)
    if labels is not None:
        labels = _numbered(path, labels, class_names)
        _check_labels(path, labels)
    return Samples(inputs, labels, count, class_names, truth, rate)


def _input_name(path: Path, name: str) -> str:
    if name == "x":
        return DEFAULT_NAME
    if name.startswith("x/") and len(name) > 2:
        return name.removeprefix("x/")
    near = difflib.get_close_matches(name, ["x", "y", "class_names", "sample_rate", *NAMES], 1)
    known = f"arrays are x, or x/<input name> each, y, class_names, sample_rate, {', '.join(NAMES)}"
    hint = f"did you mean {near[0]!r}?" if near else known
    raise InvalidInput(f"{path.name} has an array {name[:80]!r}", hint=hint)


def _sample_rate(path: Path, rate: NDArray[Any] | None) -> float | None:
    """The sample rate of all waveforms in Hz; one number, or one per sample if they are equal.

    Raises:
        InvalidInput: it is something else.
    """
    if rate is None:
        return None
    values = set(rate.ravel().tolist()) if rate.dtype.kind in "uif" and rate.ndim <= 1 else set()
    if len(values) != 1 or not 0 < (value := float(next(iter(values)))) < float("inf"):
        raise InvalidInput(
            f"{path.name}: sample_rate is {rate.dtype} {list(rate.shape)} {rate.ravel()[:3]!s}",
            hint="one number in Hz, the same for all samples",
        )
    return value


def _check_finite(path: Path, name: str, array: NDArray[Any]) -> None:
    if array.dtype.kind != "f":
        return
    rows = max(1, _SCAN_BYTES * len(array) // max(array.nbytes, 1))
    for start in range(0, len(array), rows):
        finite = np.isfinite(array[start : start + rows])
        if not finite.all():
            sample = start + int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
            raise InvalidInput(
                f"{path.name}: {name!r} of sample {sample} holds NaN or infinity", hint="remove or repair the sample"
            )


def _numbered(path: Path, labels: NDArray[Any], class_names: tuple[str, ...] | None) -> NDArray[Any]:
    """Labels that are names of classes as indices into `class_names`; others as they are.

    Raises:
        InvalidInput: a name that is not in `class_names`.
    """
    if labels.dtype.kind != "U" or class_names is None:
        return labels
    numbers = {name: number for number, name in enumerate(class_names)}
    unknown = sorted(set(labels.ravel().tolist()) - numbers.keys())
    if unknown:
        raise InvalidInput(
            f"{path.name}: y holds the name {unknown[0]!r}, which is not one of the {len(class_names)} class_names",
            hint="class_names lists the names in the order of the model's outputs",
        )
    return np.array([numbers[name] for name in labels.ravel().tolist()], np.int64).reshape(labels.shape)


def _check_labels(path: Path, labels: NDArray[Any]) -> None:
    if labels.dtype.kind in "SU":
        raise InvalidInput(
            f"{path.name}: y holds texts, for example {str(labels.ravel()[0])[:60]!r} (dtype {labels.dtype})",
            hint="give class indices (N,), or an array class_names with the names in the order of the model's outputs",
        )
    if labels.dtype.kind not in "buif":
        raise InvalidInput(f"{path.name}: y is of dtype {labels.dtype}", hint="class indices (N,), or numeric targets")
    _check_finite(path, "y", labels)
    if labels.ndim == 1 and labels.dtype.kind == "i" and labels.min() < 0:
        raise InvalidInput(
            f"{path.name}: y holds the class index {labels.min()}",
            hint="class indices count from 0; other targets: floats",
        )


def _class_names(path: Path, names: NDArray[Any] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind != "U":
        raise InvalidInput(f"{path.name}: class_names is {names.dtype} {names.shape}", hint="a list of texts")
    return tuple(str(name) for name in names)


def _select(rows: Rows, indices: list[int]) -> Rows:
    if isinstance(rows, ImageFiles):
        return rows.select(indices)
    return rows[indices] if isinstance(rows, np.ndarray) else [rows[index] for index in indices]


def _load(rows: Rows, start: int, stop: int) -> Rows:
    if isinstance(rows, ImageFiles):
        return rows.select(range(start, stop)).read()
    return np.array(rows[start:stop]) if isinstance(rows, np.ndarray) else rows[start:stop]

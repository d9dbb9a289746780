"""Images in a folder of one sub-folder per class, decoded when they are asked for."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from windtunnel.errors import InvalidInput

MAX_PIXELS = 64_000_000
_SMALLER = "make it smaller"
_SUFFIXES = {".png", ".jpg", ".jpeg"}
# What operating systems leave in folders and archives on their own.
_IGNORED = {"Thumbs.db", "desktop.ini", "__MACOSX"}


class ImageFiles(Sequence[NDArray[np.uint8]]):
    """Images as a sequence: each is (H, W, 3) uint8 RGB as stored, without EXIF rotation, alpha dropped.

    `keep` is an object that must live as long as the files are needed.
    """

    def __init__(self, paths: Sequence[Path], keep: object = None) -> None:
        """Files of images, in this order.

        Args:
            paths: the files.
            keep: an object that must live as long as the files are needed.
        """
        self._paths = tuple(paths)
        self._keep = keep

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return ImageFiles(self._paths[index], self._keep)
        return read_image(self._paths[index])

    def select(self, indices: Sequence[int]) -> ImageFiles:
        """Some of the images, still on disk.

        Args:
            indices: which, in the order wanted.

        Returns:
            The images.
        """
        return ImageFiles([self._paths[index] for index in indices], self._keep)

    def content(self, index: int) -> bytes:
        """The bytes of one file, not decoded.

        Args:
            index: which.

        Returns:
            The bytes.
        """
        return self._paths[index].read_bytes()

    def read(self) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
        """All images, decoded.

        Returns:
            One (N, H, W, 3) uint8 array if all images have one size, otherwise a list of (H, W, 3).

        Raises:
            InvalidInput: see `read_image`.
        """
        images = [read_image(path) for path in self._paths]
        return np.stack(images) if len({image.shape for image in images}) == 1 else images


class TemporaryFolder:
    """A folder that goes when nothing refers to this object any more."""

    def __init__(self, path: Path) -> None:
        """Takes over a folder.

        Args:
            path: the folder; it is removed with all its content.
        """
        import shutil

        self.path = path
        self._finalizer = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Decodes a PNG or JPEG file.

    Args:
        path: the file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InvalidInput: damage, more than 8 bits per channel, or more than MAX_PIXELS pixels.
    """
    # Pillow is an optional dependency, and slow to import.
    from PIL import Image, UnidentifiedImageError

    where = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InvalidInput(_too_large(where), hint=_SMALLER)
            if image.mode not in {"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"}:
                raise InvalidInput(f"image {where} has mode {image.mode}", hint="save it with 8 bits per channel")
            return np.asarray(image.convert("RGB"), np.uint8)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidInput(_too_large(where), hint=_SMALLER) from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise InvalidInput(f"image {where} cannot be read: {str(error)[:120]}", hint="PNG or JPEG") from error


def _too_large(where: str) -> str:
    return f"image {where} has more than {MAX_PIXELS} pixels"


def find_classes(root: Path) -> tuple[list[str], list[Path], NDArray[np.int64]]:
    """The images of a folder with one sub-folder per class.

    Args:
        root: the folder.

    Returns:
        Class names sorted by name, all image paths, and the class index of each image (N,).

    Raises:
        InvalidInput: other files, a class without images, or no class.
    """
    names: list[str] = []
    paths: list[Path] = []
    labels: list[int] = []
    for folder in _entries(root):
        if not folder.is_dir():
            raise InvalidInput(
                f"{folder.name} is next to the class folders", hint="one sub-folder per class, images in it"
            )
        images = list(_entries(folder))
        for path in images:
            if not path.is_file() or path.suffix.lower() not in _SUFFIXES:
                raise InvalidInput(f"{folder.name}/{path.name} is no .png or .jpg file")
        if not images:
            raise InvalidInput(f"the class folder {folder.name!r} has no images", hint="add some, or remove it")
        labels += [len(names)] * len(images)
        names.append(folder.name)
        paths += images
    if not names:
        raise InvalidInput(
            f"{root.name} has no class folders", hint="one sub-folder per class, .png or .jpg files in it"
        )
    return names, paths, np.asarray(labels, np.int64)


def _entries(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if not path.name.startswith(".") and path.name not in _IGNORED:
            yield path

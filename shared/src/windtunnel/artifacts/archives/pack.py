"""A folder as one artifact: a zip file whose bytes depend on nothing but the folder's content."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

# The earliest time that a zip file can say: a time of day would make equal folders differ.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(folder: Path, target: Path) -> Path:
    """Writes the files below a folder to a zip file, stored, in sorted order.

    Args:
        folder: its empty folders are left out.
        target: the new zip file.

    Returns:
        `target`.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(item for item in folder.rglob("*") if item.is_file()):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            # zipfile must know beforehand whether an entry needs the 64-bit form.
            entry.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(entry, "w") as sink:
                shutil.copyfileobj(source, sink, 1024 * 1024)
    return target

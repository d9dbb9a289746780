"""The files that `windtunnel remedy` writes: the fixed model, its recipe and its calibration set."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from windtunnel.cli.io.console import say
from windtunnel.cli.io.files import write_whole
from windtunnel.errors import UserError

if TYPE_CHECKING:
    from windtunnel.diagnosis.remedy import Remedy


def write_remedy(
    found: Remedy, targets: Mapping[str, Path | None], *, force: bool
) -> tuple[dict[str, str | None], list[str]]:
    """Writes the requested files of a remedy.

    The result of a search must not be lost: files that cannot be written are kept in a temporary folder.

    Args:
        found: what the search returned.
        targets: where to write `model`, `recipe` and `calibration`; None: not requested.
        force: replace files that exist.

    Returns:
        The path of each file, None for one that was not written; and messages about those that could not be.
    """
    written: dict[str, str | None] = dict.fromkeys(targets)
    failed: list[str] = []
    if found.model is None:
        return written, failed
    contents = {"model": found.model.read_bytes(), "recipe": _recipe(found)}
    if found.calibration is not None:
        contents["calibration"] = found.calibration.read_bytes()
    for what, content in contents.items():
        path = targets[what]
        if path is None:
            continue
        try:
            write_whole(path, content, force=force)
        except UserError as error:
            failed.append(error.message)
        else:
            say(f"wrote {path}")
            written[what] = str(path)
    if failed:
        _keep(contents)
    return written, failed


def _keep(contents: Mapping[str, bytes]) -> None:
    """Keeps the files of a remedy in a temporary folder, if there is room for them."""
    names = {"model": "remedy.tflite", "recipe": "remedy.json", "calibration": "remedy.calibration.npz"}
    with suppress(OSError):
        folder = Path(tempfile.mkdtemp(prefix="windtunnel-remedy-"))
        try:
            for what, content in contents.items():
                (folder / names[what]).write_bytes(content)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return
        say(f"the result is kept in {folder}")


def _recipe(found: Remedy) -> bytes:
    return (json.dumps(found.recipe, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

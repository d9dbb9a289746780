"""The `host` app package: a zip with the model and its configuration, as the app builder makes it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from windtunnel.artifacts.stores.port import whole_file
from windtunnel.errors import InvalidInput

_MODEL = "model.tflite"


def unpack_model(package: Path, workdir: Path) -> Path:
    """Writes the model of a package to a folder.

    Args:
        package: for `host`.
        workdir: the folder.

    Returns:
        The .tflite file.

    Raises:
        InvalidInput: there is none.
    """
    target = workdir / _MODEL
    try:
        with zipfile.ZipFile(package) as archive:
            entry = archive.getinfo(_MODEL)
            # The app builder stores; a compressed entry could be far larger than the package says.
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > package.stat().st_size:
                raise InvalidInput(f"{package.name}: {_MODEL} is not stored plainly", hint="build the package again")
            with archive.open(entry) as source, whole_file(target) as out:
                shutil.copyfileobj(source, out)
    except KeyError as error:
        raise InvalidInput(f"{package.name} holds no {_MODEL}", hint="is it an app package for `host`?") from error
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise InvalidInput(
            f"{package.name} is not an app package for `host`: {error}", hint="build it again"
        ) from error
    return target

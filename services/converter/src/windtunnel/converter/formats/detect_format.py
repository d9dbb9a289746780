"""Which format a trained model has, from its content. No TensorFlow here: nothing of the model is run."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from windtunnel.artifacts.archives.unpack import unpack
from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.converter.formats.foreign_models import foreign, foreign_inside
from windtunnel.converter.formats.keras_config import refuse_code
from windtunnel.errors import InvalidInput, NotFound
from windtunnel.protobuf_shape import kind_of

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_UNPACKED_BYTES = 20 * 1024**3
_MAX_FILES = 100_000


def open_source(
    path: Path,
    declared: Format | None,
    workdir: Path,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    allow_code: bool,
    select_tf_ops: bool = False,
) -> Source:
    """Makes a model ready to load. A job for a child process: HDF5 is read by native code.

    Args:
        path: of the file or folder.
        declared: the format that the user states; None: from the content.
        workdir: for an unpacked archive.
        inputs: names of the inputs, if the format does not say them.
        outputs: names of the outputs, if the format does not say them.
        allow_code: load models that carry code.
        select_tf_ops: convert ops that TFLite lacks to TensorFlow's.

    Returns:
        The model.

    Raises:
        InvalidInput: as from `locate`, or the model carries code.
        NotFound: as from `locate`.
        Unsupported: as from `locate`.
    """
    model, found = locate(path, declared, workdir)
    source = Source(model, found, inputs, outputs, allow_code, select_tf_ops, path.name)
    if not allow_code:
        refuse_code(source)
    return source


def locate(path: Path, declared: Format | None, workdir: Path) -> tuple[Path, Format]:
    """Finds a model and its format; an archive is unpacked.

    Args:
        path: of the file or folder.
        declared: the format that the user states; None: from the content.
        workdir: for an unpacked archive.

    Returns:
        Path and format.

    Raises:
        NotFound: nothing is at `path`.
        InvalidInput: the content is not a model, or not the declared one.
        Unsupported: it is a model of another tool.
    """
    if not path.exists():
        raise NotFound(f"there is no file or folder {path}", hint="a checkpoint is given by its folder")
    if path.is_file() and path.stat().st_size == 0:
        raise InvalidInput(f"{path.name} is empty", hint="was the upload complete?")
    given = path
    found = _of_file(path) if path.is_file() else _of_folder(path)
    if found is None and path.is_file() and _is_archive(path) and foreign(path) is None:
        folder = unpack(path, workdir / "unpacked", max_bytes=_MAX_UNPACKED_BYTES, max_files=_MAX_FILES)
        path, found = _inside(folder)
    if found is None and declared is Format.FROZEN_GRAPH:
        # A GraphDef has no magic number: its name or the declaration decides.
        found = declared
    if found in (None, Format.FROZEN_GRAPH, Format.TORCH):
        _refuse_foreign(path, given)
    if found is None and path.is_file() and kind_of(path) == "graph_def":
        raise InvalidInput(
            f"{given.name} looks like a frozen graph (GraphDef), which its name does not say",
            hint="give its format: --format frozen_graph",
        )
    if found is None:
        raise InvalidInput(
            f"{given.name} is not a model that Windtunnel knows: {_looks_like(path)}",
            hint=f"known are {', '.join(item.value for item in Format if item is not Format.TORCH)}",
        )
    if declared is not None and declared is not found:
        raise InvalidInput(
            f"{given.name} is declared {declared.value} but holds {found.value}", hint="correct `format`"
        )
    return path, found


def _refuse_foreign(path: Path, given: Path) -> None:
    """Raises Unsupported or InvalidInput for what is recognized and not read; `given` is what the user named."""
    if path.is_dir() and path != given:
        inner = foreign_inside(path)
        if inner is not None:
            raise inner[1].error(f"{inner[0].name} in {given.name}")
    elif (found := foreign(path)) is not None:
        raise found.error(given.name if path == given else f"{path.name} in {given.name}")


def _of_file(path: Path) -> Format | None:
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(_HDF5_MAGIC):
        return Format.HDF5
    if head[4:8] == b"TFL3":
        return Format.TFLITE
    if zipfile.is_zipfile(path):
        return _of_zip(path)
    if head.startswith(b"PK\x03\x04"):
        raise InvalidInput(
            f"{path.name} is cut off: it begins as a zip archive and has no end", hint="copy or download it again"
        )
    if path.suffix == ".tflite" and foreign(path) is None:
        return Format.FROZEN_GRAPH if kind_of(path) == "graph_def" else Format.TFLITE
    if path.suffix == ".pb" and path.name != "saved_model.pb":
        return Format.FROZEN_GRAPH
    if path.suffix in (".h5", ".hdf5", ".keras") and foreign(path) is None:
        raise InvalidInput(f"{path.name} is not what its name says: {_looks_like(path)}", hint="is it the right file?")
    return None


def _of_zip(path: Path) -> Format | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise InvalidInput(f"{path.name} is a damaged zip file: {error}") from error
    if "config.json" in names and "metadata.json" in names:
        return Format.KERAS
    if any(name.endswith("data.pkl") for name in names):
        return Format.TORCH
    return None


def _is_archive(path: Path) -> bool:
    return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)


def _of_folder(folder: Path) -> Format | None:
    if (folder / "saved_model.pb").is_file() or (folder / "saved_model.pbtxt").is_file():
        _refuse_graph(folder)
        return Format.SAVED_MODEL
    if any(folder.glob("*.meta")) and any(folder.glob("*.index")):
        return Format.CHECKPOINT
    return None


def _refuse_graph(folder: Path) -> None:
    """Refuses a frozen graph that is called saved_model.pb.

    Raises:
        InvalidInput: it is one.
    """
    file = folder / "saved_model.pb"
    if file.is_file() and kind_of(file) == "graph_def":
        raise InvalidInput(
            f"{folder.name} is not a SavedModel: its saved_model.pb is a frozen graph (GraphDef)",
            hint=f"convert the file: windtunnel convert {folder.name}/saved_model.pb --format frozen_graph",
        )


def _inside(folder: Path) -> tuple[Path, Format | None]:
    """The model in an unpacked archive: at its top, in its only sub-folder, or its only model file.

    Raises:
        InvalidInput: there is none, or there are several.
    """
    for candidate in (folder, *_only_child(folder)):
        if (found := _of_folder(candidate)) is not None:
            return candidate, found
        files = [(file, _of_file(file)) for file in sorted(candidate.iterdir()) if file.is_file()]
        models = [(file, found) for file, found in files if found is not None]
        if len(models) == 1:
            return models[0]
        if len(models) > 1:
            names = ", ".join(file.name for file, _ in models)
            raise InvalidInput(f"the archive holds several models: {names}", hint="submit one of them")
    return folder, None


def _only_child(folder: Path) -> Iterator[Path]:
    children = [child for child in folder.iterdir() if not child.name.startswith((".", "__MACOSX"))]
    if len(children) == 1 and children[0].is_dir():
        yield children[0]


def _looks_like(path: Path) -> str:
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir())[:5]
        return f"a folder with {', '.join(names)}" if names else "an empty folder"
    with path.open("rb") as file:
        head = file.read(64)
    try:
        return f"it begins with the text {head.decode('utf-8')[:40]!r}"
    except UnicodeDecodeError:
        return f"it begins with the bytes {head[:8].hex(' ')}"

"""Conversion of trained models to float32 .tflite, for `convert` and for commands that compare models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windtunnel.cli.io.console import say
from windtunnel.cli.io.files import require_file
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool, require_installed
from windtunnel.formats import Format

if TYPE_CHECKING:
    from windtunnel.converter.domain.conversion import Converted
    from windtunnel.isolation import Progress
    from windtunnel.task_names import TaskSpec

_MAGIC: Final = b"TFL3"


async def convert_model(
    model: Path, workdir: Path, declared: str | None = None, *, note: str = "", **options: Any
) -> Converted:
    """Converts a model in a child process.

    Args:
        model: the file or folder.
        workdir: folder for the result.
        declared: its format; default: from its content.
        note: printed when the file is known to be a model.
        **options: arguments of the use case `convert_model.convert`.

    Returns:
        The .tflite below `workdir`, and the check against the original.
    """
    from windtunnel.converter.convert import convert as run

    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
    with progress_bar("converting") as show:
        async with new_pool("windtunnel.converter.use_cases.check_conversion", env=quiet) as pool:
            kind = None if declared is None else Format(declared)
            return await run(model, workdir, pool, declared=kind, on_progress=_saying(note, show), **options)


def _saying(note: str, show: Callable[[Progress], None] | None) -> Callable[[Progress], None] | None:
    """`show`, which prints `note` before the first report of progress."""
    if not note:
        return show
    left = [note]

    def on_progress(now: Progress) -> None:
        if left:
            say(left.pop())
        if show is not None:
            show(now)

    return on_progress


def model_source(model: Path, folder: Path) -> Path:
    """The path of a model. The files of a checkpoint, which is named by its prefix, are copied below `folder`.

    Args:
        model: as the user gave it: a file, a folder, or the prefix of a checkpoint.
        folder: for the copies.

    Returns:
        A file or folder that exists.
    """
    from windtunnel.client.uploads import checkpoint_folder

    folder.mkdir(parents=True, exist_ok=True)
    # Messages contain the folder's name: it must be the name that the user gave.
    return checkpoint_folder(model, folder / (model.name or "checkpoint")) or require_file(model, "model")


def is_tflite(model: Path) -> bool:
    """Whether a file is a .tflite by its name or content. A damaged one still counts as .tflite.

    Args:
        model: any path. A folder is not a .tflite.
    """
    if not model.is_file():
        return False
    with model.open("rb") as file:
        return model.suffix == ".tflite" or file.read(8)[4:] == _MAGIC


async def as_tflite(
    command: str, source: Path, workdir: Path, samples: Path | None, pipeline: Any, task: TaskSpec | None = None
) -> tuple[Path, Converted | None]:
    """The model of `model_source` as .tflite, converted below `workdir` if it is not one.

    Prints that it converts, and if the result does not compute what the original computes on the samples. Raises what
    conversion raises, and Unsupported if the converter is not installed.

    Args:
        command: its name, for messages.
        source: path that `model_source` gave.
        workdir: folder for the result.
        samples: .npz for the check of the conversion; None: random inputs.
        pipeline: preprocessing of the samples, or None.
        task: of the model; None: the samples say.

    Returns:
        The .tflite, and its conversion; None if it was one already.
    """
    if is_tflite(source):
        return source, None
    require_installed(f"{command} {source.name}", "windtunnel.converter", "tensorflow")
    note = f"{source.name} is not a .tflite: it is converted to float32 first, as `windtunnel convert` does"
    done = await convert_model(source, workdir, note=note, samples=samples, pipeline=pipeline, task=task)
    if not done.check.passed:
        say(f"the conversion of {source.name} is faulty: {done.check.message}")
    return done.model, done

"""Conversion of a trained model to float32 .tflite, for `convert` and for commands that compare .tflite models."""

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

_MAGIC: Final = b"TFL3"


async def convert_model(
    model: Path, workdir: Path, declared: str | None = None, *, note: str = "", **options: Any
) -> Converted:
    """Converts a model below `workdir`, in a child process. `options` as of the use case `convert_model.convert`.

    `note` is said once the file was found to be a model.
    """
    from windtunnel.converter.convert import convert as run

    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
    with progress_bar("converting") as show:
        async with new_pool("windtunnel.converter.use_cases.check_conversion", env=quiet) as pool:
            kind = None if declared is None else Format(declared)
            return await run(model, workdir, pool, declared=kind, on_progress=_saying(note, show), **options)


def _saying(note: str, show: Callable[[Progress], None] | None) -> Callable[[Progress], None] | None:
    """`show`, which says `note` before the first report of progress."""
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
    """The model's path; the files of a checkpoint, which is named by its prefix, are copied below `folder`."""
    from windtunnel.client.uploads import checkpoint_folder

    folder.mkdir(parents=True, exist_ok=True)
    # Messages name the folder, which must be what the user named.
    return checkpoint_folder(model, folder / (model.name or "checkpoint")) or require_file(model, "model")


def is_tflite(model: Path) -> bool:
    """Whether this is, or by its name should be, a .tflite file: a damaged one is a damaged .tflite."""
    if not model.is_file():
        return False
    with model.open("rb") as file:
        return model.suffix == ".tflite" or file.read(8)[4:] == _MAGIC


async def as_tflite(
    command: str, source: Path, workdir: Path, samples: Path | None, pipeline: Any
) -> tuple[Path, Converted | None]:
    """The model of `model_source` as .tflite: itself, or what is made of it below `workdir`, and that conversion.

    Says that it converts, and where the result computes something else than the original on the samples. Raises what
    conversion raises, and Unsupported where the converter is not installed.
    """
    if is_tflite(source):
        return source, None
    require_installed(f"{command} {source.name}", "windtunnel.converter", "tensorflow")
    note = f"{source.name} is no .tflite: it is converted to float32 first, as `windtunnel convert` does"
    done = await convert_model(source, workdir, note=note, samples=samples, pipeline=pipeline)
    if not done.check.passed:
        say(f"the conversion of {source.name} is at fault: {done.check.message}")
    return done.model, done

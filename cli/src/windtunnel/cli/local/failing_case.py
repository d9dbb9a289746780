"""The minimal failing case that `diff --case` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windtunnel.accelerators import BUILTIN
from windtunnel.cli.io.console import say
from windtunnel.cli.io.files import write_whole
from windtunnel.cli.io.progress import progress_bar
from windtunnel.errors import NotFound

if TYPE_CHECKING:
    from windtunnel.diagnosis.findings.causes import Cause
    from windtunnel.diagnosis.minimal import Boundary
    from windtunnel.isolation import Pool
    from windtunnel.tflite import Accelerator

_BUILTIN: Final[tuple[Accelerator, Accelerator]] = (BUILTIN, BUILTIN)


async def write_case(
    path: Path,
    reference: Path,
    candidate: Path,
    causes: Sequence[Cause],
    pool: Pool,
    *,
    samples: Path | None = None,
    pipeline: Mapping[str, Any] | None = None,
    boundaries: Sequence[Boundary] | None = None,
    kernels: tuple[Accelerator, Accelerator] = _BUILTIN,
    force: bool = True,
) -> Mapping[str, Any]:
    """Writes the minimal failing case of the most likely cause that has a place.

    Args:
        path: the .zip to write.
        reference: the model that is right.
        candidate: the model that diverges.
        causes: most likely first, as in a comparison.
        pool: where native code runs.
        samples: .npz; None: random inputs.
        pipeline: preprocessing of the samples, or None.
        boundaries: points of the comparison; None: those of the models.
        kernels: accelerators of the reference and the candidate.
        force: replace a file that exists at `path`.

    Returns:
        The content of its case.json.

    Raises:
        NotFound: no cause has a place, or nothing smaller than the models shows it.
    """
    from windtunnel.diagnosis.minimal import minimal_case

    cause = next((one for one in causes if one.op_index is not None), None)
    if cause is None:
        raise NotFound("no cause has a place in the model: there is no case to write")
    with progress_bar("searching the smallest case") as show:
        made = await pool.run(
            minimal_case,
            reference,
            candidate,
            cause,
            samples,
            pipeline,
            boundaries=boundaries,
            kernels=kernels,
            on_progress=show,
        )
    write_whole(path, made.content, force=force)
    count = len(made.case["region"]["candidate"])
    say(
        f"wrote {path}: {count} op{'s' if count != 1 else ''}, {len(made.case['errors'])} samples; run the run.py in it"
    )
    return made.case

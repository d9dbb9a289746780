"""The search of `windtunnel remedy`: runs it in a child process and prints its trials."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windtunnel.cli.io.console import say
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool
from windtunnel.errors import UserError

if TYPE_CHECKING:
    from windtunnel.diagnosis.remedy import Remedy, Trial
    from windtunnel.isolation import Pool
    from windtunnel.plan import Gates
# The comparison only ranks layers: more samples would not change their order much.
_RANKED_ON: Final = 50


async def search_remedy(
    reference: Path,
    variant: Path,
    samples: Path,
    folder: Path,
    gates: Gates,
    pipeline: Any,
    budget: float,
    is_target: bool,
) -> Remedy:
    """Searches a recipe; see `windtunnel.diagnosis.remedy.find_remedy`.

    Args:
        reference, variant, samples: the files that are given.
        folder: for files of the search.
        gates: limits that the fixed model must meet.
        pipeline: preprocessing, or None.
        budget: time to search, in seconds.
        is_target: the model will run on this machine.
    """
    from windtunnel.diagnosis.remedy import ThisMachine, find_remedy

    preload = ("windtunnel.diagnosis.quantize.litert_quantizer", "windtunnel.diagnosis.remedy.measure_models")
    best: Trial | None = None
    with progress_bar("searching") as show:
        printer = _TrialPrinter(quiet=show is not None)

        def on_trial(trial: Trial, now: Trial | None) -> None:
            nonlocal best
            best = now
            printer.on_trial(trial, now)

        async with new_pool(*preload) as pool:

            async def rank(calibration: Path) -> list[tuple[str, float]]:
                try:
                    return await _rank(reference, variant, calibration, pool)
                except UserError as error:
                    say(f"the layers could not be compared ({error.message}): they are tried one by one")
                    return []

            try:
                return await find_remedy(
                    reference,
                    variant,
                    samples,
                    folder,
                    pool,
                    gates=gates,
                    rank=rank,
                    pipeline=pipeline,
                    budget_s=budget,
                    stopwatch=ThisMachine(pool, is_target=is_target),
                    on_trial=on_trial,
                    on_progress=show,
                )
            except asyncio.CancelledError:
                say("best so far: " + ("nothing that meets every gate" if best is None else _words(best)))
                raise


async def _rank(reference: Path, variant: Path, calibration: Path, pool: Pool) -> list[tuple[str, float]]:
    """Ranks the layers of the float model by the error that each of them adds on the calibration samples."""
    from windtunnel.diagnosis import compare_models
    from windtunnel.diagnosis.remedy.rank_layers import rank_layers
    from windtunnel.diagnosis.remedy.recipes import units_of
    from windtunnel.tflite import read_model

    found = await pool.run(compare_models, reference, variant, calibration, None, max_samples=_RANKED_ON)
    units = units_of(await asyncio.to_thread(read_model, reference))
    return rank_layers(found.to_json()["layers"], {unit.name: unit.reads for unit in units})


class _TrialPrinter:
    """Prints trials: all of them, or only improvements if a progress bar is on the terminal."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._best = ""

    def on_trial(self, trial: Trial, best: Trial | None) -> None:
        new = best is not None and best.id == trial.id
        if new or not self._quiet:
            say(f"{'found' if new else 'tried'} {_words(trial)}")


def _words(trial: Trial) -> str:
    if trial.figures is None or trial.size_bytes is None:
        return f"{trial.id}: {trial.candidate.what}: {trial.error}"
    drop = "unknown" if trial.figures.drop is None else f"{trial.figures.drop:.4f}"
    return f"{trial.id}: {trial.candidate.what}: drop {drop}, {trial.size_bytes / 1e6:.3g} MB"

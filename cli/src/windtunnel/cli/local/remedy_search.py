"""The search of `windtunnel remedy`: runs it in a child process and prints its trials."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windtunnel.cli.io.console import say
from windtunnel.cli.io.progress import progress_bar
from windtunnel.cli.local.child_pools import new_pool

if TYPE_CHECKING:
    from windtunnel.diagnosis.remedy import Remedy, Trial
    from windtunnel.plan import Gates

_PRELOAD: Final = (
    "windtunnel.diagnosis.quantize.litert_quantizer",
    "windtunnel.diagnosis.remedy.measure.measure_models",
)


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
        reference: the original model.
        variant: the one to fix.
        samples: .npz with labels.
        folder: for files of the search.
        gates: limits that the fixed model must meet.
        pipeline: preprocessing, or None.
        budget: time to search, in seconds.
        is_target: the model will run on this machine.

    Returns:
        What the search found. If it is canceled, the best so far is printed.

    Raises:
        CancelledError: a signal stopped the search.
    """
    from windtunnel.diagnosis.remedy import ThisMachine, find_remedy

    with progress_bar("searching") as show:
        printer = _TrialPrinter(quiet=show is not None)
        async with new_pool(*_PRELOAD) as pool:
            try:
                return await find_remedy(
                    reference,
                    variant,
                    samples,
                    folder,
                    pool,
                    gates=gates,
                    pipeline=pipeline,
                    budget_s=budget,
                    stopwatch=ThisMachine(pool, is_target=is_target),
                    on_trial=printer.on_trial,
                    on_note=say,
                    on_progress=show,
                )
            except asyncio.CancelledError:
                say("best so far: " + printer.best)
                raise


class _TrialPrinter:
    """Prints trials: all of them, or only improvements if a progress bar is on the terminal.

    Args:
        quiet: only improvements are printed.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self.best = "nothing that meets every gate"

    def on_trial(self, trial: Trial, best: Trial | None) -> None:
        if best is not None:
            self.best = _words(best)
        new = best is not None and best.id == trial.id
        if new or not self._quiet:
            say(f"{'found' if new else 'tried'} {_words(trial)}")


def _words(trial: Trial) -> str:
    if trial.figures is None or trial.size_bytes is None:
        return f"{trial.id}: {trial.candidate.what}: {trial.error}"
    drop = "unknown" if trial.figures.drop is None else f"{trial.figures.drop:.4f}"
    return f"{trial.id}: {trial.candidate.what}: drop {drop}, {trial.size_bytes / 1e6:.3g} MB"

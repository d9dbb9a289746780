"""What the held-back samples say of a remedy, and why a search found none."""

from __future__ import annotations

from collections.abc import Sequence

from windtunnel.diagnosis.remedy.measure.model_figures import Figures
from windtunnel.diagnosis.remedy.remedy_result import Side, Verdict
from windtunnel.diagnosis.remedy.search.candidates import Check, checks_of, closest
from windtunnel.diagnosis.remedy.search.recipe_search import Found
from windtunnel.plan import Gates


def judge(variant: Side, remedy: Side, gates: Sequence[Check]) -> tuple[Verdict, str]:
    """What the held-back samples say of a remedy: its gates decide, then whether its drop is larger.

    Args:
        variant: on the held-back samples.
        remedy: on the held-back samples.
        gates: with the remedy's figures.

    Returns:
        The verdict, and why.
    """
    drops = f"the drop is {_drop(remedy.figures)}, was {_drop(variant.figures)}"
    missed = [check.gate for check in gates if not check.passed]
    if not missed:
        return "proven", f"every gate is met on the held-back samples; {drops}"
    start = f"it met the gates on the search samples, but on the held-back samples it misses {', '.join(missed)} and"
    if _is_worse(remedy.figures, variant.figures):
        return "none", f"{start} answers worse than the variant: {drops}"
    return "not_proven", f"{start} is no worse than the variant: {drops}"


def _is_worse(remedy: Figures, variant: Figures) -> bool:
    """By what the drop is measured by, and nothing else; a remedy without a figure is worse than one with."""
    if remedy.drop is None or variant.drop is None:
        return remedy.drop is None and variant.drop is not None
    return remedy.drop > variant.drop


def why_none(found: Found, gates: Gates) -> str:
    """Why no trial was chosen: what the most accurate one misses.

    Args:
        found: the trials.
        gates: that were to be met.

    Returns:
        A sentence.
    """
    best = closest(found.trials)
    if best is None or best.figures is None:
        if not found.out_of_time:
            return "nothing that was tried could be made and run"
        if not found.trials:
            return "the budget ran out before anything was tried"
        return "the budget ran out, and nothing that was tried by then could be made and run"
    missed = ", ".join(check.gate for check in checks_of(gates, best) if not check.passed)
    which = (
        f"the most accurate, {best.id} ({best.candidate.what}), has a drop of {_drop(best.figures)} and misses {missed}"
    )
    if found.out_of_time:
        return f"the budget ran out before a recipe met every gate; {which}"
    return f"none of {len(found.trials)} recipes meets every gate on the search samples; {which}"


def _drop(figures: Figures) -> str:
    return "unknown size" if figures.drop is None else f"{figures.drop:.4g}"

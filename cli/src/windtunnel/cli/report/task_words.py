"""The figures of a task in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from windtunnel.cli.report.formatting import clean, part, share

# Figures that other words give already.
_SAID: Final = frozenset({"top1", "pixel_accuracy"})
_METRIC_WORDS: Final[Mapping[str, str]] = {
    "top1": "top-1",
    "top_k": "top-k",
    "f1_macro": "F1 macro",
    "f1_micro": "F1 micro",
    "map": "mAP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ar100": "AR100",
    "miou": "mIoU",
    "pixel_accuracy": "pixel accuracy",
    "recall_at_k": "recall@k",
    "neighbors_kept": "neighbors kept",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R2",
    "pck": "PCK",
    "oks": "OKS",
}


def metric_words(name: Any) -> str:
    """What people call a metric of a task.

    Args:
        name: its name in documents.

    Returns:
        The name itself if it has no other.
    """
    return _METRIC_WORDS.get(str(name), clean(name))


def task_words(task: Mapping[str, Any], sides: tuple[str, str] = ("reference", "candidate")) -> list[str]:
    """The figures of a task of two models, the main one first.

    Args:
        task: of a diagnosis, or of the check of a conversion.
        sides: the names of both models in it.

    Returns:
        One text for each figure that one of both has; none for a classifier whose task nobody names.
    """
    if not task or (task.get("declared") is False and task.get("name") == "classification"):
        return []
    before, after = (part(part(task, side), "figures") for side in sides)
    names = sorted(dict.fromkeys((*before, *after)), key=lambda name: name != task.get("metric"))
    known = (name for name in names if name not in _SAID and (before.get(name), after.get(name)) != (None, None))
    return [f"{metric_words(name)} {share(before.get(name))} → {share(after.get(name))}" for name in known]


def accuracy_words(variant: Mapping[str, Any]) -> str | None:
    """What the accuracy of a variant is, if it is not the share of samples that are classified as labeled.

    Args:
        variant: of a report.

    Returns:
        The task, its main metric and its other figures; None: it is that share.
    """
    metric = variant.get("metric")
    if metric in (None, "pixel_accuracy") and variant.get("element_accuracy") is not None:
        return "the accuracy is the share of correct elements of the labels"
    if metric in (None, "top1"):
        return None
    figures = variant.get("figures")
    others = figures if isinstance(figures, Mapping) else {}
    said = ", ".join(f"{metric_words(name)} {share(value)}" for name, value in others.items() if name != metric)
    return f"{clean(variant.get('task'))}: the accuracy is {metric_words(metric)}" + (f" ({said})" if said else "")

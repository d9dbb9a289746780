"""Options that several commands share."""

from __future__ import annotations

import math
from typing import Any

import click

from windtunnel.thresholds import DEFAULT_THRESHOLD


class Finite(click.FloatRange):
    """A figure with a bound, neither NaN nor infinite: thresholds, gates, budgets. Anything else is wrong usage.

    Without `min` it must be above 0.
    """

    name = "figure"

    def __init__(self, min: float | None = None) -> None:
        super().__init__(min=0.0 if min is None else min, min_open=min is None)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As `click.FloatRange` has it."""
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is no finite figure.", param, ctx)
        return found


threshold_option = click.option(
    "--threshold",
    type=Finite(),
    default=DEFAULT_THRESHOLD,
    show_default=True,
    help="nRMSE above which a layer is over.",
)
host_accelerator_option = click.option(
    "--accelerator",
    type=click.Choice(["xnnpack", "cpu"]),
    default="xnnpack",
    show_default=True,
    help="cpu: no delegate.",
)
kernels_option = click.option(
    "--accelerator",
    type=click.Choice(["xnnpack", "none", "reference"]),
    default="xnnpack",
    show_default=True,
    help="Kernels to run with: XNNPACK's, the runtime's own, or the plain reference ones.",
)
threads_option = click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)


def label_of(text: str) -> tuple[str, str]:
    """Name and value of a label KEY=VALUE. Raises BadParameter."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
    return key, value

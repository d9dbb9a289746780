"""Options that several commands share."""

from __future__ import annotations

import click

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

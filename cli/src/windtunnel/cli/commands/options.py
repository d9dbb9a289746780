"""Options that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from windtunnel.accelerators import (
    BUILTIN,
    REFERENCE,
    XNNPACK,
    parse_accelerator,
    spelled_in_cells,
    spelled_in_comparisons,
)
from windtunnel.errors import InvalidInput
from windtunnel.thresholds import DEFAULT_THRESHOLD

# Delegates that only phones have.
PHONE_ACCELERATORS: Final = ("gpu", "nnapi", "coreml", "hexagon")
_Command = TypeVar("_Command", bound=Callable[..., Any] | click.Command)


class Finite(click.FloatRange):
    """A finite number with a lower bound: thresholds, gates, budgets. Anything else is wrong usage.

    Args:
        min: the smallest number allowed. Without it the number must be above 0.
    """

    name = "figure"

    def __init__(self, min: float | None = None) -> None:
        super().__init__(min=0.0 if min is None else min, min_open=min is None)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Reads a number and checks it like `click.FloatRange` does; infinity and NaN are wrong usage.

        Args:
            value: what the user typed, or the default.
            param: the option.
            ctx: the command.

        Returns:
            The number.
        """
        found = float(super().convert(value, param, ctx))
        if not math.isfinite(found):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return found


class AcceleratorType(click.ParamType[str]):
    """What runs the ops, in any spelling; the command gets it as its documents spell it.

    Args:
        among: the names that the command takes.
        spell: gives the spelling of the command's documents.
    """

    name = "accelerator"

    def __init__(self, among: Sequence[str], spell: Callable[[str], str]) -> None:
        self._among = among
        self._spell = spell

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Names the accelerators in the help text, as `click.Choice` does.

        Args:
            param: the option.
            ctx: the command.

        Returns:
            The names in brackets.
        """
        return f"[{'|'.join(self._among)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Reads the name of an accelerator; one that is not known is wrong usage.

        Args:
            value: what the user typed, or the default.
            param: the option.
            ctx: the command.

        Returns:
            The accelerator as the command's documents spell it.
        """
        try:
            return self._spell(parse_accelerator(str(value), self._among))
        except InvalidInput as error:
            self.fail(f"{error.message}: {error.hint}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Completes the name of an accelerator.

        Args:
            ctx: the command line so far.
            param: the option.
            incomplete: what is typed.

        Returns:
            The names that begin with what is typed.
        """
        return [CompletionItem(name) for name in self._among if name.startswith(incomplete)]


def threshold_option(words: str = "nRMSE above which a layer diverges.") -> Callable[[_Command], _Command]:
    """The option `--threshold`.

    Args:
        words: its help.

    Returns:
        The decorator.
    """
    return click.option("--threshold", type=Finite(), default=DEFAULT_THRESHOLD, show_default=True, help=words)


measured_accelerator_option = click.option(
    "--accelerator",
    type=AcceleratorType((XNNPACK, BUILTIN), spelled_in_cells),
    default=XNNPACK,
    show_default=True,
    help="What runs the ops: the XNNPACK delegate, or the runtime's builtin kernels (also: cpu, none).",
)
compared_accelerator_option = click.option(
    "--accelerator",
    type=AcceleratorType((XNNPACK, BUILTIN, REFERENCE), spelled_in_comparisons),
    default=XNNPACK,
    show_default=True,
    help="What runs the ops: the XNNPACK delegate, the runtime's builtin kernels (also: none, cpu), or its reference "
    "kernels.",
)


def _readable(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """farms.yaml as it is; a file that cannot be used is wrong usage.

    Raises:
        BadParameter: it cannot be used.
    """
    if value is None or context.resilient_parsing:
        return value
    from windtunnel.farm_dispatcher.installed_farms import read_farms

    try:
        read_farms(value)
    except InvalidInput as error:
        # `read_farms` speaks to somebody who set the variable.
        hint = "" if "WINDTUNNEL_FARMS_FILE" in error.hint else error.hint
        raise click.BadParameter(f"{error.message}{f' ({hint})' if hint else ''}", context, parameter) from error
    return value.absolute()


farms_option = click.option(
    "--farms",
    type=click.Path(path_type=Path),
    callback=_readable,
    help="farms.yaml: the farms of this installation. [WINDTUNNEL_FARMS_FILE]",
)
threads_option = click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)


def label_of(text: str) -> tuple[str, str]:
    """Reads a label KEY=VALUE.

    Args:
        text: what the user typed.

    Returns:
        Name and value.

    Raises:
        BadParameter: it is not a label.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--label")
    return key, value

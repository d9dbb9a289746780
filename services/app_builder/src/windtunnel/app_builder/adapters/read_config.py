"""The configuration of a benchmark as a JSON file that a user writes.

Importing this takes 0.1 s: import it where a configuration is read.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from windtunnel.app_builder.domain.app_package import BenchmarkConfig
from windtunnel.documents import Document, DocumentRefused, validated
from windtunnel.errors import InvalidInput

_NUMBERS: Final = ("num_threads", "num_runs", "warmup_runs")
_NUMBER: Final = re.compile(r"--(num_threads|num_runs|warmup_runs)=([0-9]{1,9})")


class ConfigDocument(Document):
    """Arguments of the benchmark; what is absent is left to the app or to its defaults."""

    called: ClassVar[str] = "a configuration"

    variant: str | None = None
    run_id: str | None = None
    cell_id: str | None = None
    accelerator: str | None = None
    num_threads: int | None = None
    num_runs: int | None = None
    warmup_runs: int | None = None
    arguments: list[str] | None = None


def read_config(value: Any, what: str, variant: str) -> BenchmarkConfig:
    """Reads a configuration.

    Args:
        value: decoded JSON.
        what: names it in messages.
        variant: name of the variant if the configuration has none.

    Returns:
        The configuration.

    Raises:
        InvalidInput: a field is unknown, or its value cannot be used.
    """
    try:
        found = validated(ConfigDocument, value)
    except DocumentRefused as refused:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in refused.path).lstrip(".")
        raise InvalidInput(f"{what}: {where + ': ' if where else ''}{refused.message}", hint=refused.hint) from None
    numbers = {name: getattr(found, name) for name in _NUMBERS if getattr(found, name) is not None}
    numbers, arguments = _numbers_in(found.arguments or [], numbers)
    try:
        return BenchmarkConfig(
            run_id=found.run_id,
            variant=found.variant or variant,
            cell_id=found.cell_id,
            accelerator=found.accelerator,
            arguments=arguments,
            **numbers,
        )
    except InvalidInput as error:
        raise InvalidInput(f"{what}: {error.message}", hint=error.hint) from error


def _numbers_in(arguments: list[str], numbers: dict[str, int]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Fields that are given as arguments become fields, so that they do not follow their defaults."""
    fields, rest = dict(numbers), []
    for argument in arguments:
        found = _NUMBER.fullmatch(argument)
        if found is None or found[1] in fields:
            rest.append(argument)
        else:
            fields[found[1]] = int(found[2])
    return fields, tuple(rest)

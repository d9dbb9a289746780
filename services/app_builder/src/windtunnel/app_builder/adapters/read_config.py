"""The configuration of a benchmark as a JSON file that a user writes.

Importing this takes 0.1 s: import it where a configuration is read.
"""

from __future__ import annotations

from typing import Any, ClassVar

from windtunnel.app_builder.domain.app_package import BenchmarkConfig
from windtunnel.documents import Document, DocumentRefused, validated
from windtunnel.errors import InvalidInput


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
    numbers = {"num_runs": found.num_runs, "warmup_runs": found.warmup_runs}
    try:
        return BenchmarkConfig(
            run_id=found.run_id,
            variant=found.variant or variant,
            cell_id=found.cell_id,
            accelerator=found.accelerator,
            num_threads=found.num_threads,
            arguments=tuple(found.arguments or ()),
            **{name: number for name, number in numbers.items() if number is not None},
        )
    except InvalidInput as error:
        raise InvalidInput(f"{what}: {error.message}", hint=error.hint) from error

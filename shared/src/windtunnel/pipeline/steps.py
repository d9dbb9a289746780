"""One step of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from numpy.typing import NDArray

# From samples (N, ...) to samples (N, ...).
StepFunction = Callable[[NDArray[Any]], NDArray[Any]]
# The op of a step that is a function of the caller's.
FUNCTION: Final = "function"


@dataclass(frozen=True, slots=True)
class Step:
    """One op with all its fields, defaults filled in; or a function, which pipeline.json cannot carry."""

    op: str
    fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    function: StepFunction | None = None

    @classmethod
    def of_function(cls, function: StepFunction) -> Step:
        """A step that calls a function.

        Args:
            function: from samples (N, ...) to samples (N, ...); it is given one sample at a time, N = 1, where the
                samples differ in shape.

        Returns:
            The step.
        """
        return cls(FUNCTION, function=function)

    def with_fields(self, **fields: Any) -> Step:
        """The step with other values of some fields. They are not checked.

        Args:
            **fields: values by name.

        Returns:
            The step.
        """
        return Step(self.op, {**self.fields, **fields}, self.function)

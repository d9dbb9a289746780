"""Types of fields that documents share, and the words in which a field is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

from pydantic import BeforeValidator, Discriminator, Tag, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from windtunnel.documents.problems import PROBLEM, TAG, kind_of, path_of, problem

T = TypeVar("T")
# The tags of `how_many`.
ONE: Final = f"{TAG}one"
MANY: Final = f"{TAG}many"
NONE: Final = f"{TAG}none"


def with_error(describe: Callable[[Any], PydanticCustomError], *, of_items: bool = False) -> WrapValidator:
    """A validator with an error of its own: if a value fails a check of pydantic's, the error is what `describe` gives.

    What a check raises with `problem` is not replaced.

    Args:
        describe: gives the error.
        of_items: also if only an item of the value fails; otherwise the error is the item's own.

    Returns:
        What to add to the type's annotation, after its constraints.
    """

    def check(value: Any, validate: Callable[[Any], Any]) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            if any(one["type"] == PROBLEM or (path_of(one["loc"]) and not of_items) for one in found):
                raise
            raise describe(value) from None

    return WrapValidator(check)


def must_be(what: str, hint: Callable[[Any], str] = lambda _: "", *, of_items: bool = False) -> WrapValidator:
    """Words for a type of several constraints: `must be <what>, this is <the value>`.

    Args:
        what: the phrase.
        hint: gives what to do about a value that is refused; empty: nothing.
        of_items: see `said`.

    Returns:
        What to add to the type's annotation, after its constraints.
    """
    return with_error(
        lambda value: problem(f"must be {what}, this is {kind_of(value)}", hint(value)), of_items=of_items
    )


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# Marks a list type: a tuple is taken for a list.
AsList: Final = BeforeValidator(_as_list)


def _as_written(value: Any, validate: Callable[[Any], Any]) -> Any:
    validate(value)
    return value


# Marks a number: it stays what is written, 2 does not become 2.0.
AsWritten: Final = WrapValidator(_as_written)


def how_many(value: Any) -> str:
    """Discriminates a value, a list of values and null.

    Args:
        value: as it is in the document.

    Returns:
        ONE, MANY or NONE.
    """
    return NONE if value is None else MANY if isinstance(value, (list, tuple)) else ONE


# A value, or a list of such values; null gives none.
OneOrMany = Annotated[
    Annotated[T, Tag(ONE)] | Annotated[list[T], AsList, Tag(MANY)] | Annotated[None, Tag(NONE)],
    Discriminator(how_many),
]

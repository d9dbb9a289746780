"""Types of fields that steps share."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from windtunnel.documents import problem
from windtunnel.documents.field_types import MANY, ONE, AsList, AsWritten, how_many, must_be, with_error

MAX_SIDE: Final = 16_384
DType = Literal["float32", "float16", "float64", "uint8", "int8", "uint16", "int16", "int32", "int64"]


def whole_number(value: Any) -> Any:
    """Refuses what only equals a whole number.

    Args:
        value: as it is in the document.

    Returns:
        The value.

    Raises:
        ValueError: it is not an int.
    """
    # A literal of pydantic's takes False for 0.
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def not_zero(value: float) -> float:
    """Refuses 0 as a factor.

    Args:
        value: the number.

    Returns:
        The number.

    Raises:
        PydanticCustomError: it is 0.
    """
    if value == 0:
        raise problem("must not be 0, which would erase the image")
    return value


Side = Annotated[int, Field(ge=1, le=MAX_SIDE), must_be(f"a whole number from 1 to {MAX_SIDE}")]
Size = Annotated[
    list[Side],
    Field(min_length=2, max_length=2, description="[height, width] in pixels"),
    AsList,
    must_be("[height, width]"),
]
Number = Annotated[float, Field(allow_inf_nan=False), must_be("a finite number"), AsWritten]
Factor = Annotated[
    float,
    Field(allow_inf_nan=False, json_schema_extra={"not": {"const": 0}}),
    AfterValidator(not_zero),
    must_be("a finite number"),
    AsWritten,
]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), must_be("a number above 0"), AsWritten]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), must_be("a number, 0 or more"), AsWritten]
Word = Annotated[str, Field(min_length=1)]
_three = with_error(lambda value: problem(f"must be one number or 3, one per channel; has {len(value)}"))
PerChannel = Annotated[
    Annotated[Number, Tag(ONE)] | Annotated[list[Number], Field(min_length=3, max_length=3), AsList, _three, Tag(MANY)],
    Discriminator(how_many),
    must_be("a finite number"),
]
Scale = Annotated[
    Annotated[Factor, Tag(ONE)] | Annotated[list[Factor], Field(min_length=3, max_length=3), AsList, _three, Tag(MANY)],
    Discriminator(how_many),
    must_be("a finite number"),
]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), must_be("a number from 0 to 1"), AsWritten]
MAX_RATE: Final = 10_000_000
Rate = Annotated[
    float, Field(gt=0, le=MAX_RATE, allow_inf_nan=False), must_be(f"a number above 0, at most {MAX_RATE}"), AsWritten
]
MAX_LENGTH: Final = 100_000_000
Length = Annotated[int, Field(ge=1, le=MAX_LENGTH), must_be(f"a whole number from 1 to {MAX_LENGTH}")]
Whole = Annotated[int, must_be("a whole number")]
Words = Annotated[
    Annotated[Word, Tag(ONE)] | Annotated[list[Word], AsList, Tag(MANY)],
    Discriminator(how_many),
    must_be("a token, or a list of tokens"),
]


class _WithoutNull:
    """Marks an optional field: null is read as absent, and no document should say it."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Any) -> Any:
        schema = handler(core)
        others = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
        if len(others) != 1:
            return schema
        return {**{key: value for key, value in schema.items() if key != "anyOf"}, **others[0]}


WithoutNull: Final = _WithoutNull()

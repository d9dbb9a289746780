"""The types of the fields of a plan: what each may hold, in which words it is refused, and its JSON Schema."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from windtunnel.documents.field_types import MANY, ONE, AsList, how_many, must_be, with_error
from windtunnel.documents.problems import TAG, Path, kind_of, nearest, problem
from windtunnel.plan.plan_values import API_VERSION, BUILTIN_VARIANTS, LAST_PASSED, RUN_AS, BuiltinVariant, RunAs
from windtunnel.plan.yaml_text import MAX_DEPTH
from windtunnel.task_names import TASK_NAMES, TaskName

_LARGEST_COUNT: Final = 1_000_000
_IN_PLACE: Final = f"{TAG}in place"
_ELSEWHERE: Final = f"{TAG}elsewhere"


def _is_number(value: Any) -> bool:
    """Whether the value is a finite number, within the range of a float."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _number_as_text(value: Any) -> Any:
    # A version is text; JSON and merged YAML give it as a number where it looks like one.
    return str(value) if _is_number(value) else value


def _percent(value: Any) -> str:
    return f"{value} % is {value / 100:g}" if _is_number(value) and 1 < value <= 100 else ""


def _upper_bound(value: Any) -> PydanticCustomError:
    if _is_number(value):
        return problem(f"an upper bound below zero can never hold: {value!r}")
    return problem(f"must be a number, this is {kind_of(value)}")


def _positive(value: Any) -> PydanticCustomError:
    return problem(f"must be a number above 0, this is {kind_of(value)}")


def _unknown_task(value: Any) -> PydanticCustomError:
    if not isinstance(value, str):
        return problem(f"must be a task or an object with its name, this is {kind_of(value)}", ", ".join(TASK_NAMES))
    return problem(f"unknown task {value!r}", nearest(value, TASK_NAMES))


def _bad_farm(value: Any) -> PydanticCustomError:
    if not isinstance(value, str):
        return problem(f"must be text, this is {kind_of(value)}")
    return problem(f"{value!r} cannot be the name of a farm", "letters, digits, '-' and '_', at most 64")


def _no_farm(value: Any) -> PydanticCustomError:
    return problem("a farm must be named", "a name of farms.yaml; without one: local, arm or adb")


def _duration(value: Any) -> PydanticCustomError:
    return problem(f"must be a time such as 7d, 12h or 30m, this is {kind_of(value)}")


def _unknown_way(value: Any) -> PydanticCustomError:
    return problem(f"a cell cannot run as {value!r}", nearest(str(value), RUN_AS))


def _increase(value: Any) -> PydanticCustomError:
    if not _is_number(value):
        return problem(f"must be a share such as 0.05, this is {kind_of(value)}")
    if value < 0:
        return problem(f"an increase below zero can never be required: {value!r}", "write 0.05 to allow 5 %")
    return problem(f"must be a share from 0 to 1, this is {value!r}", _percent(value))


def _baseline(value: Any) -> PydanticCustomError:
    if not isinstance(value, str):
        return problem(
            f"a baseline must be named, this is {kind_of(value)}", f"write {LAST_PASSED}, or the id of a run"
        )
    hint = f"{LAST_PASSED}, or letters, digits, '-' and '_', at most 64"
    return problem(f"{value!r} cannot be the id of a run", hint)


def _no_shape(value: Any) -> PydanticCustomError:
    return problem(f"a shape is a list of sizes, this is {kind_of(value)}", "for example [1, 224, 224, 3]")


def _unknown_variant(value: Any) -> PydanticCustomError:
    hint = nearest(str(value), BUILTIN_VARIANTS)
    return problem(f"unknown variant {value!r}", f"{hint}; a recipe is {{name: ..., recipe: ...}}")


def _not_builtin(name: str) -> str:
    if name in BUILTIN_VARIANTS:
        raise ValueError("the name of a built-in variant")
    return name


def _need_own_name(value: Any) -> PydanticCustomError:
    return problem(f"a recipe needs a name of its own, this is {value!r}", "letters, digits, '-', '_' and '.'")


def _require_json(depth: int) -> AfterValidator:
    """Refuses what JSON cannot say, in a field that stands `depth` deep: YAML reads dates, sets and .nan too."""

    def check(value: Any) -> Any:
        _require_json_value(value, depth, ())
        return value

    return AfterValidator(check)


def _require_json_value(value: Any, depth: int, at: Path) -> None:
    if depth > MAX_DEPTH:
        raise problem(f"nested more than {MAX_DEPTH} deep", at=at)
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise problem(f"keys must be text, this is {kind_of(key)}", at=at)
            _require_json_value(item, depth + 1, (*at, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _require_json_value(item, depth + 1, (*at, index))
    elif not (value is None or isinstance(value, (str, int, float))):
        raise problem(f"must be a JSON value, this is {kind_of(value)}", "put it in quotes", at)
    elif isinstance(value, float) and not math.isfinite(value):
        raise problem(f"must be a finite number, this is {value!r}", at=at)


def _where(value: Any) -> str:
    return _ELSEWHERE if isinstance(value, str) else _IN_PLACE


ApiVersion = Annotated[
    Literal["windtunnel/v1"], with_error(lambda value: problem(f"apiVersion is {value!r}", f"write {API_VERSION!r}"))
]
Text = Annotated[
    str,
    Field(min_length=1),
    BeforeValidator(_number_as_text, json_schema_input_type=Annotated[str, Field(min_length=1)] | float),
    must_be("text"),
]
Count = Annotated[int, Field(ge=1, le=_LARGEST_COUNT), must_be(f"a whole number from 1 to {_LARGEST_COUNT}")]
Share = Annotated[float, Field(ge=0, le=1), must_be("a share from 0 to 1", _percent)]
Number = Annotated[float, Field(allow_inf_nan=False), must_be("a number")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), with_error(_positive)]
Task = Annotated[TaskName, with_error(_unknown_task)]
UpperBound = Annotated[float, Field(ge=0, allow_inf_nan=False), with_error(_upper_bound)]
Increase = Annotated[float, Field(ge=0, le=1), with_error(_increase)]
Baseline = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{1,64}$"),
    BeforeValidator(_number_as_text, json_schema_input_type=Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]),
    with_error(_baseline),
]
Shape = Annotated[list[Count], AsList, with_error(_no_shape)]
Shapes = Annotated[
    dict[Text, Shape],
    Field(json_schema_extra={"propertyNames": {"minLength": 1}}),
    must_be("an object of shapes by input name"),
]

# The path or URI of what may also be given in place: it does not look like JSON.
Location = Annotated[str, Field(pattern=r"^\s*[^\s{\[]")]
JsonObject = dict[Any, Any]
Preprocessing = Annotated[
    Annotated[JsonObject, _require_json(1), Tag(_IN_PLACE)] | Annotated[Location, Tag(_ELSEWHERE)],
    Discriminator(_where),
    must_be("a pipeline object or a URI"),
]
Rules = Annotated[list[JsonObject], Field(min_length=1), AsList, _require_json(3)]
Recipe = Annotated[
    Annotated[Rules, Tag(_IN_PLACE)] | Annotated[Location, Tag(_ELSEWHERE)],
    Discriminator(_where),
    must_be("a list of rules (see litert-quantizer) or a URI", of_items=True),
]
BuiltinName = Annotated[BuiltinVariant, with_error(_unknown_variant)]
OwnName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", json_schema_extra={"not": {"enum": list(BUILTIN_VARIANTS)}}),
    AfterValidator(_not_builtin),
    with_error(_need_own_name),
]
# The names of farms are those of farms.yaml, which a plan does not know.
KnownFarm = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"),
    with_error(_bad_farm),
    BeforeValidator(_number_as_text),
]
Way = Annotated[RunAs, with_error(_unknown_way)]
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}(s|m|h|d|w)$"), with_error(_duration)]
Farms = Annotated[
    Annotated[KnownFarm, Tag(ONE)] | Annotated[list[KnownFarm], Field(min_length=1), AsList, Tag(MANY)],
    Discriminator(how_many),
    with_error(_no_farm),
]

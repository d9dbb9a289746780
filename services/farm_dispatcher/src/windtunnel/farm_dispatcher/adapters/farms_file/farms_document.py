"""farms.yaml as pydantic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator
from pydantic.json_schema import SkipJsonSchema

from windtunnel.documents import Document
from windtunnel.documents.field_types import AsList, with_error
from windtunnel.documents.problems import TAG, kind_of, nearest, problem
from windtunnel.plan.plan_field_types import ApiVersion, Count, Text, UpperBound

KINDS: Final = ("local", "arm", "adb", "firebase", "ddp", "aws")
_UNKNOWN: Final = f"{TAG}unknown"
# Each farm is led and asked on its own.
_MOST_FARMS: Final = 100
# A name is part of the keys of a bucket.
_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


def _bad_name(value: Any) -> Any:
    return problem(f"must be a name, this is {kind_of(value)}", "letters, digits, '-' and '_', at most 64")


FarmNameText = Annotated[str, Field(pattern=_NAME), with_error(_bad_name)]
Prices = Annotated[
    dict[Literal["physical", "virtual"], UpperBound],
    with_error(lambda value: problem(f"must be prices of physical and virtual devices, this is {kind_of(value)}")),
]


class PollDocument(Document):
    """Waits between two questions about a farm run."""

    called: ClassVar[str] = "poll_seconds"

    min: Annotated[float, Field(gt=0)] | None = Field(None, description="The shortest wait in seconds.")
    max: Annotated[float, Field(gt=0)] | None = Field(None, description="The longest wait in seconds.")

    @model_validator(mode="after")
    def _in_order(self) -> PollDocument:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise problem(f"min {self.min:g} is above max {self.max:g}", "swap them")
        return self


class BudgetDocument(Document):
    """What may be spent, in US dollars."""

    called: ClassVar[str] = "budget_usd"

    run: UpperBound | None = Field(None, description="For one run.")
    day: UpperBound | None = Field(None, description="In one day (UTC), over all runs.")


class EndpointsDocument(Document):
    """Addresses of emulators of a vendor's services."""

    called: ClassVar[str] = "endpoints"

    testing: Text | None = Field(None, description="Of the Cloud Testing API.")
    toolresults: Text | None = Field(None, description="Of the Tool Results API.")
    storage: Text | None = Field(None, description="Of Google Cloud Storage.")


class DefaultsDocument(Document):
    """What holds for every farm that does not say it itself."""

    called: ClassVar[str] = "defaults"

    attempts: Annotated[int, Field(ge=1, le=20)] | None = Field(
        None, description="Attempts at a cell while the farm fails."
    )
    timeout_minutes: Annotated[float, Field(gt=0)] | None = Field(None, description="The longest job.")
    poll_seconds: PollDocument | None = Field(None, description="Waits between two questions about a farm run.")
    budget_usd: BudgetDocument | None = Field(None, description="What may be spent.")


class FarmDocument(DefaultsDocument):
    """A farm."""

    called: ClassVar[str] = "a farm"

    name: FarmNameText = Field(description="What plans call it.")
    parallel: Count | None = Field(None, description="How many farm runs at once.")
    price_per_minute_usd: Prices | None = Field(None, description="Of a device, by its kind.")
    cells_per_run: Count | None = Field(None, description="How many cells of one device share a farm run at most.")
    pack_seconds: UpperBound | None = Field(
        None, description="How long a cell waits for others of its device, in seconds."
    )


class LocalDocument(FarmDocument):
    """This host."""

    kind: Literal["local"]


class ArmDocument(FarmDocument):
    """ARM64 under emulation on this host."""

    kind: Literal["arm"]


class AdbDocument(FarmDocument):
    """Phones attached to an adb server."""

    kind: Literal["adb"]
    server: Text | None = Field(None, description="Host and port of the adb server.")
    serials: Annotated[list[Text], AsList] | None = Field(None, description="Phones to use; absent: all attached.")
    min_battery_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="A phone with less charge waits."
    )
    max_celsius: Annotated[float, Field(gt=0)] | None = Field(None, description="A phone with a hotter battery waits.")
    cool_down_seconds: UpperBound | None = Field(None, description="Wait between two jobs on a phone.")
    airplane: bool | None = Field(None, description="Switch radios off while a job runs.")


class FirebaseDocument(FarmDocument):
    """Firebase Test Lab."""

    kind: Literal["firebase"]
    project: Text = Field(description="The project of Google Cloud.")
    results: Text = Field(description="A gs:// folder for uploads and results.")
    endpoints: EndpointsDocument | None = Field(None, description="Emulators to ask instead of Google.")


class DdpDocument(FarmDocument):
    """Google's Developer Device Platform."""

    kind: Literal["ddp"]
    project: Text = Field(description="The project of Google Cloud.")
    results: Text = Field(description="A gs:// folder for uploads and results.")
    location: Text | None = Field(None, description="Of the sessions.")
    gcloud: Text | None = Field(None, description="The gcloud command.")
    endpoints: EndpointsDocument | None = Field(None, description="Emulators to ask instead of Google.")


class AwsDocument(FarmDocument):
    """AWS Device Farm."""

    kind: Literal["aws"]
    project: Text = Field(description="The ARN of the project.")
    region: Text | None = Field(None, description="Of the service.")


def _kind(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    return kind if kind in KINDS else _UNKNOWN


def _unknown_kind(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise problem(f"a farm must be an object, this is {kind_of(value)}")
    kind = value.get("kind")
    if kind is None:
        raise problem("a farm must have a kind", f"known are {', '.join(KINDS)}", ("kind",))
    raise problem(f"unknown kind {kind!r}", nearest(str(kind), KINDS), ("kind",))


AnyFarm = Annotated[
    Annotated[LocalDocument, Tag("local")]
    | Annotated[ArmDocument, Tag("arm")]
    | Annotated[AdbDocument, Tag("adb")]
    | Annotated[FirebaseDocument, Tag("firebase")]
    | Annotated[DdpDocument, Tag("ddp")]
    | Annotated[AwsDocument, Tag("aws")]
    | Annotated[SkipJsonSchema[Any], AfterValidator(_unknown_kind), Tag(_UNKNOWN)],
    Discriminator(_kind),
]


def _each_once(farms: list[FarmDocument]) -> list[FarmDocument]:
    seen: set[str] = set()
    for index, farm in enumerate(farms):
        if farm.name in seen:
            raise problem(f"farm {farm.name!r} is given twice", at=(index, "name"))
        seen.add(farm.name)
    return farms


class FarmsDocument(Document):
    """The farms of an installation."""

    called: ClassVar[str] = "farms.yaml"

    api_version: ApiVersion = Field(alias="apiVersion")
    farms: Annotated[list[AnyFarm], Field(min_length=1, max_length=_MOST_FARMS), AsList, AfterValidator(_each_once)] = (
        Field(description="What this installation may run on.")
    )
    defaults: DefaultsDocument | None = Field(None, description="For farms that do not say it themselves.")

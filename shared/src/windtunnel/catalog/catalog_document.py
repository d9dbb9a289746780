"""The file of a catalog as pydantic models; its JSON Schema is generated from them (tools/generate_schemas.py).

Importing this takes 0.1 s: import it where a catalog is read.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from windtunnel.documents import Document, kind_of, nearest, problem
from windtunnel.documents.field_types import AsList, must_be, with_error
from windtunnel.plan.plan_field_types import ApiVersion

KINDS: Final = ("binary", "android_app", "android_test_app", "game_loop_app", "ios_app", "ios_test_app")
ABIS: Final = ("arm64-v8a", "armeabi-v7a", "x86_64", "x86", "riscv64")
_SCHEMES: Final = ("https://", "s3://", "gs://", "file:///", "sha256:")
_TEXT_HINT: Final = "put it in quotes"


def _text_hint(value: Any) -> str:
    return "" if isinstance(value, str) else _TEXT_HINT


Kind = Annotated[
    Literal["binary", "android_app", "android_test_app", "game_loop_app", "ios_app", "ios_test_app"],
    with_error(lambda value: problem(f"unknown kind {kind_of(value)}", nearest(str(value), KINDS))),
]
Abi = Annotated[
    Literal["arm64-v8a", "armeabi-v7a", "x86_64", "x86", "riscv64"],
    with_error(lambda value: problem(f"unknown ABI {kind_of(value)}", nearest(str(value), ABIS))),
]
Name = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"),
    must_be("a name of at most 64 letters, digits, '_', '.' and '-'", _text_hint),
]
Version = Annotated[str, Field(min_length=1, max_length=64), must_be("text of at most 64 characters", _text_hint)]
Sha256 = Annotated[
    str, Field(pattern=r"^[0-9a-f]{64}$"), must_be("64 lower-case hex digits, as sha256sum prints them", _text_hint)
]
Location = Annotated[str, Field(min_length=1, max_length=4096), must_be("text", _text_hint)]
Size = Annotated[int, Field(ge=1), must_be("a whole number of bytes, 1 or more")]


class EntryDocument(Document):
    """A base app or a benchmark binary."""

    called: ClassVar[str] = "an entry"

    name: Name
    kind: Kind
    abi: Abi | None = Field(None, description="Needed for a binary; absent for an app with the code of several ABIs.")
    version: Version | None = Field(None, description="In the words of its publisher.")
    uri: Location | None = Field(
        None,
        description="https:// (of a host in WINDTUNNEL_HTTPS_HOSTS), s3://, gs://, file:// or sha256:<hex>. With "
        "neither `uri` nor `path`: the artifact with this `sha256`.",
    )
    path: Location | None = Field(None, description="A local file; relative paths begin at the folder of the catalog.")
    sha256: Sha256
    size_bytes: Size | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "binary" and self.abi is None:
            raise problem("a binary needs its ABI", f"one of {', '.join(ABIS)}", ("abi",))
        if self.uri is not None and self.path is not None:
            raise problem("uri and path exclude each other", "remove one of them", ("path",))
        if self.uri is not None and not self.uri.startswith(_SCHEMES):
            raise problem(f"cannot read {self.uri!r:.80}", f"a URI begins with one of {', '.join(_SCHEMES)}", ("uri",))
        if self.uri is not None and self.uri.startswith("sha256:") and self.uri != f"sha256:{self.sha256}":
            raise problem(f"is not sha256:{self.sha256}", "give the artifact's own hash, or leave uri out", ("uri",))
        return self


class CatalogDocument(Document):
    """A catalog of base apps and benchmark binaries."""

    called: ClassVar[str] = "a catalog"

    api_version: ApiVersion = Field(alias="apiVersion")
    entries: Annotated[list[EntryDocument], AsList, Field(max_length=1000)]

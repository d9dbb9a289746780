"""Plans stored under a name, so that a training job can say which it means."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from windtunnel.artifacts import ArtifactRef
from windtunnel.bus import Bucket
from windtunnel.errors import InvalidInput, InvalidPlan, NotFound
from windtunnel.metrics_store.use_cases.ports import BlobWriter
from windtunnel.plan import Plan, parse_plan_text, plan_from_json, plan_to_json

_NAME: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")
_URI: Final = re.compile(r"(s3|gs|file)://.|sha256:[0-9a-f]{64}\Z")
_LONGEST: Final = 64


@dataclass(frozen=True, slots=True)
class Plans:
    """The bucket of plans, as canonical JSON under their names. Every method raises Unavailable."""

    bucket: Bucket
    artifacts: BlobWriter

    async def put(self, name: str, text: str) -> ArtifactRef:
        """Stores a plan under a name.

        Args:
            name: of the plan.
            text: YAML or JSON.

        Returns:
            Its artifact.

        Raises:
            InvalidInput: the name is not allowed.
            InvalidPlan: the plan is not valid.
        """
        _check_name(name)
        plan = parse_plan_text(text)
        _check_uris(plan)
        data = plan_to_json(plan)
        ref = await self.artifacts.put_bytes(data)
        await self.bucket.put(name, data)
        return ref

    async def get(self, name: str) -> tuple[Plan, ArtifactRef]:
        """Reads a plan.

        Args:
            name: of the plan.

        Returns:
            The plan and its artifact.

        Raises:
            NotFound: there is no such plan.
        """
        data = await self._read(name)
        return plan_from_json(data), ArtifactRef(hashlib.sha256(data).hexdigest(), len(data))

    async def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(await self.bucket.keys())

    async def delete(self, name: str) -> None:
        """Deletes a name; runs under its plan keep it.

        Args:
            name: of the plan.

        Raises:
            NotFound: there is no such plan.
        """
        await self._read(name)
        await self.bucket.delete(name)

    async def _read(self, name: str) -> bytes:
        _check_name(name)
        data = await self.bucket.get(name)
        if data is None:
            raise NotFound(f"there is no plan {name!r}", hint="`windtunnel plans list` shows them")
        return data


def _check_name(name: str) -> None:
    if len(name) > _LONGEST or not _NAME.match(name):
        raise InvalidInput(
            f"the name of a plan is {name[:80]!r}",
            hint=f"letters, digits, '-', '_' and single '.' between them, at most {_LONGEST}",
        )


def _check_uris(plan: Plan) -> None:
    """Checks that the services can read what a plan names: they see no file of the user's.

    Raises:
        InvalidPlan: they cannot.
    """
    for path, value in _references(plan):
        if not _URI.match(value):
            raise InvalidPlan(
                f"{value!r} is not a URI",
                path=path,
                hint="s3://, gs://, file:// or sha256:; `windtunnel` uploads files",
            )


def _references(plan: Plan) -> Iterator[tuple[str, str]]:
    named = (
        ("data.samples", plan.data.samples),
        ("data.calibration", plan.data.calibration),
        ("preprocessing", plan.preprocessing),
        *((f"variants.{variant.name}.recipe", variant.recipe_uri) for variant in plan.variants),
    )
    for path, value in named:
        if isinstance(value, str):
            yield path, value

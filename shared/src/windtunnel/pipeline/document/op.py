"""The base of the models of steps."""

from __future__ import annotations

from typing import Any, ClassVar

from windtunnel.documents import Document


class Op(Document):
    """One step of a pipeline."""

    called: ClassVar[str] = "a step"
    camel_case: ClassVar[bool] = False
    missing_is_null: ClassVar[bool] = False

    op: str

    def values(self) -> dict[str, Any]:
        """The fields of the op, with the defaults of those that are not given.

        Returns:
            The values by name, without `op`.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "op"}
        return fields | (self.model_extra or {})

"""The base of all kinds of findings: what a kind must say before it can be defined."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final

from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.findings.document import json_of
from windtunnel.diagnosis.findings.fixes import Fix

_KINDS: Final[dict[str, type[CauseFinding]]] = {}


class CauseFinding(ABC):
    """What shows a cause: its facts as typed fields, the fix that follows from them, and words for people.

    A kind is a frozen dataclass. Its fields, in their order, are the `evidence` of a cause in JSON. A class that only
    gathers the fields of several kinds sets `is_family`.
    """

    __slots__ = ()
    code: ClassVar[CauseCode]
    is_family: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Notes the kind.

        Raises:
            TypeError: it has no code, no fix, or no words.
        """
        if "is_family" in cls.__dict__:
            return
        missing = [name for name in ("fix", "words") if getattr(getattr(cls, name), "__isabstractmethod__", False)]
        if not hasattr(cls, "code"):
            missing.append("code")
        if missing:
            raise TypeError(f"the finding {cls.__name__} has no {', no '.join(missing)}")
        # A dataclass with slots is made twice; the second class is the one in use.
        _KINDS[cls.__name__] = cls

    @abstractmethod
    def fix(self) -> Fix:
        """What to do about it."""

    @abstractmethod
    def words(self) -> tuple[str, ...]:
        """What it says for people: one sentence for each point, at least one, without control characters."""

    def evidence(self) -> dict[str, Any]:
        """The `evidence` of a cause in JSON, without what a trial of the fix adds."""
        return dict(json_of(self))

    @property
    def isolated_error(self) -> float | None:
        """The layer's isolated error (nRMSE), where the finding itself states it."""
        return None


def kinds() -> tuple[type[CauseFinding], ...]:
    """All kinds that have been defined; `windtunnel.diagnosis.findings.kinds` defines them."""
    return tuple(_KINDS.values())

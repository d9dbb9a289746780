"""Causes of documents, of this version or an older one, as the kinds that they are: for words, not for rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from windtunnel.diagnosis.findings.cause_finding import CauseFinding, kinds
from windtunnel.diagnosis.findings.document import key_of
from windtunnel.diagnosis.findings.trial import SubgraphPlace, Trial
from windtunnel.plain_text import flat, shorten

_T = TypeVar("_T")
_LONGEST = 160
# What a trial of the fix adds to the evidence of every kind.
_OF_TRIALS = frozenset(
    {"local_nrmse", "local_nrmse_mended", "output_nrmse", "output_nrmse_mended", "output_nrmse_with_others_fixed"}
)


@dataclass(frozen=True, slots=True)
class ReadCause:
    """A cause of a document. `finding` is None if no kind has its fields; `rest` are the fields that none took."""

    finding: CauseFinding | None
    trial: Trial
    inside: SubgraphPlace | None
    rest: Mapping[str, Any]

    def words(self) -> tuple[str, ...]:
        """Sentences for people: what the finding says, then what the trial showed, then all that is left in short."""
        said = () if self.finding is None else self.finding.words()
        inside = () if self.inside is None else (self.inside.words(),)
        left = "; ".join(f"{key} {shorten(value, _LONGEST)}" for key, value in flat(self.rest))
        return (*said, *self.trial.words(), *inside, *([left] if left else []))


def finding_of(cause: Mapping[str, Any]) -> ReadCause:
    """The kind, the trial and the place of an entry of `causes`. Unexpected content is not an error.

    Args:
        cause: the JSON object, from a document of any version.

    Returns:
        Typed values; what no kind has is in `rest`.
    """
    evidence, fix = (_object(cause.get(key)) for key in ("evidence", "fix"))
    finding = _best(cause.get("code"), evidence, fix)
    taken = frozenset() if finding is None else _keys(type(finding))
    rest = {key: value for key, value in evidence.items() if key not in taken}
    trial = _trial(rest)
    inside = _parsed(SubgraphPlace, rest.get("inside"))
    known = (_OF_TRIALS if trial is not None else frozenset()) | ({"inside"} if inside is not None else frozenset())
    left = {key: value for key, value in rest.items() if key not in known}
    return ReadCause(finding, trial or Trial(), inside, left)


def _best(code: Any, evidence: Mapping[str, Any], fix: Mapping[str, Any]) -> CauseFinding | None:
    """The kind of that code which takes most of the fields; those that a trial may have added count last."""

    def fields_taken(kind: type[CauseFinding]) -> tuple[int, int]:
        taken = _keys(kind) & evidence.keys()
        return len(taken - _OF_TRIALS), len(taken)

    fitting: Iterable[type[CauseFinding]] = (one for one in kinds() if one.code == code)
    ranked = sorted(fitting, key=fields_taken, reverse=True)
    for kind in ranked:
        given = {}
        for one in fields(kind):  # type: ignore[arg-type]  # Every kind is a dataclass.
            source, key = (fix, one.metadata["fix"]) if "fix" in one.metadata else (evidence, key_of(one))
            if key in source:
                given[one.name] = source[key]
        found = _parsed(kind, given)
        if isinstance(found, CauseFinding):
            return found
    return None


@cache
def _keys(kind: type[CauseFinding]) -> frozenset[str]:
    """The keys of a kind's evidence."""
    known = fields(kind)  # type: ignore[arg-type]  # Every kind is a dataclass.
    return frozenset(key_of(one) for one in known if not one.metadata.get("hidden"))


def _trial(evidence: Mapping[str, Any]) -> Trial | None:
    """What a trial left in the evidence; None where it has another form."""
    layer = {"before": evidence.get("local_nrmse"), "after": evidence.get("local_nrmse_mended")}
    output = {"before": evidence.get("output_nrmse"), "after": evidence.get("output_nrmse_mended")}
    found = {
        "layer": layer if "local_nrmse" in evidence else None,
        "output": output if "output_nrmse_mended" in evidence else None,
        "with_others_fixed": evidence.get("output_nrmse_with_others_fixed"),
    }
    return _parsed(Trial, found)


def _parsed(kind: type[_T], value: Any) -> _T | None:
    try:
        found: _T = _adapter(kind).validate_python(value)  # type: ignore[arg-type]  # Types are hashable.
    except ValidationError:
        return None
    return found


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

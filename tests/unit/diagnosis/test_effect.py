"""What the fixes of differences do to the outputs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from support.cause_findings import sample_of
from windtunnel.diagnosis.findings.kinds.ops import AttributeDiffers
from windtunnel.diagnosis.rules.effect_on_outputs import with_effects, without_harmless
from windtunnel.diagnosis.rules.suspect_rules import Decision, decide
from windtunnel.diagnosis.rules.tried_suspect import TriedSuspect
from windtunnel.diagnosis.static.suspect import Patch, Suspect


class Outputs:
    """Ends of a model whose output stays as far off as it is, whatever is fixed."""

    def __init__(self, nrmse: float) -> None:
        self._nrmse = nrmse

    def try_beyond(self, base: Patch | None, patch: Patch, samples: int) -> Sequence[tuple[float, float]]:
        return [(self._nrmse, self._nrmse)]


def split(causes: Sequence[Decision], outputs: Outputs) -> tuple[list[Decision], list[Decision]]:
    return without_harmless(with_effects(causes, outputs, "integer"), "integer")


def difference(code: str, nrmse: float) -> Decision:
    suspect = Suspect(sample_of(code), "conv", 3, 7, plain=True, patch=lambda editor: None)
    return decide(TriedSuspect(suspect, "integer", 0.1, 0.1, nrmse, nrmse))


@pytest.mark.parametrize(
    ("code", "nrmse", "is_cause"),
    [
        ("quantization.parameters", 0.05, True),
        ("quantization.parameters", 0.001, False),
        ("conversion.op", 0.05, False),
    ],
)
def test_a_wrong_number_whose_fix_shows_nothing_counts_while_an_output_is_off(
    code: str, nrmse: float, is_cause: bool
) -> None:
    causes, harmless = split([difference(code, nrmse)], Outputs(nrmse))
    assert (len(causes), len(harmless)) == ((1, 0) if is_cause else (0, 1))


def test_another_attribute_of_the_same_op_counts_where_the_kernels_at_hand_ignore_it() -> None:
    finding = AttributeDiffers(attribute="beta", reference=1.0, candidate=2.0)
    suspect = Suspect(finding, "probabilities", 3, 7, plain=True, patch=lambda _: None)
    causes, harmless = split([decide(TriedSuspect(suspect, "integer", 0.1, 0.1, 0.01, 0.01))], Outputs(0.01))
    assert (len(causes), len(harmless)) == (1, 0)

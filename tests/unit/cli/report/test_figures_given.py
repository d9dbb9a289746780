"""Thresholds, gates and budgets: what is not a number is wrong usage, in every command."""

from __future__ import annotations

import click
import pytest

from windtunnel.cli.commands.models.remedy import _gates
from windtunnel.cli.main import cli

_COMMANDS = {
    "--threshold": ("diff a.tflite b.tflite", "layers diff a.log b.log"),
    "--budget": ("remedy a.tflite b.tflite --samples x.npz",),
}


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0", "-1", "1e-400", "x"])
@pytest.mark.parametrize(("option", "command"), [(name, one) for name, many in _COMMANDS.items() for one in many])
def test_it_is_finite_and_above_0(option: str, command: str, value: str) -> None:
    with pytest.raises(click.BadParameter):
        cli.main([*command.split(), option, value], standalone_mode=False)


@pytest.mark.parametrize("text", ["size_mb=0", "size_mb=inf", "latency_ms.p95=nan", "accuracy_drop=nan", "size_mb="])
def test_a_gate_has_a_limit_that_can_be_met(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a limit for"):
        _gates([text])


def test_a_gate_is_given_once() -> None:
    with pytest.raises(click.BadParameter, match="size_mb is given twice"):
        _gates(["size_mb=3", "accuracy_drop=0", "size_mb=4"])
    gates = _gates(["size_mb=3", "accuracy_drop=0"])
    assert (gates.size_mb, gates.accuracy_drop) == (3.0, 0.0)
    assert _gates([]).accuracy_drop == 0.01

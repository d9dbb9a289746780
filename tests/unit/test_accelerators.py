"""One vocabulary for accelerators: every spelling is accepted everywhere, and documents keep the spelling they have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import click
import pytest
from ai_edge_litert.interpreter import OpResolverType
from click.testing import CliRunner

from windtunnel.accelerators import (
    BUILTIN,
    REFERENCE,
    SPELLINGS,
    XNNPACK,
    Accelerator,
    accelerator_name,
    parse_accelerator,
    resolver_of,
    runtime_accelerator,
    shown_accelerator,
    spelled_in_cells,
    spelled_in_comparisons,
)
from windtunnel.cli.commands.options import compared_accelerator_option, measured_accelerator_option
from windtunnel.diagnosis.minimal import run_case
from windtunnel.errors import InvalidInput
from windtunnel.plan import parse_plan


@pytest.mark.parametrize(
    ("text", "name", "in_cells", "in_comparisons"),
    [
        ("builtin", "builtin", "cpu", "none"),
        ("cpu", "builtin", "cpu", "none"),
        ("none", "builtin", "cpu", "none"),
        ("None", "builtin", "cpu", "none"),
        ("optimized", "builtin", "cpu", "none"),
        ("BUILTIN_WITHOUT_DEFAULT_DELEGATES", "builtin", "cpu", "none"),
        ("reference", "reference", "reference", "reference"),
        ("builtin-ref", "reference", "reference", "reference"),
        ("xnnpack", "xnnpack", "xnnpack", "xnnpack"),
        (" XNNPACK ", "xnnpack", "xnnpack", "xnnpack"),
        ("Core ML", "coreml", "coreml", "coreml"),
        ("gpu", "gpu", "gpu", "gpu"),
        ("npu-of-a-farm", "npu-of-a-farm", "npu-of-a-farm", "npu-of-a-farm"),
        ("", "", "", ""),
    ],
)
def test_every_spelling_has_one_name_and_each_document_its_own(
    text: str, name: str, in_cells: str, in_comparisons: str
) -> None:
    assert accelerator_name(text) == shown_accelerator(text) == name
    assert spelled_in_cells(text) == in_cells
    assert spelled_in_comparisons(text) == in_comparisons


@pytest.mark.parametrize("name", get_args(Accelerator))
def test_every_spelling_of_what_the_runtime_has_is_one_op_resolver(name: str) -> None:
    for spelling in (name, *SPELLINGS[name], spelled_in_cells(name), spelled_in_comparisons(name)):
        assert runtime_accelerator(spelling) == name
        assert getattr(OpResolverType, resolver_of(spelling)) is getattr(OpResolverType, resolver_of(name))
    assert len({resolver_of(one) for one in get_args(Accelerator)}) == len(get_args(Accelerator))


@pytest.mark.parametrize("text", ["gpu", "", "arm:cortex-a53", "npu-of-a-farm"])
def test_the_runtime_has_no_resolver_for_other_accelerators(text: str) -> None:
    with pytest.raises(InvalidInput, match="unknown accelerator") as refused:
        resolver_of(text)
    assert "xnnpack, builtin, reference" in str(refused.value.hint)


def test_the_script_of_a_minimal_case_has_the_same_table() -> None:
    """The script runs without Windtunnel, so it has a copy."""
    promised = {spelled_in_comparisons(name) for name in get_args(Accelerator)}
    assert promised | set(get_args(Accelerator)) == run_case.RESOLVERS.keys()
    assert {name: resolver_of(name) for name in run_case.RESOLVERS} == run_case.RESOLVERS


def test_no_other_module_knows_op_resolvers() -> None:
    root = Path(__file__).parents[2]
    tables = [
        path.name
        for folder in ("shared/src", "diagnosis/src", "services", "cli/src")
        for path in (root / folder).rglob("*.py")
        if re.search(r"BUILTIN_WITHOUT_DEFAULT_DELEGATES|BUILTIN_REF\b", path.read_text())
    ]
    assert sorted(tables) == ["accelerators.py", "run_case.py"]


def test_no_spelling_has_two_names() -> None:
    every = [spelling for name, others in SPELLINGS.items() for spelling in (name, *others)]
    assert len(every) == len(set(every))


@pytest.mark.parametrize(
    ("text", "shown", "in_comparisons"),
    [
        ("arm:cortex-a53", "arm:cortex-a53", "arm:cortex-a53"),
        ("arm:cortex-a53:none", "arm:cortex-a53:builtin", "arm:cortex-a53:none"),
        ("arm:cortex-a53:cpu", "arm:cortex-a53:builtin", "arm:cortex-a53:none"),
        ("arm:max:Builtin", "arm:max:builtin", "arm:max:none"),
    ],
)
def test_accelerators_of_the_emulated_system(text: str, shown: str, in_comparisons: str) -> None:
    assert shown_accelerator(text) == shown
    assert spelled_in_comparisons(text) == in_comparisons


def test_an_accelerator_that_a_command_does_not_have_is_refused_with_those_it_has() -> None:
    assert parse_accelerator("cpu", (XNNPACK, BUILTIN)) == BUILTIN
    with pytest.raises(InvalidInput, match=r"unknown accelerator 'reference' \(use xnnpack, builtin\)"):
        parse_accelerator("reference", (XNNPACK, BUILTIN))


@click.command()
@measured_accelerator_option
def measured(accelerator: str) -> None:
    click.echo(accelerator)


@click.command()
@compared_accelerator_option
def compared(accelerator: str) -> None:
    click.echo(accelerator)


@pytest.mark.parametrize("spelling", [BUILTIN, *SPELLINGS[BUILTIN]])
def test_commands_take_every_spelling_and_use_that_of_their_documents(spelling: str) -> None:
    assert CliRunner().invoke(measured, ["--accelerator", spelling]).output == "cpu\n"
    assert CliRunner().invoke(compared, ["--accelerator", spelling]).output == "none\n"


def test_the_default_and_what_a_command_does_not_take() -> None:
    assert CliRunner().invoke(measured, []).output == CliRunner().invoke(compared, []).output == "xnnpack\n"
    assert CliRunner().invoke(compared, ["--accelerator", "ref"]).output == f"{REFERENCE}\n"
    refused = CliRunner().invoke(measured, ["--accelerator", "reference"])
    assert refused.exit_code == 2
    assert "unknown accelerator 'reference': use xnnpack, builtin." in refused.output
    assert "[xnnpack|builtin]" in CliRunner().invoke(measured, ["--help"]).output


def test_a_plan_takes_every_spelling_and_keeps_that_of_cells() -> None:
    document = {
        "apiVersion": "windtunnel/v1",
        "variants": ["float32"],
        "devices": [{"farm": "local", "accelerator": ["XNNPACK", "builtin", "hexagon"]}],
    }
    assert parse_plan(document).devices[0].accelerator == ("xnnpack", "cpu", "hexagon")

"""The generated pages of the documentation site."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import yaml
from sitegen import command_pages, format_pages, python_pages, repository_pages
from sitegen.repository_pages import BrokenLink, with_links

from windtunnel.cli.main import cli

ROOT = Path(__file__).parents[3]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with pages inside and outside of docs/."""
    for path in (
        "README.md",
        "LICENSE",
        "docs/a.md",
        "docs/a.png",
        "docs/decisions/0001-x.md",
        "services/log/README.md",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")
    schemas = tmp_path / "shared/src/windtunnel/schemas"
    schemas.mkdir(parents=True)
    (schemas / "plan.schema.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("place", "link", "expected"),
    [
        ("index.md", "[a](docs/a.md)", "[a](a.md)"),
        ("index.md", "![p](docs/a.png)", "![p](a.png)"),
        ("index.md", "[a](docs/a.md#part)", "[a](a.md#part)"),
        ("index.md", "[part](#part)", "[part](#part)"),
        ("index.md", "[x](https://example.com/docs/b.md)", "[x](https://example.com/docs/b.md)"),
        ("index.md", "[schemas](shared/src/windtunnel/schemas)", "[schemas](reference/schemas/index.md)"),
        ("index.md", "[license](LICENSE)", "license"),
        ("index.md", "[log](services/log)", "[log](services/log.md)"),
        ("index.md", "```\n[b](docs/b.md)\n```", "```\n[b](docs/b.md)\n```"),
        ("a.md", "[r](../README.md)", "[r](index.md)"),
        ("a.md", "[p](../shared/src/windtunnel/schemas/plan.schema.json)", "[p](reference/schemas/plan.schema.json)"),
        ("decisions/0001-x.md", "[a](../a.md)", "[a](../a.md)"),
        ("services/log.md", "[a](../../docs/a.md)", "[a](../a.md)"),
        ("reference/generated.md", "[b](b.md)", "[b](b.md)"),
    ],
)
def test_links_between_files_become_links_between_pages(root: Path, place: str, link: str, expected: str) -> None:
    assert with_links(link, place, root) == expected


def test_a_link_to_a_file_that_does_not_exist_ends_the_build(root: Path) -> None:
    with pytest.raises(BrokenLink, match=r"README.md: the link 'docs/b.md' names 'docs/b.md'"):
        with_links("[b](docs/b.md)", "index.md", root)


def test_every_readme_is_a_page() -> None:
    readmes = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("[a-z]*/README.md")}
    readmes |= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("services/*/README.md")}
    assert readmes <= set(repository_pages.places(ROOT))


def test_every_command_has_a_page_with_its_options_and_examples() -> None:
    pages = command_pages.pages()
    for name, command in cli.commands.items():
        page = pages[f"reference/commands/{name}.md"]
        options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
        for option in options:
            assert f"`{option.opts[0]}" in page, (name, option.opts)
        assert f"[`{name}`]({name}.md)" in pages["reference/commands/index.md"]
    assert "```text\nwindtunnel diff [OPTIONS] [REFERENCE] [CANDIDATE]\n```" in pages["reference/commands/diff.md"]
    assert "```text\nwindtunnel diff float32.tflite" in pages["reference/commands/diff.md"]
    assert "## windtunnel layers log" in pages["reference/commands/layers.md"]
    assert "\b" not in "".join(pages.values())


def test_every_schema_and_every_event_is_described() -> None:
    pages = format_pages.schema_pages(ROOT)
    assert len(pages) == len(list((ROOT / "shared/src/windtunnel/schemas").glob("*.json"))) + 1
    assert "| `variants` |" in pages["reference/schemas/plan.md"]
    channels = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text(encoding="utf-8"))["channels"]
    (events,) = format_pages.event_page(ROOT).values()
    assert all(f"`{channel['address']}`" in events for channel in channels.values())


def test_every_room_of_the_diagnosis_has_a_page() -> None:
    rooms = {path.parent.name for path in (ROOT / "diagnosis/src/windtunnel/diagnosis").glob("*/__init__.py")}
    pages = python_pages.pages(ROOT)
    assert {f"reference/python/windtunnel.diagnosis.{room}.md" for room in rooms} <= set(pages)
    assert "::: windtunnel.client\n" in pages["reference/python/windtunnel.client.md"]

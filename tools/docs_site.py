"""The hook of mkdocs.yml: adds the pages that are not in docs/, and points links between files at pages.

`mkdocs build --strict` fails if a link names a file that does not exist, or if a page cannot be generated.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from sitegen import command_pages, format_pages, python_pages, repository_pages

ROOT = Path(__file__).parents[1]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Completes the navigation: a page per command, decision, schema and Python package.

    Args:
        config: of the site; its navigation is replaced.

    Returns:
        The same configuration.
    """
    generated = {
        "Commands": list(command_pages.pages()),
        "JSON Schemas": list(format_pages.schema_pages(ROOT)),
        "Python": list(python_pages.pages(ROOT)),
        "Decisions": repository_pages.decisions(ROOT),
    }
    config.nav = _completed(config.nav, generated)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds every page and file that has its source outside of docs/.

    Args:
        files: those of docs/; the others are appended.
        config: of the site.

    Returns:
        The same files.
    """
    texts = {
        **repository_pages.texts(ROOT),
        **command_pages.pages(),
        **format_pages.schema_pages(ROOT),
        **format_pages.event_page(ROOT),
        **python_pages.pages(ROOT),
    }
    for place, text in texts.items():
        files.append(File.generated(config, place, content=text))
    files.append(File.generated(config, "site.css", abs_src_path=str(ROOT / "tools/sitegen/site.css")))
    for schema in format_pages.schemas(ROOT):
        place = f"{format_pages.SCHEMAS}/{schema.name}"
        files.append(File.generated(config, place, abs_src_path=str(schema), inclusion=InclusionLevel.NOT_IN_NAV))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Points the links of a page at pages of the site.

    Args:
        markdown: the text of the page.
        page: says where it is.
        config: of the site.
        files: all files of the site.

    Returns:
        The text with its links rewritten.
    """
    return repository_pages.with_links(markdown, page.file.src_uri, ROOT)


def _completed(nav: object, generated: dict[str, list[str]]) -> object:
    """The navigation, in which each section named in `generated` has these pages after its own."""
    if isinstance(nav, list):
        return [_completed(entry, generated) for entry in nav]
    if isinstance(nav, dict):
        return {
            title: [*entry, *(page for page in generated[title] if page not in entry)]
            if title in generated
            else _completed(entry, generated)
            for title, entry in nav.items()
        }
    return nav

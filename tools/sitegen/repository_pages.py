"""Pages whose source is a Markdown file of the repository, and the links between them."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

DOCS = "docs/"

# Files outside of docs/ that are pages, with their place on the site.
_PLACES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "deploy/README.md": "deployment.md",
    "diagnosis/README.md": "library.md",
    "proto/README.md": "contracts.md",
    "benchmarks/diagnosis/README.md": "fault-matrix.md",
}
# Folders and files that have a page of another kind.
_OTHERS = {
    "docs/decisions": "decisions/0001-the-plan-is-shared.md",
    "shared/src/windtunnel/schemas": "reference/schemas/index.md",
    "docs/asyncapi.yaml": "reference/events.md",
}
_SCHEMA = "shared/src/windtunnel/schemas/"
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:|mailto:|#)([^)\s#]*)(#[^)\s]*)?\)")
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


class BrokenLink(Exception):
    """A link names a file that does not exist."""


def places(root: Path) -> dict[str, str]:
    """The pages outside of docs/.

    Args:
        root: the repository.

    Returns:
        Path in the repository to place on the site, both with `/`.
    """
    services = {f"services/{folder.parent.name}/README.md" for folder in root.glob("services/*/README.md")}
    found = {**_PLACES, **{path: f"services/{path.split('/')[1]}.md" for path in services}}
    return {path: place for path, place in found.items() if (root / path).exists()}


def texts(root: Path) -> dict[str, str]:
    """The text of each page outside of docs/.

    Args:
        root: the repository.

    Returns:
        Place on the site to Markdown.
    """
    return {place: (root / path).read_text(encoding="utf-8") for path, place in places(root).items()}


def decisions(root: Path) -> list[str]:
    """The places of the pages of design decisions.

    Args:
        root: the repository.

    Returns:
        Their places on the site, sorted.
    """
    return sorted(path.relative_to(root / DOCS).as_posix() for path in (root / DOCS / "decisions").glob("*.md"))


def with_links(markdown: str, place: str, root: Path) -> str:
    """Rewrites the links of a page from files of the repository to pages of the site.

    Links to files that are not on the site keep their text only.

    Args:
        markdown: the page.
        place: of the page on the site.
        root: the repository.

    Returns:
        The page with rewritten links.

    Raises:
        BrokenLink: if a link names a file that does not exist.
    """
    sources = {site: path for path, site in places(root).items()}
    if place not in sources and not (root / DOCS / place).exists():
        return markdown
    source = sources.get(place, DOCS + place)

    def replaced(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[3]))
        if not (root / target).exists():
            raise BrokenLink(f"{source}: the link {link[3]!r} names {target!r}, which does not exist")
        page = _page(target, root)
        if page is None:
            return link[2]
        address = posixpath.relpath(page, posixpath.dirname(place) or ".")
        return f"{link[1]}[{link[2]}]({address}{link[4] or ''})"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(replaced, part) for part in parts)


def _page(target: str, root: Path) -> str | None:
    """The place on the site of a file of the repository; None: it has none."""
    if target in _OTHERS:
        return _OTHERS[target]
    if target.startswith(_SCHEMA):
        return f"reference/schemas/{Path(target).name}"
    if found := places(root).get(target) or places(root).get(f"{target}/README.md"):
        return found
    return target.removeprefix(DOCS) if target.startswith(DOCS) and (root / target).is_file() else None

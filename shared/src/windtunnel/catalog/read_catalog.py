"""Reading a catalog from YAML or JSON. Errors name the file, the field and its line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from windtunnel.catalog.catalog_entries import Catalog, CatalogEntry, EntryKind
from windtunnel.errors import InvalidInput, InvalidPlan
from windtunnel.plan.yaml_text import Places, read_yaml, read_yaml_text

if TYPE_CHECKING:
    from windtunnel.catalog.catalog_document import CatalogDocument, EntryDocument


def read_catalog(path: Path) -> Catalog:
    """Reads a catalog from its file.

    Args:
        path: YAML, of which JSON is a part.

    Returns:
        The catalog.

    Raises:
        InvalidInput: the file cannot be read, or is not a catalog; the message names the file, the line and the field.
    """
    text = read_yaml_text(path, "catalog")
    return parse_catalog_text(text, path)


def parse_catalog_text(text: str, path: Path) -> Catalog:
    """Reads a catalog from its text.

    Args:
        text: YAML, of which JSON is a part.
        path: where it stands, or would stand: names it in messages, and relative paths in it begin at its folder.

    Returns:
        The catalog.

    Raises:
        InvalidInput: it is not a catalog; the message names the file, the line and the field.
    """
    # Here, not at the top: pydantic takes 0.1 s to import.
    from windtunnel.catalog.catalog_document import CatalogDocument
    from windtunnel.documents import DocumentRefused, validated

    try:
        value, places = read_yaml(text)
        document = validated(CatalogDocument, value)
    except InvalidPlan as error:
        raise InvalidInput(f"catalog {path}: {error.message}", hint=error.hint) from None
    except DocumentRefused as refused:
        where = _where(refused.path, places)
        raise InvalidInput(f"catalog {path}: {where}{refused.message}", hint=refused.hint) from None
    return Catalog(_entries(document, path.absolute().parent), str(path))


def _entries(document: CatalogDocument, folder: Path) -> tuple[CatalogEntry, ...]:
    return tuple(
        CatalogEntry(
            name=entry.name,
            kind=EntryKind(entry.kind),
            sha256=entry.sha256,
            uri=_uri(entry, folder),
            abi=entry.abi or "",
            version=entry.version or "",
            size_bytes=entry.size_bytes,
        )
        for entry in document.entries
    )


def _uri(entry: EntryDocument, folder: Path) -> str:
    if entry.path is not None:
        return (folder / entry.path).as_uri()
    return entry.uri or f"sha256:{entry.sha256}"


def _where(path: tuple[str | int, ...], places: Places) -> str:
    """Line, column and path of a field, as they begin a message."""
    place = places.nearest(path)
    line = f"line {place.line}, column {place.column}: " if place is not None else ""
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return f"{line}{dotted}: " if dotted else line

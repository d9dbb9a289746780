"""The catalog: base apps and benchmark binaries, each pinned by its SHA-256.

catalog = read_catalog(settings.catalog_path) if settings.catalog_path else Catalog()
entry = catalog.binary("benchmark_model", "arm64-v8a")
ref = await fetch(entry, artifacts, sources)        # downloaded once, verified, then an artifact
"""

from windtunnel.catalog.catalog_entries import Catalog, CatalogEntry, EntryKind
from windtunnel.catalog.fetch_entry import fetch
from windtunnel.catalog.read_catalog import parse_catalog_text, read_catalog

__all__ = ["Catalog", "CatalogEntry", "EntryKind", "fetch", "parse_catalog_text", "read_catalog"]

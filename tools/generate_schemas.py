"""Writes the JSON Schemas that are generated from the models of documents.

    python tools/generate_schemas.py [FOLDER]

FOLDER: where to write; by default where they are committed, shared/src/windtunnel/schemas.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from windtunnel.catalog.catalog_document import CatalogDocument
from windtunnel.diagnosis.findings.codes import CauseCode
from windtunnel.diagnosis.numerics import metrics
from windtunnel.documents.json_schema import schema_text
from windtunnel.farm_dispatcher.adapters.farms_file.farms_document import FarmsDocument
from windtunnel.pipeline.document.pipeline_document import PipelineDocument
from windtunnel.plan.plan_document import PlanDocument

COMMITTED = Path(__file__).parents[1] / "shared/src/windtunnel/schemas"


def texts() -> Mapping[str, str]:
    """The texts of the schemas, by the names of their files."""
    return {
        "plan.schema.json": schema_text(PlanDocument, "plan", "Windtunnel plan"),
        "catalog.schema.json": schema_text(CatalogDocument, "catalog", "Catalog of base apps and benchmark binaries"),
        "farms.schema.json": schema_text(FarmsDocument, "farms", "farms.yaml: the farms of an installation"),
        "pipeline.schema.json": schema_text(PipelineDocument, "pipeline", "pipeline.json: preprocessing as data"),
        "diagnosis.schema.json": _with_metrics(
            _with_codes((COMMITTED / "diagnosis.schema.json").read_text(encoding="utf-8"))
        ),
    }


def _with_codes(text: str) -> str:
    """The schema of a diagnosis with the codes of causes that there are now, one on each line."""
    codes = ",\n".join(f'        "{code}"' for code in CauseCode)
    return re.sub(r'("code": \{\s*"enum": \[)[^]]*\]', lambda found: f"{found[1]}\n{codes}\n      ]", text, count=1)


def _with_metrics(text: str) -> str:
    """The schema of a diagnosis with the metrics of layers that there are now, one on each line."""
    lines = (f"        {json.dumps(one.name)}: {json.dumps(one.schema)}" for one in metrics.METRICS)
    return re.sub(
        r'("reference": \{"type": "string"\},\n).*?(,\n {8}"local_nrmse")',
        lambda found: found[1] + ",\n".join(lines) + found[2],
        text,
        count=1,
        flags=re.DOTALL,
    )


def main(folder: Path) -> None:
    """Writes every generated schema.

    Args:
        folder: where the files are written.
    """
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else COMMITTED)

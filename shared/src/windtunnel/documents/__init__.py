"""Documents that people write, such as plan.yaml and pipeline.json, as pydantic models with errors for people.

Importing this takes 0.1 s: import it where a document is read, not at the top of a module.
"""

from windtunnel.documents.document import Document
from windtunnel.documents.problems import DocumentRefused, kind_of, nearest, problem, validated

__all__ = ["Document", "DocumentRefused", "kind_of", "nearest", "problem", "validated"]

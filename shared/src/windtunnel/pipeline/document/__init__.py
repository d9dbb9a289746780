"""pipeline.json as pydantic models; importing one takes 0.1 s: import it where a pipeline is read."""

from typing import Final

SCHEMA: Final = "windtunnel.pipeline/1"

__all__ = ["SCHEMA"]

"""What a monitor finds out by itself: the device, the process, the model's hash, the pipeline."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import string
import time
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

SCHEMA = "windtunnel.edge/1"
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def new_session() -> str:
    """Name a session: its time, its process, and four random digits.

    Returns:
        The name, that no other session has.
    """
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{os.getpid()}-{secrets.token_hex(2)}"


def resident_bytes() -> int:
    """Measure the resident memory of the process.

    Returns:
        Bytes, or 0 if the system does not say.
    """
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def device_facts() -> dict[str, str]:
    """Find out what the device says of itself.

    Returns:
        Operating system and device, by the names of docs/edge-log.md.
    """
    return {"os": f"{platform.system()} {platform.release()}", "device": platform.node() or platform.machine()}


def model_sha256(model: str | PathLike[str]) -> str:
    """Find the hash of a model.

    Args:
        model: Path of the model's file, or the hash itself.

    Returns:
        The hash, in lower-case hexadecimal digits.

    Raises:
        OSError: The file cannot be read.
    """
    words = str(model)
    if len(words) == 64 and set(words) <= set(string.hexdigits):
        return words.lower()
    with Path(model).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pipeline_json(pipeline: str | PathLike[str] | Mapping[str, Any]) -> str:
    """Write the pipeline of the app as JSON.

    Args:
        pipeline: Path of a pipeline.json, or what it holds.

    Returns:
        The JSON.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not JSON.
        TypeError: The mapping is not JSON.
    """
    value = pipeline if isinstance(pipeline, Mapping) else json.loads(Path(pipeline).read_text("utf-8"))
    return json.dumps(value, separators=(",", ":"))

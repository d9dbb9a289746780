"""Defaults for a plan or a user that gives no value."""

from __future__ import annotations

from typing import Final

# nRMSE above which a layer of a variant diverges.
DEFAULT_THRESHOLD: Final = 0.10

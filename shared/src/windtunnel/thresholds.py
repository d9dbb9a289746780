"""What holds where a plan or a user says nothing."""

from __future__ import annotations

from typing import Final

# nRMSE above which a layer of a variant is over.
DEFAULT_THRESHOLD: Final = 0.10

"""Which delegate a wording means, and what a run's lines say of each delegate."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import cast

from windtunnel.log_parser.domain.log import Delegate, DelegateName, Outcome, Replaced, UnsupportedOp

# Part of a reported name, lower case and without spaces -> our name. The first that fits counts.
_NAMES = (
    ("xnnpack", "xnnpack"),
    ("metal", "metal"),
    ("coreml", "coreml"),
    ("nnapi", "nnapi"),
    ("hexagon", "hexagon"),
    ("gpu", "gpu"),
    ("opencl", "gpu"),
    ("opengl", "gpu"),
    ("webgpu", "gpu"),
    ("litert_cl", "gpu"),
    ("dispatch", "npu"),
    ("npu", "npu"),
    ("flex", "flex"),
    ("selecttfops", "flex"),
)

# The name of a delegate in a line that says that it failed, and lines that say that a delegate took only a part.
_NAMED = re.compile(r"TfLite(\w{1,40}?)Delegate|(\S{1,60}) (?:delegate|acceler)", re.IGNORECASE)
_LEFT_OVER = re.compile(r"CPU fallback|not accelerated|not fully accelerated")


def delegate_key(reported: str) -> str:
    """Windtunnel's name of a delegate. `flex` runs TensorFlow's own ops.

    Args:
        reported: as the log calls it.

    Returns:
        "external" for what no rule knows.
    """
    plain = reported.lower().replace(" ", "")
    return next((name for part, name in _NAMES if part in plain), "external")


@dataclass(slots=True)
class _Seen:
    """What has been said of one delegate so far."""

    key: str
    provider: str | None = None
    kernel: str | None = None
    explicit: bool = False
    stated: Outcome | None = None
    # A line says that it could not be made or applied. What the log shows of its nodes counts more.
    failed: bool = False
    kernels: int | None = None
    replaced: list[Replaced] = field(default_factory=list)
    planned: Replaced | None = None
    unsupported: dict[UnsupportedOp, None] = field(default_factory=dict)


class DelegateSet:
    """The delegates of one run, in the order in which the log names them."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self.requested: list[str] = []

    def request(self, key: str) -> None:
        """Notes that a flag or line asks for a delegate.

        Args:
            key: its name.
        """
        if key not in self.requested:
            self.requested.append(key)

    def name(self, reported: str, *, kernel: bool = False, explicit: bool = False) -> _Seen:
        """The record of a delegate.

        Args:
            reported: as the log calls it.
            kernel: the name is that of its kernels.
            explicit: a line names it that only an explicit delegate prints.

        Returns:
            The record.
        """
        seen = self._find(delegate_key(reported))
        if kernel:
            seen.kernel = seen.kernel or reported
        else:
            seen.provider = seen.provider or reported
        seen.explicit = seen.explicit or explicit
        return seen

    def failed(self, message: str) -> None:
        """Notes that a delegate could not be made or applied: the one that the line names, or the only requested.

        A line that only says that ops are left to the CPU is not about a delegate that failed.

        Args:
            message: the line.
        """
        if _LEFT_OVER.search(message):
            return
        found = _NAMED.search(message)
        key = delegate_key(found[1] or found[2]) if found else "external"
        # What no rule knows may be any word before "delegate"; the log has then not said which one.
        known = found is not None and (key != "external" or "external" in found[0].lower())
        if message.startswith(("NN API ", "NNAPI ")):
            key, known = "nnapi", True
        if not known and (lone := self._lone()) is not None:
            key, known = lone, True
        if known:
            self._find(key).failed = True

    def _lone(self) -> str | None:
        """The only delegate that is meant, where a line does not name it."""
        if self.requested:
            return self.requested[0] if len(self.requested) == 1 else None
        named = [key for key, seen in self._seen.items() if seen.explicit or key not in ("xnnpack", "flex")]
        return named[0] if len(named) == 1 else None

    def replaced(self, reported: str, counts: Replaced) -> None:
        """Notes that the runtime put kernels of a delegate into a graph.

        Args:
            reported: as the log calls it.
            counts: of nodes.
        """
        seen = self.name(reported, kernel=True)
        if counts not in seen.replaced:
            seen.replaced.append(counts)

    def of(self, key: str) -> _Seen:
        """The record of a delegate whose own name the log does not say.

        Args:
            key: windtunnel's name.

        Returns:
            The record.
        """
        return self._find(key)

    def _find(self, key: str) -> _Seen:
        # On iOS the tool's GPU delegate is Metal: one delegate under two names.
        if key == "gpu" and "metal" in self._seen:
            key = "metal"
        elif key == "metal" and "gpu" in self._seen and "metal" not in self._seen:
            self._seen["metal"] = self._seen.pop("gpu")
            self._seen["metal"].key = "metal"
        return self._seen.setdefault(key, _Seen(key))

    def requested_name(self) -> str | None:
        """The first delegate asked for by a flag, or by a line that only an explicit delegate prints."""
        if self.requested:
            return self.requested[0]
        for seen in self._seen.values():
            if seen.explicit or seen.key not in ("xnnpack", "flex"):
                return seen.key
        return None

    def build(self) -> tuple[Delegate | None, tuple[Delegate, ...]]:
        """The requested delegate, and the others."""
        wanted = self.requested_name()
        if wanted == "gpu" and "gpu" not in self._seen:
            wanted = "metal"
        main = self._seen.get(wanted) if wanted is not None else None
        others = tuple(self._delegate(seen) for seen in self._seen.values() if seen is not main)
        return (None if main is None else self._delegate(main)), others

    def _delegate(self, seen: _Seen) -> Delegate:
        asked = seen.explicit or seen.key in self.requested
        primary = seen.replaced[0] if seen.replaced else seen.planned
        name = "external" if seen.key == "flex" else seen.key
        return Delegate(
            name=cast("DelegateName", name),
            reported_name=seen.kernel or seen.provider,
            implicit=seen.key in ("xnnpack", "flex") and not asked,
            outcome=_outcome(seen),
            nodes_delegated=primary.nodes_delegated if primary else None,
            nodes_total=primary.nodes_total if primary else None,
            partitions=primary.partitions if primary else None,
            unsupported_ops=tuple(seen.unsupported),
            kernels=seen.kernels,
            subgraphs=tuple(seen.replaced),
        )


def _outcome(seen: _Seen) -> Outcome | None:
    """What the tool states; if it states nothing, what the replaced nodes show."""
    if seen.stated is not None:
        return seen.stated
    if not seen.replaced:
        return "failed" if seen.failed else None
    if any(item.nodes_total is None or item.nodes_delegated is None for item in seen.replaced):
        return None
    if all(item.nodes_delegated == 0 for item in seen.replaced):
        return "none"
    whole = all(item.nodes_delegated == item.nodes_total for item in seen.replaced)
    return "full" if whole else "partial"

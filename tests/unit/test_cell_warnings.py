"""Whether a run on an accelerator was left to the CPU."""

from __future__ import annotations

import pytest

from windtunnel.cell_warnings import fallback_words, fell_back


@pytest.mark.parametrize(
    ("accelerator", "delegate", "nodes", "expected"),
    [
        ("gpu", "gpu", (60, 65), False),
        ("gpu", "metal", (60, 65), False),
        ("gpu", "xnnpack", (470, 476), True),
        ("npu", "xnnpack", (470, 476), True),
        ("nnapi", "nnapi", (0, 65), True),
        ("gpu", "gpu", (6, 65), True),
        ("gpu", "gpu", (7, 65), False),
        ("gpu", "gpu", (None, None), None),
        ("gpu", None, (None, None), None),
        # The CPU was asked for: XNNPACK and the builtin kernels both are it.
        ("xnnpack", "xnnpack", (0, 65), False),
        ("xnnpack", "xnnpack", (3, 65), False),
        ("cpu", "xnnpack", (65, 65), False),
        ("", None, (None, None), False),
    ],
)
def test_a_fallback_is_seen(
    accelerator: str, delegate: str | None, nodes: tuple[int | None, int | None], expected: bool | None
) -> None:
    assert fell_back(accelerator, delegate, *nodes) is expected
    if expected:
        assert accelerator in fallback_words(accelerator, delegate, *nodes)

"""The key of a job: what its result depends on, and nothing else."""

from __future__ import annotations

from windtunnel.bus import job_key
from windtunnel.bus.port import check_key


def test_equal_jobs_have_equal_keys() -> None:
    one = job_key("quantize", {"model": "a" * 64, "options": {"x": 1, "y": 2}}, {"litert": "2.3.0", "numpy": "2.4"})
    two = job_key("quantize", {"options": {"y": 2, "x": 1}, "model": "a" * 64}, {"numpy": "2.4", "litert": "2.3.0"})
    assert one == two
    assert one.startswith("quantize.")
    check_key(one)


def test_whatever_the_result_depends_on_changes_the_key() -> None:
    keys = {
        job_key("quantize", {"model": "a"}, {"litert": "2.3.0"}),
        job_key("compare", {"model": "a"}, {"litert": "2.3.0"}),
        job_key("quantize", {"model": "b"}, {"litert": "2.3.0"}),
        job_key("quantize", {"model": "a", "samples": None}, {"litert": "2.3.0"}),
        job_key("quantize", {"model": "a"}, {"litert": "2.3.1"}),
        job_key("quantize", {"model": "a"}, {}),
    }
    assert len(keys) == 6

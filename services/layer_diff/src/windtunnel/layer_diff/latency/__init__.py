"""Where a model's time goes: what each op costs, what it should take, and which ops are slower than that.

Rules only: times come from `windtunnel.tflite.profile` or from a benchmark log that was parsed to JSON.
"""

from __future__ import annotations

from windtunnel.layer_diff.latency.costs import OpCost, op_cost
from windtunnel.layer_diff.latency.log_times import profile_of_log
from windtunnel.layer_diff.latency.stragglers import LatencyDiagnosis, OpVerdict, diagnose_latency

__all__ = ["LatencyDiagnosis", "OpCost", "OpVerdict", "diagnose_latency", "op_cost", "profile_of_log"]

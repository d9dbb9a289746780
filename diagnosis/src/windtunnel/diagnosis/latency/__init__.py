"""Where a model's time goes: what each op costs, what it should take, and which ops are slower than that.

Rules only: times come from `windtunnel.diagnosis.latency.op_profile` or from a benchmark log that was parsed to JSON.
"""

from __future__ import annotations

from windtunnel.diagnosis.latency.op_costs import OpCost, op_cost
from windtunnel.diagnosis.latency.ops_of_log_rows import profile_of_log
from windtunnel.diagnosis.latency.slow_ops import LatencyDiagnosis, OpVerdict, diagnose_latency

__all__ = ["LatencyDiagnosis", "OpCost", "OpVerdict", "diagnose_latency", "op_cost", "profile_of_log"]

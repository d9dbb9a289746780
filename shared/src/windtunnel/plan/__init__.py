"""The plan: what to do with a model. YAML or JSON for people, one protobuf message on the wire."""

from windtunnel.plan.plan_messages import plan_from_proto, plan_to_proto, shapes_from_proto, shapes_to_proto
from windtunnel.plan.plan_values import (
    AS_IT_IS,
    BUILTIN_VARIANTS,
    DEFAULT_PLAN,
    LAST_PASSED,
    DataSet,
    DeviceFilter,
    Gates,
    LatencyVs,
    Plan,
    VariantSpec,
)
from windtunnel.plan.read_plan import (
    MAX_PLAN_BYTES,
    parse_plan,
    parse_plan_text,
    plan_from_json,
)
from windtunnel.plan.write_plan import plan_to_dict, plan_to_json

__all__ = [
    "AS_IT_IS",
    "BUILTIN_VARIANTS",
    "DEFAULT_PLAN",
    "LAST_PASSED",
    "MAX_PLAN_BYTES",
    "DataSet",
    "DeviceFilter",
    "Gates",
    "LatencyVs",
    "Plan",
    "VariantSpec",
    "parse_plan",
    "parse_plan_text",
    "plan_from_json",
    "plan_from_proto",
    "plan_to_dict",
    "plan_to_json",
    "plan_to_proto",
    "shapes_from_proto",
    "shapes_to_proto",
]

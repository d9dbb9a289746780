"""`data.task` of a plan, and the bounds that its main metric allows."""

from __future__ import annotations

import pytest

from windtunnel.errors import InvalidPlan
from windtunnel.plan import parse_plan_text, plan_to_dict
from windtunnel.plan.plan_values import Plan
from windtunnel.task_names import TASK_METRICS, TASK_NAMES, TaskSpec


def plan(body: str) -> Plan:
    return parse_plan_text(f"apiVersion: windtunnel/v1\n{body}")


def refused(body: str) -> str:
    with pytest.raises(InvalidPlan) as caught:
        plan(body)
    return f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("name", TASK_NAMES)
def test_a_name_alone(name: str) -> None:
    read = plan(f"data: {{samples: x.npz, task: {name}}}")
    assert read.data.task == TaskSpec(name)  # type: ignore[arg-type]
    assert read.data.task is not None
    assert read.data.task.main == TASK_METRICS[name].main
    assert plan_to_dict(read)["data"] == {"samples": "x.npz", "task": name}


def test_options() -> None:
    read = plan("data: {task: {name: classification, metric: top_k, k: 3, classes: [cat, dog], output: scores}}")
    assert read.data.task == TaskSpec("classification", "top_k", 3, ("cat", "dog"), "scores")
    assert read.data.task.main == "top_k"


def test_no_task_is_none() -> None:
    assert plan("data: {samples: x.npz}").data.task is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("data: {task: detektion}", ("unknown task 'detektion'", "did you mean 'detection'?", "data.task")),
        ("data: {task: {name: detection, metric: miou}}", ("the task detection has no metric 'miou'", "ap50")),
        ("data: {task: regression}\ngates: {accuracy: {min: 0.9}}", ("less mae is better", "{max: 0.9}")),
        ("data: {task: detection}\ngates: {accuracy: {max: 0.9}}", ("more map is better", "{min: 0.9}")),
        ("gates: {accuracy: {max: 0.9}}", ("more accuracy is better", "{min: 0.9}", "data.task: regression")),
        ("data: {task: regression}\nexpected_accuracy: 0.9", ("judged by mae", "gates: {accuracy: {max: ...}}")),
        (
            "data: {task: regression}\nvariants: [int8]\ngates: {only: {int8: {accuracy: {min: 1}}}}",
            ("gates.only.int8.accuracy.min", "{max: 1}"),
        ),
    ],
)
def test_what_is_refused_and_why(body: str, words: tuple[str, ...]) -> None:
    said = refused(body)
    assert all(word in said for word in words), said


def test_r2_is_better_the_more_there_is() -> None:
    read = plan("data: {task: {name: regression, metric: r2}}\ngates: {accuracy: {min: 0.9}}\nexpected_accuracy: 0.9")
    assert read.gates.accuracy_min == 0.9
    read = plan("data: {task: regression}\ngates: {accuracy: {max: 2.5}, accuracy_drop: 0.1}")
    assert (read.gates.accuracy_max, read.gates.accuracy_min) == (2.5, None)

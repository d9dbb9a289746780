"""What the client says of a model for which the user said nothing."""

from __future__ import annotations

import re

import pytest

from windtunnel.client.listing import verdict_name
from windtunnel.client.submission import format_by_name, version_of
from windtunnel.v1 import types_pb2


def test_the_version_of_an_artifact_follows_its_content() -> None:
    assert version_of("sha256:" + "0123456789abcdef" * 4) == "0123456789ab"


def test_the_version_of_another_uri_is_the_time() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d\.\d{6}", version_of("s3://models/ssd.zip"))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("frozen.pb", "frozen_graph"),
        ("s3://models/v1/frozen_inference_graph.pb", "frozen_graph"),
        ("exported/saved_model.pb", ""),
        ("model.keras", ""),
        ("saved_model", ""),
        ("sha256:" + "0" * 64, ""),
    ],
)
def test_only_a_graphdef_needs_its_name(model: str, expected: str) -> None:
    assert format_by_name(model) == expected


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (types_pb2.VERDICT_UNSPECIFIED, None),
        (types_pb2.VERDICT_PASSED, "passed"),
        (types_pb2.VERDICT_FAILED, "failed"),
        (types_pb2.VERDICT_COULD_NOT_RUN, "could_not_run"),
    ],
)
def test_verdicts_have_the_names_of_the_report(verdict: types_pb2.Verdict.ValueType, expected: str | None) -> None:
    assert verdict_name(verdict) == expected

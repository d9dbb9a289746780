"""A diagnosis as custom node data of Model Explorer: figures and causes on the nodes of the candidate's graph.

The format is that of `model_explorer.node_data_builder` (PyPI ai-edge-model-explorer, 0.1.34): an object of graph ids,
each with `results` by node key. A file holds one figure per node, so there is one file for each set.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from windtunnel.cli.report.evidence import culprit_codes
from windtunnel.cli.report.formatting import entries, is_number
from windtunnel.diagnosis.findings.divergence import limit_of

if TYPE_CHECKING:
    from windtunnel.tflite import ModelFacts

# Sets of node data: the end of the file name before its suffix, and the figure. The first one has the given name.
SETS: Final = (("", "nrmse"), (".own", "local_nrmse"), (".cause", "cause"))

_TITLES: Final = {"nrmse": "nRMSE", "local_nrmse": "isolated nRMSE", "cause": "cause"}
_CULPRIT: Final = {"bgColor": "#b3261e", "textColor": "#ffffff"}
_FAILED: Final = {"bgColor": "#6a1b9a", "textColor": "#ffffff"}
_LARGEST: Final = 1e30
_SHADES: Final = ((0.1, "#e4f3ea"), (0.3, "#b7e0c6"), (1.0, "#fbe3a6"))


def node_data(document: Mapping[str, Any], facts: ModelFacts, figure: str = "nrmse") -> dict[str, Any]:
    """One set of node data for the candidate's graph.

    A node is named by its output tensor if no other tensor has that name, otherwise by its op's index, which is its id
    in Model Explorer. Culprits are red in every set. A layer without a figure shows its problem.

    Args:
        document: a `windtunnel.diagnosis/1`.
        facts: the candidate.
        figure: `nrmse` (accumulated) or `local_nrmse` (isolated), a number per node, colored by the diagnosis'
            threshold or by the largest; `cause`: the code of the node's cause.

    Returns:
        The object for one set, under the id of the graph.
    """
    values: Mapping[str, Any] = {"results": _results(document, facts, figure), "name": _TITLES[figure]}
    return {graph_id(facts): {**values, **_colors(document, figure)}}


def graph_id(facts: ModelFacts) -> str:
    """Model Explorer's name for the main graph.

    Args:
        facts: the candidate.

    Returns:
        Its own name, or that of its signature, or `main`.
    """
    signatures = (signature.key for signature in facts.signatures if signature.graph == 0)
    return facts.main.name or next(signatures, "") or "main"


def node_data_paths(path: Path) -> dict[Path, str]:
    """The files of all sets.

    Args:
        path: the file that the user named.

    Returns:
        The figure that each file has.
    """
    return {path.with_name(f"{path.stem}{infix}{path.suffix}"): figure for infix, figure in SETS}


def node_data_files(path: Path, document: Mapping[str, Any], facts: ModelFacts) -> dict[Path, bytes]:
    """All sets as files: `path` itself has nRMSE, next to it are NAME.own.json and NAME.cause.json.

    Args:
        path: the file that the user named.
        document: a `windtunnel.diagnosis/1`.
        facts: the candidate.

    Returns:
        The content of each file.
    """
    return {
        name: json.dumps(node_data(document, facts, figure), indent=2, allow_nan=False).encode()
        for name, figure in node_data_paths(path).items()
    }


def _results(document: Mapping[str, Any], facts: ModelFacts, figure: str) -> dict[str, dict[str, Any]]:
    key_of = _keys(facts)
    codes = culprit_codes(document)
    found: dict[str, dict[str, Any]] = {}
    for number, layer in enumerate(entries(document, "layers")):
        colours = _CULPRIT if number in codes else {}
        value: Any = layer.get(figure)
        if figure == "cause":
            value = ", ".join(codes.get(number, ())) or None
        elif not is_number(value):
            value, colours = layer.get("problem"), colours or _FAILED
        if value is not None:
            found[key_of(layer)] = {"value": _rounded(value), **colours}
    return found


def _rounded(value: Any) -> Any:
    """Four digits: Model Explorer shows every digit of a number."""
    return float(f"{value:.4g}") if is_number(value) else value


def _keys(facts: ModelFacts) -> Callable[[Mapping[str, Any]], str]:
    """From a layer to the key of its node."""
    count = Counter(tensor.name for tensor in facts.tensors)
    unnamed = {f"tensor_{tensor.index}" for tensor in facts.tensors}

    def key(layer: Mapping[str, Any]) -> str:
        name = str(layer["name"])
        return name if count[name] == 1 and name not in unnamed else str(layer["op_index"])

    return key


def _colors(document: Mapping[str, Any], figure: str) -> dict[str, Any]:
    """How nodes without a fixed color are colored, and which statistics are left out (sums have no meaning)."""
    if figure == "cause":
        return {"hideInAggregatedStatsTable": True, "hideInChildrenStatsTable": True}
    shown = {"hideInChildrenStatsTable": True, "hideAggregatedStats": ["sum"]}
    if figure == "local_nrmse":
        return {**shown, "gradient": [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#f0984a"}]}
    threshold = limit_of(document).nrmse
    shades = [{"value": _rounded(part * threshold), "bgColor": colour} for part, colour in _SHADES]
    return {**shown, "thresholds": [*shades, {"value": _LARGEST, "bgColor": "#ff8a7e"}]}

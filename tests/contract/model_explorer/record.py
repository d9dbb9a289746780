"""Records what Model Explorer makes of a model and of node data, for the contract test; run by hand.

In an environment of its own, with the files that `python record.py write FOLDER` wrote in the project's environment:

    pip install ai-edge-model-explorer==0.1.34
    python record.py read FOLDER sample.json

The package's own classes build the node data from our figures: a field that they do not know ends in an error.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def write(folder: Path) -> None:
    """The model and our node data of all sets."""
    from support.diagnoses import diagnosis_of_named_model, named_model
    from windtunnel.cli.report.model_explorer import SETS, node_data
    from windtunnel.tflite import read_model

    facts = read_model(named_model(folder / "model.tflite"))
    sets = {figure: node_data(diagnosis_of_named_model(), facts, figure) for _, figure in SETS}
    (folder / "sets.json").write_text(json.dumps(sets))


def read(folder: Path) -> dict[str, Any]:
    """Nodes with their output tensors as the package's adapter gives them, and node data as its builder writes it."""
    adapters = importlib.import_module("model_explorer.builtin_tflite_flatbuffer_adapter")
    found = adapters.BuiltinTfliteFlatbufferAdapter().convert(str(folder / "model.tflite"), {})
    graphs = {
        graph["id"]: {node["id"]: _outputs(node) for node in graph["nodes"]}
        for collection in found["graphCollections"]
        for graph in collection.graphs
    }
    sets = json.loads((folder / "sets.json").read_text())
    return {"graphs": graphs, "sets": {figure: _built(data) for figure, data in sets.items()}}


def _outputs(node: dict[str, Any]) -> list[str]:
    pairs = [pair for output in node["outputsMetadata"] for pair in output["attrs"]]
    return [pair["value"] for pair in pairs if pair["key"] == "tensor_name"]


def _built(data: dict[str, Any]) -> Any:
    builder = importlib.import_module("model_explorer.node_data_builder")
    graphs = {}
    for graph, given in data.items():
        fields = dict(given)
        fields["results"] = {key: builder.NodeDataResult(**value) for key, value in given["results"].items()}
        fields["thresholds"] = [builder.ThresholdItem(**item) for item in given.get("thresholds", [])]
        fields["gradient"] = [builder.GradientItem(**item) for item in given.get("gradient", [])]
        graphs[graph] = builder.GraphNodeData(**fields)
    return json.loads(builder.ModelNodeData(graphsData=graphs).to_json_string())


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        Path(sys.argv[3]).write_text(json.dumps(read(Path(sys.argv[2])), indent=1) + "\n")

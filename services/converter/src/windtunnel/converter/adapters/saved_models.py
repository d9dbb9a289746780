"""SavedModels: which of their graphs and signatures is converted, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from windtunnel.converter.adapters.original_model import Arrays, Original, frozen, port
from windtunnel.converter.domain.conversion import Source
from windtunnel.datacheck.findings import CONVERSION_META_GRAPH, CONVERSION_SIGNATURE, Finding
from windtunnel.errors import InvalidInput

_SERVE: Final = "serve"
_DEFAULT: Final = "serving_default"
# Another name of the same function, which Keras writes too; and how older files mark their training step.
_OTHERS: Final = ("serve", "__saved_model_train_op", "__saved_model_init_op")


def load_saved_model(source: Source) -> Original:
    """Loads the graph tagged `serve` and its signature.

    Args:
        source: the folder.

    Returns:
        The model.

    Raises:
        InvalidInput: there is none to convert.
    """
    if not (source.path / "saved_model.pb").is_file():
        raise InvalidInput(
            f"{source.name} has saved_model.pbtxt, which is text", hint="save it again as saved_model.pb"
        )
    tags, noticed = _serving_tags(source)
    loaded = tf.saved_model.load(str(source.path), tags=tags)
    function, chosen = _signature(dict(loaded.signatures), source)
    names = [str(name) for name in function._arg_keywords]
    specs: Mapping[str, Any] = function.structured_input_signature[1]
    inputs = tuple(port(name, specs[name]) for name in names)
    outputs = sorted(function.structured_outputs)

    def run(arrays: Arrays) -> Arrays:
        given = {one.name: tf.constant(arrays[one.name]) for one in inputs}
        return {name: value.numpy() for name, value in function(**given).items()}

    return Original(
        inputs, tuple(outputs), frozen(function, names, outputs), run, keep=loaded, findings=(*noticed, *chosen)
    )


def _serving_tags(source: Source) -> tuple[list[str] | None, list[Finding]]:
    """Tags of the graph to load, of several the one for serving; None: the only one, whatever its tags.

    Raises:
        InvalidInput: there are several, and none is for serving.
    """
    stored = saved_model_pb2.SavedModel()
    stored.ParseFromString((source.path / "saved_model.pb").read_bytes())
    graphs = [sorted(graph.meta_info_def.tags) for graph in stored.meta_graphs]
    if len(graphs) < 2:
        return None, []
    serving = [tags for tags in graphs if _SERVE in tags]
    listed = ", ".join("+".join(tags) or "no tag" for tags in graphs)
    if not serving:
        raise InvalidInput(
            f"{source.name} has {len(graphs)} graphs ({listed}) and none with the tag {_SERVE!r}",
            hint=f"save the one to deploy with tags={[_SERVE]}",
        )
    # The fewest tags: serve alone goes before serve+gpu and serve+tpu.
    tags = min(serving, key=len)
    message = f"{source.name} has {len(graphs)} graphs ({listed}); the one tagged {'+'.join(tags)} was converted"
    return tags, [Finding(CONVERSION_META_GRAPH, message, evidence={"graphs": graphs, "converted": tags})]


def _signature(signatures: dict[str, Any], source: Source) -> tuple[Any, list[Finding]]:
    if _DEFAULT in signatures:
        signatures = {name: value for name, value in signatures.items() if name not in _OTHERS}
    if not signatures:
        raise InvalidInput(
            f"{source.name} has no signature to convert",
            hint="export it with model.export(path), or tf.saved_model.save(model, path, signatures=...)",
        )
    if len(signatures) == 1:
        return next(iter(signatures.values())), []
    listed = ", ".join(sorted(signatures))
    if _DEFAULT not in signatures:
        raise InvalidInput(
            f"{source.name} has the signatures {listed} and no {_DEFAULT}", hint=f"export one, as {_DEFAULT}"
        )
    message = f"{source.name} has the signatures {listed}; {_DEFAULT} was converted"
    return signatures[_DEFAULT], [Finding(CONVERSION_SIGNATURE, message)]

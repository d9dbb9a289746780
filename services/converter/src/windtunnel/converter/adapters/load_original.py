"""Loading a trained model with TensorFlow. Runs in a child process only."""

from __future__ import annotations

from windtunnel.converter.adapters.frozen_graphs import load_checkpoint, load_frozen_graph
from windtunnel.converter.adapters.keras_files import load_keras
from windtunnel.converter.adapters.original_model import Original, reason
from windtunnel.converter.adapters.saved_models import load_saved_model
from windtunnel.converter.domain.conversion import Format, Source
from windtunnel.converter.formats.keras_config import CODE_HINT, asks_for_code
from windtunnel.errors import InvalidInput, WindtunnelError


def load(source: Source) -> Original:
    """Loads a trained model.

    Args:
        source: the file or folder.

    Returns:
        The model.

    Raises:
        InvalidInput: TensorFlow cannot read it; the message says why.
        WindtunnelError: the loader of its format refuses it.
    """
    loaders = {
        Format.SAVED_MODEL: load_saved_model,
        Format.KERAS: load_keras,
        Format.HDF5: load_keras,
        Format.FROZEN_GRAPH: load_frozen_graph,
        Format.CHECKPOINT: load_checkpoint,
    }
    try:
        return loaders[source.format](source)
    except WindtunnelError:
        raise
    except Exception as error:
        said = reason(error)
        custom = source.format in (Format.KERAS, Format.HDF5) and asks_for_code(said)
        raise InvalidInput(
            f"{source.name} cannot be loaded as {source.format.value}: {said}",
            hint=CODE_HINT if custom else "is the file complete, and of this format?",
            code="custom_layer" if custom else None,
        ) from error

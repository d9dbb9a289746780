"""What the networks for texts are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.app_faults.texts.app import TEXT_MODELS, prepared, right_app
from support.app_faults.texts.texts import CLASSES, texts

_SEED = 7
_EACH = 200


def training_data(name: str) -> tuple[Any, Any, str]:
    """Inputs of the network, their classes, and the kind of network.

    Args:
        name: of the network.

    Returns:
        (N, length), (N,), a key of the networks.
    """
    model = TEXT_MODELS[name]
    labels = np.random.default_rng(_SEED).permutation(np.repeat(np.arange(len(CLASSES)), _EACH))
    return np.stack(prepared(right_app(model), model, texts(labels.tolist(), _SEED))), labels, "text"

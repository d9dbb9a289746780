"""What the networks are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.app_faults.images import models
from support.app_faults.images.app import prepared, right_app
from support.app_faults.images.photos import CLASSES, photos
from support.app_faults.images.resamplers import RIGHT

_SEED = 5
_EACH = 90


def training_data(name: str) -> tuple[Any, Any, str]:
    """Inputs of the network, their classes, and the kind of network.

    Args:
        name: of the network.

    Returns:
        (N, ...), (N,), a key of the networks.
    """
    model = models.IMAGE_MODELS[name]
    rng = np.random.default_rng([_SEED, len(name)])
    labels = rng.permutation(np.repeat(np.arange(len(CLASSES)), _EACH))
    sizes = [(120, 160), (160, 120), (144, 144), (200, 150), (96, 170)]
    raw = photos(labels.tolist(), _SEED, sizes)
    app = right_app(model, next(iter(RIGHT[model.method])))
    return np.stack(prepared(app, model, raw, 0, None)), labels, model.kind

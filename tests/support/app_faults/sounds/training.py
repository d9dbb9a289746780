"""What the networks for sounds are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np

from support.app_faults.sounds.app import prepared, right_app
from support.app_faults.sounds.models import SOUND_MODELS
from support.app_faults.sounds.sounds import CLASSES, sounds

_SEED = 6
_EACH = 90


def training_data(name: str) -> tuple[Any, Any, str]:
    """Inputs of the network, their classes, and the kind of network.

    Args:
        name: of the network.

    Returns:
        (N, ...), (N,), a key of the networks.
    """
    model = SOUND_MODELS[name]
    rng = np.random.default_rng(_SEED)
    labels = rng.permutation(np.repeat(np.arange(len(CLASSES)), _EACH))
    raw = sounds(labels.tolist(), _SEED, model.raw_rate, model.raw_samples)
    fed = prepared(right_app(model, "scipy"), model, raw, None)
    return np.stack(fed), labels, "sound" if model.length else "wave"

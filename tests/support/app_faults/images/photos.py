"""Raw photos with known classes: scenes drawn from a seed, and parts of the two photos that scikit-learn carries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

Photo = NDArray[np.uint8]
CLASSES = ("sunset", "sea", "forest", "bricks", "lemon", "building", "flower", "red up", "blue up", "red left")
# How the photos of a case look. `plain`: a mix of all classes.
KINDS = ("plain", "gray", "noisy", "flat", "tiny", "symmetrical", "dark", "large")


def photo(label: int, rng: np.random.Generator, height: int, width: int, kind: str = "plain") -> Photo:
    """One photo.

    Args:
        label: index in CLASSES.
        rng: decides everything else.
        height: in pixels.
        width: in pixels.
        kind: one of KINDS.

    Returns:
        uint8 RGB (height, width, 3).
    """
    if kind == "flat":
        color = np.asarray([[90, 140, 200], [200, 60, 40], [128, 128, 128]])[label % 3] + rng.integers(-30, 30, 3)
        return np.broadcast_to(np.clip(color, 0, 255).astype(np.uint8), (height, width, 3)).copy()
    name = CLASSES[label]
    scene = _part_of_photo(name, rng, height, width) if name in ("building", "flower") else None
    if scene is None:
        scene = _drawn(name, rng, height, width) + _cloudy(rng, height, width, rng.uniform(10, 28))
    scene = scene * rng.uniform(0.75, 1.1) + rng.uniform(-12, 12)
    return _styled(scene, kind, rng)


def _styled(scene: NDArray[np.float64], kind: str, rng: np.random.Generator) -> Photo:
    scene = scene + rng.normal(0, 40 if kind == "noisy" else rng.uniform(0.5, 4), scene.shape)
    if kind == "gray":
        scene = np.repeat(scene.mean(axis=2, keepdims=True), 3, axis=2)
    elif kind == "dark":
        scene = scene * 0.12
    elif kind == "symmetrical":
        scene = (scene + scene[:, ::-1]) / 2
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


def photos(labels: Sequence[int], seed: int, sizes: Sequence[tuple[int, int]], kind: str = "plain") -> list[Photo]:
    """Photos of given classes.

    Args:
        labels: indices in CLASSES.
        seed: of everything that is drawn.
        sizes: (height, width); photo i has the size i modulo their number.
        kind: one of KINDS.

    Returns:
        One photo for each label.
    """
    rng = np.random.default_rng([seed, 77])
    return [photo(label, rng, *sizes[index % len(sizes)], kind) for index, label in enumerate(labels)]


@cache
def _natural() -> dict[str, NDArray[np.float64]]:
    from sklearn.datasets import load_sample_images

    building, flower = load_sample_images().images
    return {"building": building.astype(np.float64), "flower": flower.astype(np.float64)}


def _part_of_photo(name: str, rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    """A part of the photo, sampled at the wanted size between neighboring pixels."""
    whole = _natural()[name]
    share = rng.uniform(0.55, 0.95)
    tall = share * min(whole.shape[0], whole.shape[1] * height / width)
    wide = tall * width / height
    top, left = rng.uniform(0, whole.shape[0] - tall), rng.uniform(0, max(whole.shape[1] - wide, 1e-6))
    rows = top + (np.arange(height) + 0.5) * tall / height - 0.5
    columns = left + (np.arange(width) + 0.5) * wide / width - 0.5
    return _between(whole, np.clip(rows, 0, whole.shape[0] - 1), np.clip(columns, 0, whole.shape[1] - 1))


def _between(
    whole: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    above, before = np.floor(rows).astype(int), np.floor(columns).astype(int)
    below, after = np.minimum(above + 1, whole.shape[0] - 1), np.minimum(before + 1, whole.shape[1] - 1)
    down, right = (rows - above)[:, None, None], (columns - before)[None, :, None]
    upper = whole[above][:, before] * (1 - right) + whole[above][:, after] * right
    lower = whole[below][:, before] * (1 - right) + whole[below][:, after] * right
    mixed: NDArray[np.float64] = upper * (1 - down) + lower * down
    return mixed


def _cloudy(rng: np.random.Generator, height: int, width: int, strength: float) -> NDArray[np.float64]:
    """Noise whose amplitude falls with the frequency, as in photos."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]) + 1 / max(height, width)
    shape = (*frequency.shape, 3)
    waves = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    waves = 0.7 * waves[..., :1] + 0.3 * waves
    drawn: NDArray[np.float64] = np.fft.irfft2(waves / frequency[..., None], s=(height, width), axes=(0, 1))
    return drawn * (strength / max(float(drawn.std()), 1e-9))


def _drawn(name: str, rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    y, x = (np.arange(size) / size for size in (height, width))
    y, x = y[:, None] + np.zeros((1, width)), x[None] + np.zeros((height, 1))
    if name == "sunset":
        horizon = rng.uniform(0.5, 0.75)
        sky = _mix(np.clip(y / horizon, 0, 1), (70, 40, 110), (250, 140, 60))
        return np.where((y > horizon)[..., None], np.asarray([35.0, 25, 20]), sky)
    if name == "sea":
        horizon = rng.uniform(0.3, 0.5)
        waves = 22 * np.sin(rng.uniform(60, 120) * y + rng.uniform(0, 6) + 2 * np.sin(7 * x))
        water = np.asarray([20.0, 80, 150]) + waves[..., None]
        return np.where((y > horizon)[..., None], water, _mix(y / horizon, (120, 180, 240), (210, 230, 245)))
    if name == "forest":
        trunks = np.sin(rng.uniform(25, 50) * x + rng.uniform(0, 6) + 0.5 * np.sin(4 * y)) > 0.5
        return np.where(trunks[..., None], np.asarray([80.0, 55, 35]), _mix(y, (120, 170, 80), (30, 90, 30)))
    if name == "bricks":
        rows = rng.uniform(7, 12)
        row = np.floor(y * rows)
        column = x * rows / 2 + 0.5 * (row % 2)
        mortar = ((y * rows) % 1 < 0.14) | (column % 1 < 0.08)
        return np.where(
            mortar[..., None], np.asarray([180.0, 175, 165]), np.asarray([150.0, 65, 45]) + 8 * (row % 3)[..., None]
        )
    if name == "lemon":
        return _lemon(rng, y, x)
    return _triangle(name, rng, y, x)


def _mix(share: NDArray[np.float64], first: Sequence[float], second: Sequence[float]) -> NDArray[np.float64]:
    share = np.clip(share, 0, 1)[..., None]
    return np.asarray(first, np.float64) * (1 - share) + np.asarray(second, np.float64) * share


def _lemon(rng: np.random.Generator, y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    middle, radius = rng.uniform(0.4, 0.6, 2), rng.uniform(0.2, 0.32)
    inside = np.hypot((y - middle[0]) * 1.25, x - middle[1]) < radius
    light = 60 * np.exp(-((np.hypot(y - middle[0] + radius / 2, x - middle[1] + radius / 2) / 0.08) ** 2))
    fruit = np.asarray([225.0, 200, 40]) + light[..., None]
    return np.where(inside[..., None], fruit, _mix(x, (70, 110, 70), (110, 130, 90)))


def _triangle(
    name: str, rng: np.random.Generator, y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    middle, size = rng.uniform(0.42, 0.58, 2), rng.uniform(0.28, 0.4)
    up, along = (y - middle[0]) / size, (x - middle[1]) / size
    if name.endswith("left"):
        up, along = along, up
    inside = (up > -1) & (up < 0.8) & (np.abs(along) < (up + 1) / 1.8)
    color = np.asarray([205.0, 40, 45] if name.startswith("red") else [40.0, 60, 210])
    return np.where(inside[..., None], color, _mix(y, (205, 205, 195), (150, 155, 160)))

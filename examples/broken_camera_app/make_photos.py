"""Draws the photos that the app is shown: photos.npz with `photos` (24, 120, 160, 3) uint8 RGB and `labels` (24)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

CLASSES = ("sunset", "sea", "forest", "bricks", "lemon", "building", "flower", "red up", "blue up", "red left")
HEIGHT, WIDTH = 120, 160
# Those that a few lines can draw.
DRAWN = (0, 1, 2, 7, 8, 9)


def main() -> None:
    """Writes photos.npz into this folder."""
    rng = np.random.default_rng(20261130)
    labels = rng.permutation(np.repeat(DRAWN, 4))
    photos = np.stack([photo(CLASSES[label], rng) for label in labels])
    np.savez_compressed(Path(__file__).with_name("photos.npz"), photos=photos, labels=labels)


def photo(name: str, rng: np.random.Generator) -> np.ndarray:
    """A scene with the noise of a camera.

    Args:
        name: of its class.
        rng: decides the details.

    Returns:
        uint8 RGB (HEIGHT, WIDTH, 3).
    """
    y, x = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    cloudy = rng.normal(0, 16, (HEIGHT // 8 + 1, WIDTH // 8 + 1)).repeat(8, 0).repeat(8, 1)[:HEIGHT, :WIDTH, None]
    scene = drawn(name, rng, y[..., None], x[..., None]) + cloudy + rng.normal(0, 3, (HEIGHT, WIDTH, 3))
    return np.clip(np.rint(scene), 0, 255).astype(np.uint8)


def drawn(name: str, rng: np.random.Generator, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The scene without noise.

    Args:
        name: of its class.
        rng: decides the details.
        y: 0 at the top, 1 at the bottom.
        x: 0 at the left, 1 at the right.

    Returns:
        (HEIGHT, WIDTH, 3).
    """
    if name == "sunset":
        horizon = rng.uniform(0.5, 0.75)
        return np.where(y > horizon, [35, 25, 20], mixed(y / horizon, [70, 40, 110], [250, 140, 60]))
    if name == "sea":
        horizon = rng.uniform(0.3, 0.5)
        waves = [20, 80, 150] + 22 * np.sin(80 * y + 2 * np.sin(7 * x))
        return np.where(y > horizon, waves, mixed(y / horizon, [120, 180, 240], [210, 230, 245]))
    if name == "forest":
        trunks = np.sin(rng.uniform(25, 50) * x + 0.5 * np.sin(4 * y)) > 0.5
        return np.where(trunks, [80, 55, 35], mixed(y, [120, 170, 80], [30, 90, 30]))
    down, right = (y - rng.uniform(0.42, 0.58)) / 0.34, (x - rng.uniform(0.42, 0.58)) / 0.34
    if name.endswith("left"):
        down, right = right, down
    inside = (down > -1) & (down < 0.8) & (abs(right) < (down + 1) / 1.8)
    color = [205, 40, 45] if name.startswith("red") else [40, 60, 210]
    return np.where(inside, color, mixed(y, [205, 205, 195], [150, 155, 160]))


def mixed(share: np.ndarray, first: list[int], second: list[int]) -> np.ndarray:
    """From one color to another.

    Args:
        share: 0 gives `first`, 1 gives `second`.
        first: a color.
        second: another.

    Returns:
        The colors.
    """
    share = np.clip(share, 0, 1)
    return np.asarray(first) * (1 - share) + np.asarray(second) * share


if __name__ == "__main__":
    main()

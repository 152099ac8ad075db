"""One drawn chest: lungs, ribs, spine, heart, opacities, in coordinates of the body.

x runs from -1 (the patient's right, left in the image) to 1, y from -1 (neck) to 1 (abdomen);
brightness from 0 (air) to 1 (bone).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

LUNG_X, LUNG_Y, LUNG_WIDTH, LUNG_HEIGHT = 0.40, -0.08, 0.30, 0.66


def rotated(x: np.ndarray, y: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across the direction `angle` (radians)."""
    # Python's floats, unlike NumPy's, leave float32 arrays float32.
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x + sin * y, cos * y - sin * x


@dataclass(frozen=True)
class Grid:
    """Body coordinates of every pixel: x and y are (height, width) float32."""

    x: np.ndarray
    y: np.ndarray

    def blob(self, x: float, y: float, radius_x: float, radius_y: float) -> np.ndarray:
        """A Gaussian of peak 1 whose standard deviations are the radii."""
        dx, dy = (self.x - float(x)) / float(radius_x), (self.y - float(y)) / float(radius_y)
        return np.exp((dx * dx + dy * dy) / -2)


def place(rng: np.random.Generator, size: tuple[int, int]) -> Grid:
    """Where the patient stands: rotated by some 3 degrees, shifted and scaled by some 5 percent."""
    height, width = size
    v, u = np.meshgrid(
        (2 * np.arange(height, dtype=np.float32) + 1) / height - 1,
        (2 * np.arange(width, dtype=np.float32) + 1) / width - 1,
        indexing="ij",
    )
    angle = math.radians(rng.normal(0, 3))
    x, y = rotated(u - rng.normal(0, 0.07), v - rng.normal(0, 0.07), angle)
    return Grid(x * rng.normal(1, 0.05), y * rng.normal(1, 0.05))


@dataclass(frozen=True)
class Heart:
    """A tilted ellipse; `ratio` is its width over the width of the thorax."""

    x: float
    y: float
    half_width: float
    half_height: float
    tilt: float

    @classmethod
    def of_ratio(cls, rng: np.random.Generator, ratio: float, thorax: float) -> Heart:
        """A heart of that cardiothoracic ratio in a thorax of half width `thorax`."""
        half_width = ratio * thorax
        # An enlarged heart grows to the patient's left, the right of the image.
        return cls(
            x=0.02 + 0.35 * half_width + rng.normal(0, 0.02),
            y=0.30 + rng.normal(0, 0.03),
            half_width=half_width,
            half_height=0.20 + 0.3 * half_width + rng.normal(0, 0.02),
            tilt=math.radians(rng.normal(20, 5)),
        )

    def inside(self, grid: Grid) -> np.ndarray:
        """1 at the centre, 0 on the border, negative outside."""
        along, across = rotated(grid.x - self.x, grid.y - self.y, self.tilt)
        return 1 - np.square(along / self.half_width) - np.square(across / self.half_height)

    def border(self, angles: np.ndarray) -> np.ndarray:
        """(k, 2) body coordinates of the border at `angles` (k,), 0 pointing to the image right."""
        along, across = self.half_width * np.cos(angles), self.half_height * np.sin(angles)
        x, y = rotated(along, across, -self.tilt)
        return np.stack([self.x + x, self.y + y], axis=1)


def lungs(rng: np.random.Generator, grid: Grid, thorax: float) -> np.ndarray:
    """(height, width) in [0, 1]: two lungs, cut off below by the domes of the diaphragm."""
    scale = thorax / (LUNG_X + LUNG_WIDTH)
    floor = 0.48 + rng.normal(0, 0.04)
    field = np.zeros_like(grid.x)
    for side in (-1, 1):
        dx = np.abs(grid.x - side * LUNG_X * scale) / (LUNG_WIDTH * scale)
        dy = np.abs(grid.y - LUNG_Y) / (LUNG_HEIGHT + rng.normal(0, 0.02))
        # The right dome stands higher than the left.
        dome = floor + 0.04 * side + 0.25 * dx * dx
        field += expit((1 - dx * dx - dy * dy * dy) / 0.06) * expit((dome - grid.y) / 0.02)
    return field


def bones(rng: np.random.Generator, grid: Grid, thorax: float) -> np.ndarray:
    """Brightness added by ribs, spine and collar bones."""
    out = np.abs(grid.x)
    bend = out * np.sqrt(out)
    spacing = 0.165 + rng.normal(0, 0.008)
    start = rng.uniform(0, 1)
    slopes = ((0.30, 0.055), (-0.45, 0.025))
    ribs = np.zeros_like(grid.x)
    for slope, strength in slopes:
        phase = (grid.y - slope * bend) / spacing + start
        distance = np.abs(phase - np.rint(phase)) * spacing
        ribs += strength * np.exp(-np.square(distance / 0.028))
    cage = expit((thorax + 0.06 - out) / 0.02) * expit((0.75 - grid.y) / 0.05)
    vertebrae = 1 + 0.25 * np.cos(2 * np.pi * (grid.y / 0.14 + start))
    spine = 0.06 * np.exp(-np.square(np.square(grid.x / 0.08))) * vertebrae
    collar = -0.66 - 0.12 * out + rng.normal(0, 0.02)
    collars = 0.09 * np.exp(-np.square((grid.y - collar) / 0.03)) * expit((out - 0.08) / 0.02)
    return ribs * cage * expit((out - 0.06) / 0.02) + spine + collars


def vessels(rng: np.random.Generator, grid: Grid) -> np.ndarray:
    """Brightness of the lung vessels: a fan of thin tapering rays that leaves each hilum."""
    spacing = 0.42
    right = grid.x < 0
    dx = np.abs(grid.x) - np.where(right, *rng.uniform(0.08, 0.14, 2).astype(np.float32))
    dy = grid.y - np.where(right, *rng.uniform(-0.1, 0.0, 2).astype(np.float32))
    far = np.sqrt(dx * dx + dy * dy)
    turn = np.where(right, *rng.uniform(0, 6, 2).astype(np.float32))
    phase = np.arctan2(dy, dx) / spacing + turn + rng.normal(0, 0.8) * far
    ray = np.rint(phase)
    across = (phase - ray) * (spacing * far)
    length = 0.40 + 0.15 * np.sin(2.3 * (ray + turn))
    # Rays merge at their origin, where the hilum's shadow stands instead.
    fade = np.clip(1 - far / length, 0, 1) * np.clip(far / 0.12, 0, 1) * (dx > 0)
    hilum = np.exp((np.square(dx / 0.07) + np.square(dy / 0.11)) / -2)
    return 0.08 * fade * np.exp(-np.square(across / 0.016)) + 0.05 * hilum


def texture(rng: np.random.Generator, size: tuple[int, int], grain: float) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1; `grain` is its length as a fraction of the image."""
    noise = rng.standard_normal(size, dtype=np.float32)
    smooth = gaussian_filter(noise, (grain * size[0], grain * size[1]), mode="wrap", truncate=3)
    return smooth / max(float(smooth.std()), 1e-6)


def soft_tissue(grid: Grid, thorax: float) -> np.ndarray:
    """(height, width) in [0, 1]: trunk, shoulders and neck against air."""
    out = np.abs(grid.x)
    trunk = expit((thorax + 0.20 - out + 0.10 * grid.y) / 0.02)
    # Shoulders slope from the neck, so the upper corners of the film are air.
    return trunk * expit((grid.y + 1.15 - 0.5 * np.maximum(out - 0.25, 0)) / 0.02)

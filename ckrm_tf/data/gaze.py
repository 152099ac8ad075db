"""Gaze maps: where a reader looked, as a smooth map over the training image."""

from __future__ import annotations

import numpy as np

from ckrm_tf.data.frame import Frame
from ckrm_tf.errors import CKRMError

# GG-CAM (arXiv 2202.07107) blurs with OpenCV at kernel size 501, which is this sigma, in pixels of
# the full-size film: 0.3 * ((501 - 1) / 2 - 1) + 0.8.
SIGMA = 75.5


def gaze_map(points: np.ndarray, frame: Frame, sigma: float = SIGMA) -> np.ndarray:
    """One film's gaze map, (h, w) float32 with its maximum at 1.

    The count of gaze points per pixel, blurred by a Gaussian, at the pixels of the training image.
    A Gaussian is separable, so the blur of n points is the product of an (h, n) and an (n, w)
    matrix, exact at any size: no full-size image is made. Each point counts once, as in GG-CAM.
    Zero where the training image is padding, and everywhere if no point lies inside the film.

    Args:
        points: (n, 2), x (column) and y (row) in pixels of the full-size film. Points outside
            0 <= x < W, 0 <= y < H, and NaN, are dropped.
        frame: how the film became the training image.
        sigma: of the Gaussian, in pixels of the full-size film.

    Raises:
        CKRMError: when `sigma` is not positive.
    """
    if not 0 < sigma < float("inf"):
        raise CKRMError("sigma of the gaze maps", expected="a positive number", received=sigma)
    rows, cols = frame.grid()
    height, width = frame.picture
    inside = points[inside_film(points, frame.picture)]
    if not len(inside):
        return np.zeros(frame.target, np.float32)
    # Several samples in one pixel are one column of the product, with a weight.
    places, counts = np.unique(np.floor(inside), axis=0, return_counts=True)
    across = _gaussian(cols, places[:, 0], sigma, width)
    down = _gaussian(rows, places[:, 1], sigma, height) * counts
    blurred = down @ across.T
    # Far narrower than a pixel of the training image, a Gaussian can miss them all.
    return (blurred / max(blurred.max(), np.finfo(np.float64).tiny)).astype(np.float32)


def inside_film(points: np.ndarray, picture: tuple[int, int]) -> np.ndarray:
    """(n,) bool: which points (x, y) lie on a pixel of a film of `picture` (height, width).

    Looks beside the film carry negative coordinates. A film of odd side was shown with one more
    row or column of zeros, so that x = W or y = H occur too: they are outside.
    """
    x, y = points[:, 0], points[:, 1]
    return (x >= 0) & (x < picture[1]) & (y >= 0) & (y < picture[0])


def _gaussian(grid: np.ndarray, centres: np.ndarray, sigma: float, size: int) -> np.ndarray:
    """(len(grid), n); zero at grid coordinates outside the film's `size`."""
    values = np.exp(-0.5 * ((grid[:, None] - centres[None, :]) / sigma) ** 2)
    values[(grid < -0.5) | (grid > size - 0.5)] = 0
    return values

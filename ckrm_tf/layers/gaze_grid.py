"""Gaze maps at the resolution of class activation maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ckrm_tf.data.resize import as_size, resize_images
from ckrm_tf.errors import CKRMError


def gaze_to_grid(gaze: np.ndarray, size: int | Sequence[int]) -> np.ndarray:
    """Gaze maps averaged down to the grid of the class activation maps, each with maximum 1.

    Args:
        gaze: (n, H, W), or one map (H, W); finite, none negative. A map that is zero everywhere,
            of an image nobody looked at, stays zero.
        size: (h, w) of the grid, 48 x 40 for the paper's 1536 x 1280 images.

    Returns:
        (n, h, w), or (h, w), float32 in [0, 1].

    Raises:
        CKRMError: for another shape, a value that is negative or not finite, or an empty size.
    """
    maps = np.asarray(gaze, dtype=np.float32)
    if maps.ndim not in (2, 3) or 0 in maps.shape[-2:]:
        raise CKRMError("gaze maps", expected="(n, height, width)", received=maps.shape)
    if not np.isfinite(maps).all() or (maps < 0).any():
        raise CKRMError("gaze maps", expected="finite values of at least 0", received="others")
    grid = as_size(size)
    # Averaging can leave less of a tiny map than float32 resolves; start from a maximum of 1.
    stack = _peak_one(maps if maps.ndim == 3 else maps[None])
    resized = _peak_one(resize_images(stack[..., None], grid)[..., 0])
    return resized if maps.ndim == 3 else resized[0]


def _peak_one(maps: np.ndarray) -> np.ndarray:
    peak = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, peak, out=np.zeros_like(maps), where=peak > 0)

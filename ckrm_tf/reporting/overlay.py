"""A class activation or gaze map drawn over its image."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from PIL import Image

from ckrm_tf.errors import CKRMError, unknown_name


def _unit(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high == low:
        return np.zeros_like(values)
    return (values - low) / (high - low)


def _check(name: str, values: np.ndarray, shapes: str, good: bool) -> None:
    if not good or 0 in values.shape:
        raise CKRMError(name, expected=shapes, received=f"shape {values.shape}")
    if not np.isfinite(values).all():
        raise CKRMError(name, expected="finite values", received="NaN or infinity")


def overlay(
    image: np.ndarray,
    heat: np.ndarray,
    *,
    strength: float = 0.5,
    colormap: str = "turbo",
) -> np.ndarray:
    """The image in grey or colour with the map over it, strongest where the map is.

    Args:
        image: (H, W), (H, W, 1) or (H, W, 3); uint8 is shown as it is, anything else is stretched
            from its minimum to its maximum.
        heat: (h, w), any range and size; stretched from its minimum to its maximum and
            interpolated to the image. A constant map shows nothing.
        strength: share of the map's colour at its maximum, in [0, 1].
        colormap: the name of a matplotlib colormap.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        CKRMError: for other shapes, values that are not finite, a strength outside [0, 1], or a
            colormap matplotlib does not know.
    """
    picture, heat = np.asarray(image), np.asarray(heat, dtype=np.float32)
    shaped = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (1, 3))
    _check("image", picture, "(H, W), (H, W, 1) or (H, W, 3)", shaped)
    _check("map", heat, "(h, w)", heat.ndim == 2)
    if not 0 <= strength <= 1:
        raise CKRMError("strength", expected="a number in [0, 1]", received=strength)
    if colormap not in mpl.colormaps:
        raise unknown_name("colormap", colormap, list(mpl.colormaps))
    plain = picture / 255 if picture.dtype == np.uint8 else _unit(picture.astype(np.float64))
    rgb = np.broadcast_to(plain if plain.ndim == 3 else plain[..., None], (*plain.shape[:2], 3))
    size = (picture.shape[1], picture.shape[0])
    weight = np.asarray(Image.fromarray(_unit(heat)).resize(size, Image.Resampling.BILINEAR))
    colour = mpl.colormaps[colormap](weight)[..., :3]
    share = strength * weight[..., None]
    return np.round(255 * ((1 - share) * rgb + share * colour)).astype(np.uint8)

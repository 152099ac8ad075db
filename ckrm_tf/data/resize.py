"""Images, gaze maps and regions brought to one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.data.limits import check_dataset_bytes
from ckrm_tf.errors import CKRMError

# The triangle filter, which Pillow widens by the reduction factor: it averages over the area that
# a pixel replaces (no aliasing), interpolates upwards (BOX would repeat pixels), and has no
# negative lobes (LANCZOS would overshoot the pixel range and make gaze negative).
FILTER = Image.Resampling.BILINEAR

Size = int | Sequence[int]


def as_size(image_size: Size) -> tuple[int, int]:
    """(height, width) of an `image_size`: one number makes a square.

    Raises:
        CKRMError: when it is neither a whole number of at least 1 nor two of them.
    """
    sides = [image_size] if isinstance(image_size, int) else image_size
    if not isinstance(sides, Sequence) or isinstance(sides, str) or len(sides) not in (1, 2):
        sides = []
    if not sides or any(isinstance(s, bool) or not isinstance(s, int) or s < 1 for s in sides):
        raise CKRMError(
            "image_size",
            expected="a whole number of pixels, or (height, width)",
            received=repr(image_size),
        )
    return sides[0], sides[-1]


def resize_dataset(data: Dataset, image_size: Size) -> Dataset:
    """`data` with every image, gaze map and region at `image_size`; unchanged if they are already.

    Aspect is not kept: the anatomy of a chest film fills its frame, and padding would cost pixels.
    """
    size = as_size(image_size)
    if data.input_shape[:2] == size:
        return data
    pixels = sum(len(split) for split in data.splits().values()) * size[0] * size[1]
    # Images, and a gaze map of four bytes a pixel.
    bytes_each = data.train.images.itemsize * data.input_shape[2] + 4
    check_dataset_bytes(data.name, pixels * bytes_each)
    train, val, test = (_resize_split(split, size) for split in data.splits().values())
    return replace(data, train=train, val=val, test=test)


def _resize_split(split: Split, size: tuple[int, int]) -> Split:
    return replace(
        split,
        images=resize_images(split.images, size),
        gaze=None if split.gaze is None else resize_gaze(split.gaze, size),
        region=None if split.region is None else resize_region(split.region, size),
    )


def resize_images(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, H, W, C) uint8 or float32 -> (n, *size, C) of the same dtype."""
    resized = np.empty((len(images), *size, images.shape[3]), images.dtype)
    for i, image in enumerate(images):
        # A plane at a time: Pillow has no three-channel floats.
        for channel in range(images.shape[3]):
            resized[i, :, :, channel] = _resize_plane(image[:, :, channel], size)
    return resized


def resize_gaze(gaze: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, H, W) float32 -> (n, *size) float32; each map keeps its peak (averaging lowers it)."""
    resized = resize_images(gaze[..., None], size)[..., 0]
    before, after = (maps.max(axis=(1, 2), keepdims=True) for maps in (gaze, resized))
    factor = np.divide(before, after, out=np.ones_like(after), where=after > 0)
    return np.clip(resized * factor, 0, 1)


def resize_region(region: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, H, W) bool -> (n, *size) bool: the pixels of which at least half lie in the region."""
    return resize_images(region[..., None].astype(np.float32), size)[..., 0] >= 0.5


def _resize_plane(plane: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(plane))
    return np.asarray(image.resize((size[1], size[0]), FILTER))

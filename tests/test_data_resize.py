from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.data.phantom import phantom
from ckrm_tf.data.resize import as_size, resize_dataset, resize_gaze, resize_images, resize_region
from ckrm_tf.errors import CKRMError

RNG = np.random.default_rng(0)


def triangle_resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The triangle filter by its definition, one output pixel at a time, in float64."""

    def weights(before: int, after: int) -> np.ndarray:
        ratio = before / after
        support = max(ratio, 1.0)
        rows = np.zeros((after, before))
        for i in range(after):
            centre = (i + 0.5) * ratio
            for j in range(before):
                rows[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / support)
        return rows / rows.sum(axis=1, keepdims=True)

    return (
        weights(image.shape[0], size[0])
        @ image.astype(np.float64)
        @ weights(image.shape[1], size[1]).T
    )


@pytest.mark.parametrize("size", [(8, 8), (5, 11), (24, 20), (32, 7)])
def test_images_against_the_definition(size: tuple[int, int]) -> None:
    images = RNG.random((2, 16, 16, 3), dtype=np.float32)
    resized = resize_images(images, size)
    assert resized.dtype == np.float32
    for image, result in zip(images, resized, strict=True):
        for channel in range(3):
            expected = triangle_resize(image[..., channel], size)
            np.testing.assert_allclose(result[..., channel], expected, atol=1e-5)
    eight_bit = (255 * images).astype(np.uint8)
    resized = resize_images(eight_bit, size)
    assert resized.dtype == np.uint8
    expected = triangle_resize(eight_bit[0, ..., 1], size)
    # Pillow rounds to 8 bits after each of its two passes.
    np.testing.assert_allclose(resized[0, ..., 1], expected, atol=1.01)


def test_fine_stripes_average_instead_of_aliasing() -> None:
    stripes = np.zeros((1, 64, 64, 1), np.float32)
    stripes[:, ::2] = 1
    np.testing.assert_allclose(resize_images(stripes, (16, 16))[0, 2:-2], 0.5, atol=0.01)


def test_gaze_keeps_its_peak_and_range() -> None:
    gaze = phantom(9).train.gaze
    assert gaze is not None
    faint = np.concatenate([gaze, 0.3 * gaze, np.zeros_like(gaze[:1])])
    for size in ((16, 16), (100, 80)):
        resized = resize_gaze(faint, size)
        np.testing.assert_allclose(resized.max(axis=(1, 2)), faint.max(axis=(1, 2)), rtol=1e-6)
        assert resized.min() >= 0
        assert resized.max() <= 1
        assert resized.dtype == np.float32


def test_region_keeps_its_area() -> None:
    region = np.zeros((1, 64, 64), bool)
    region[0, 16:48, 8:32] = True
    resized = resize_region(region, (32, 32))
    assert resized.dtype == np.bool_
    expected = np.zeros((32, 32), bool)
    expected[8:24, 4:16] = True
    np.testing.assert_array_equal(resized[0], expected)


def test_dataset_resizes_every_map() -> None:
    data = resize_dataset(phantom(9), (32, 48))
    assert data.input_shape == (32, 48, 1)
    for split in data.splits().values():
        assert split.gaze is not None
        assert split.region is not None
        assert split.images.shape[1:3] == split.gaze.shape[1:] == split.region.shape[1:] == (32, 48)
    plain = replace(
        phantom(9), **{k: Split(s.images, s.labels) for k, s in phantom(9).splits().items()}
    )
    small = resize_dataset(plain, 16)
    assert small.train.gaze is None
    assert small.train.region is None


def test_the_same_size_changes_nothing() -> None:
    data: Dataset = phantom(9)
    assert resize_dataset(data, 64) is data


def test_as_size() -> None:
    assert as_size(5) == (5, 5)
    assert as_size([5, 7]) == (5, 7)


@pytest.mark.parametrize("bad", [0, -3, True, 2.5, "64", (1, 2, 3), (0, 4), (4, 2.0), [], None])
def test_bad_sizes(bad: object) -> None:
    with pytest.raises(CKRMError, match="image_size: expected a whole number of pixels"):
        as_size(bad)  # type: ignore[arg-type]

"""Gaze maps on the grid of class activation maps, and maps drawn over images."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckrm_tf import CKRMError
from ckrm_tf.layers.gaze_grid import gaze_to_grid
from ckrm_tf.reporting.overlay import overlay

RNG = np.random.default_rng(11)


@settings(max_examples=30, deadline=None)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    scale=st.sampled_from([1e-30, 1.0, 1e30]),
    seed=st.integers(0, 99),
)
def test_gaze_grids_peak_at_one(size: tuple[int, int], scale: float, seed: int) -> None:
    gaze = np.random.default_rng(seed).uniform(size=(3, 13, 9)) * scale
    gaze[1] = 0
    grid = gaze_to_grid(gaze, size)
    assert grid.shape == (3, *size)
    assert grid.dtype == np.float32
    assert grid.min() >= 0
    np.testing.assert_array_equal(grid.max(axis=(1, 2)), [1, 0, 1])
    np.testing.assert_array_equal(gaze_to_grid(gaze[0], size), grid[0])


def test_gaze_stays_where_it_was() -> None:
    gaze = np.zeros((64, 96))
    gaze[40:48, 8:16] = 0.2
    grid = gaze_to_grid(gaze, (8, 12))
    assert np.unravel_index(grid.argmax(), grid.shape) == (5, 1)
    np.testing.assert_array_equal(gaze_to_grid(np.eye(4), 4), np.eye(4))


@pytest.mark.parametrize(
    ("gaze", "size"),
    [
        (np.zeros(5), 2),
        (np.zeros((1, 4, 4, 1)), 2),
        (np.zeros((0, 4)), 2),
        (np.full((4, 4), np.nan), 2),
        (-np.ones((4, 4)), 2),
        (np.ones((4, 4)), 0),
        (np.ones((4, 4)), (2, 2, 2)),
    ],
)
def test_bad_gaze(gaze: np.ndarray, size: Any) -> None:
    with pytest.raises(CKRMError, match=r"gaze maps|image_size"):
        gaze_to_grid(gaze, size)


def test_overlay_pixel_by_pixel() -> None:
    image = RNG.integers(0, 256, (5, 6), dtype=np.uint8)
    heat = RNG.normal(size=(5, 6)).astype("float32")
    drawn = overlay(image, heat, strength=0.4)
    low, high = heat.min(), heat.max()
    for i, j in np.ndindex(5, 6):
        weight = (heat[i, j] - low) / (high - low)
        colour = np.array(mpl.colormaps["turbo"](weight)[:3])
        expected = 255 * ((1 - 0.4 * weight) * image[i, j] / 255 + 0.4 * weight * colour)
        np.testing.assert_allclose(drawn[i, j], expected, atol=0.51)


def test_overlay_shapes_and_ranges() -> None:
    image = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(overlay(image, np.full((4, 5), 7.0)), image)
    np.testing.assert_array_equal(overlay(image, np.eye(4), strength=0), image)
    for shape in ((20, 30), (20, 30, 1)):
        drawn = overlay(RNG.normal(size=shape), np.eye(4), colormap="viridis")
        assert (drawn.shape, drawn.dtype) == ((20, 30, 3), np.uint8)
    assert not overlay(np.zeros((4, 4)), np.zeros((2, 2))).any()
    grey = np.zeros((8, 8), np.uint8)
    heat = np.zeros((2, 2))
    heat[1, 0] = 1
    lit = overlay(grey, heat).sum(axis=-1)
    assert lit[:4, 4:].sum() < lit[4:, :4].sum()


def test_bad_overlay() -> None:
    image, heat = np.zeros((4, 4)), np.eye(2)
    with pytest.raises(CKRMError, match="image"):
        overlay(np.zeros((4, 4, 2)), heat)
    with pytest.raises(CKRMError, match="map"):
        overlay(image, np.zeros((2, 2, 3)))
    with pytest.raises(CKRMError, match="finite"):
        overlay(image, np.full((2, 2), np.inf))
    with pytest.raises(CKRMError, match="strength"):
        overlay(image, heat, strength=1.5)
    with pytest.raises(CKRMError, match="Did you mean 'viridis'"):
        overlay(image, heat, colormap="viridid")

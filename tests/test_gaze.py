"""Gaze maps against SciPy's blur of the full-size count image."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ckrm_tf.data.frame import Frame
from ckrm_tf.data.gaze import gaze_map, inside_film
from ckrm_tf.errors import CKRMError


def counted(points, shape):
    """Gaze points per pixel, one point at a time."""
    count = np.zeros(shape)
    for x, y in points:
        if 0 <= x < shape[1] and 0 <= y < shape[0]:
            count[int(y), int(x)] += 1
    return count


def blurred(points, shape, sigma):
    # cval=0 beyond the film; 12 sigma, so that nothing is cut off.
    full = gaussian_filter(counted(points, shape), sigma, mode="constant", truncate=12)
    return full / full.max()


@pytest.fixture
def points():
    rng = np.random.default_rng(3)
    inside = rng.integers(0, (90, 130), (40, 2)).astype(float)
    return np.concatenate([inside, inside[:7], [[-5, 3], [3, -5], [90, 4], [4, 130]]])


@pytest.mark.parametrize("sigma", [3.0, 10.0])
def test_full_size_map_is_the_blurred_count_image(points, sigma):
    shape = (130, 90)
    result = gaze_map(points, Frame(shape, shape), sigma)
    assert result.dtype == np.float32
    assert result.max() == 1
    np.testing.assert_allclose(result, blurred(points, shape, sigma), atol=2e-6)


def test_reduced_map_is_the_full_one_at_the_middle_of_each_block(points):
    # Factor 5: the middle of a block of 5 x 5 pixels is a pixel.
    full = blurred(points, (130, 90), 10)[2::5, 2::5]
    np.testing.assert_allclose(
        gaze_map(points, Frame((130, 90), (26, 18)), 10), full / full.max(), atol=2e-6
    )


def test_paper_map_is_padded_and_sampled_like_the_image():
    shape, sigma = (600, 500), 75.5
    points = np.array([[250, 300], [260, 310], [0, 0], [499, 599]], float)
    padded = np.zeros((3072, 2560))
    padded[1236:1836, 1030:1530] = blurred(points, shape, sigma)
    expected = padded[::64, ::64] / padded[::64, ::64].max()
    assert expected.shape == (48, 40)
    result = gaze_map(points, Frame(shape, (48, 40), "paper"), sigma)
    np.testing.assert_allclose(result, expected, atol=2e-6)
    assert (result == 0).sum() > 48 * 40 * 0.9


def test_the_peak_is_where_the_reader_looked():
    frame = Frame((3056, 2544), (48, 40))
    result = gaze_map(np.array([[2000.0, 700.0]] * 3 + [[400.0, 2500.0]]), frame)
    peak = np.unravel_index(result.argmax(), result.shape)
    assert peak == (int(700.5 * 48 / 3056), int(2000.5 * 40 / 2544))


def test_every_point_counts_once():
    frame, x = Frame((100, 100), (100, 100)), np.array([[20.0, 50.0], [80.0, 50.0]])
    once, twice = gaze_map(x, frame, 3), gaze_map(np.concatenate([x, x[:1]]), frame, 3)
    assert once[50, 20] == once[50, 80] == 1
    assert twice[50, 20] == 1
    assert twice[50, 80] == pytest.approx(0.5)


@pytest.mark.parametrize(
    "points",
    [np.empty((0, 2)), np.array([[-1.0, 5.0], [100.0, 5.0], [5.0, 80.0], [np.nan, np.nan]])],
)
def test_no_gaze_inside_the_film_is_a_map_of_zeros(points):
    result = gaze_map(points, Frame((80, 100), (8, 10)), 5)
    np.testing.assert_array_equal(result, np.zeros((8, 10), np.float32))


def test_a_blur_narrower_than_a_pixel_gives_no_nan():
    result = gaze_map(np.array([[3.0, 3.0]]), Frame((1000, 1000), (4, 4)), 0.01)
    assert np.isfinite(result).all()


def test_borders():
    points = np.array([[0, 0], [99, 79], [100, 0], [0, 80], [-0.5, 0], [np.nan, 1]])
    np.testing.assert_array_equal(
        inside_film(points, (80, 100)), [True, True, False, False, False, False]
    )


@pytest.mark.parametrize("sigma", [0, -1, float("nan")])
def test_sigma_must_be_positive(sigma):
    with pytest.raises(CKRMError, match="positive"):
        gaze_map(np.array([[1.0, 1.0]]), Frame((8, 8), (4, 4)), sigma)


def test_paper_frame_pads_and_takes_every_second_pixel():
    rng = np.random.default_rng(0)
    film = rng.integers(1, 256, (3056, 2544)).astype(np.uint8)
    padded = np.pad(film, ((8, 8), (8, 8)))
    frame = Frame(film.shape, (1536, 1280), "paper")
    np.testing.assert_array_equal(frame.apply(film), padded[::2, ::2])
    rows, cols = frame.grid()
    np.testing.assert_array_equal(rows, np.arange(1536) * 2 - 8)
    np.testing.assert_array_equal(cols, np.arange(1280) * 2 - 8)


def test_paper_frame_shrinks_a_landscape_film_to_fit():
    film = np.full((2544, 3056), 200, np.uint8)
    result = Frame(film.shape, (1536, 1280), "paper").apply(film)
    rows, cols = np.nonzero(result)
    # 2560 wide and 2131 high on the canvas.
    assert (cols.min(), cols.max()) == (0, 1279)
    assert (rows.max() - rows.min() + 1) * 2 == pytest.approx(2131, abs=2)

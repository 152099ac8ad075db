"""The pixel range: scaled rightly where the data leave no doubt, else refused with the range."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ckrm_tf.data import load_dataset
from ckrm_tf.data.pixels import find_scale, pixel_range, pixel_sample
from ckrm_tf.errors import CKRMError

COUNTS = {"train": 40, "val": 12, "test": 12}
Pixels = Callable[[np.random.Generator, int], np.ndarray]


def films(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 24, 24) in [0, 1], as films are: a bright middle, a darker rim."""
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    shape = np.exp(-(x * x + y * y))
    return np.clip(
        shape * rng.uniform(0.8, 1, (count, 1, 1)) + rng.normal(0, 0.03, (count, 24, 24)), 0, 1
    )


def save(folder: Path, made: Pixels | dict[str, Pixels], name: str = "films") -> Path:
    rng = np.random.default_rng(3)
    arrays = {}
    for split, count in COUNTS.items():
        own = made[split] if isinstance(made, dict) else made
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = own(rng, count), np.arange(count) % 2
    np.savez(folder / f"{name}.npz", **arrays)
    return folder / f"{name}.npz"


def of(top: float, dtype: str, **stray: float) -> Pixels:
    """Films from 0 to `top`; `stray` puts one value into one image."""

    def make(rng: np.random.Generator, count: int) -> np.ndarray:
        images = films(rng, count) * top
        images = (np.rint(images) if dtype[-2] in "ui" else images).astype(dtype)
        for value in stray.values():
            images[0, 0, 0] = value
        return images

    return make


def standardised(rng: np.random.Generator, count: int) -> np.ndarray:
    images = films(rng, count)
    return ((images - images.mean()) / images.std()).astype("f4")


def overshooting(rng: np.random.Generator, count: int) -> np.ndarray:
    """As resizing by splines leaves it: a few pixels somewhat outside, on both sides."""
    images = films(rng, count)
    images[0, 0, :3] = -0.03, 1.06, 1.2
    return images.astype("f4")


CLEAR: dict[str, tuple[Pixels, float]] = {
    "8 bits": (of(255, "<u1"), 255),
    "dark 8 bits": (of(80, "<u1"), 255),
    "8 bits as int64": (of(255, "<i8"), 255),
    "8 bits as fractions": (of(254.6, "<f4"), 255),
    "fractions": (of(1, "<f4"), 1),
    "half precision": (of(1, "<f2"), 1),
    "fractions, one pixel of 1.0001": (of(1, "<f4", peak=1.0001), 1),
    "fractions that overshoot": (overshooting, 1),
    "zeros and ones": (lambda rng, n: (films(rng, n) > 0.6).astype("u1"), 1),
    "10 bits in 16": (of(1000, "<u2"), 1023),
    "12 bits in 16": (of(4095, "<u2"), 4095),
    "12 bits in 16, signed, swapped": (of(4000, ">i2"), 4095),
    "14 bits in 16": (of(12000, "<u2"), 16383),
    "16 bits": (of(65535, "<u2"), 65535),
}


@pytest.mark.parametrize("name", CLEAR)
def test_a_clear_range_is_scaled_and_told(tmp_path: Path, name: str) -> None:
    made, scale = CLEAR[name]
    data = load_dataset(save(tmp_path, made))
    assert data.scale == scale
    (note,) = data.notes
    assert note.startswith("pixels ")
    assert note.endswith(f"divided by {scale}")
    # What reaches the network uses its range.
    assert 0.2 < np.quantile(data.train.images / data.scale, 0.99) <= 1.01


def mostly_ones(rng: np.random.Generator, count: int) -> np.ndarray:
    images = (films(rng, count) > 0.5).astype("u1")
    images[:, 0, 7] = 255
    return images


DOUBTFUL: dict[str, tuple[Pixels | dict[str, Pixels], str]] = {
    "standardised": (standardised, "nearly all|-"),
    "minus one to one": (lambda rng, n: (films(rng, n) * 2 - 1).astype("f4"), "-0.98"),
    "Hounsfield units": (
        lambda rng, n: (films(rng, n) * 3000 - 1000).astype("<i2"),
        "-9.. to 2000",
    ),
    "one stray pixel of 16 bits": (of(4095, "<u2", peak=65535), "to 65535 .nearly all 5.. to 3"),
    "fractions of 12 bits": (of(4094.7, "<f4"), "to 4094.7"),
    "ones, one stray 255": (mostly_ones, "0 to 255"),
    "few levels": (of(16, "<u1"), "0 to 16"),
    "divided by 255 twice": (of(1 / 255, "<f4"), "to 0.0039"),
    "black": (lambda rng, n: np.zeros((n, 24, 24), "u1"), "0 to 0"),
    "32 bits": (of(2**31 - 1, "<u4"), r"to 2\.\d+e\+09"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubt_is_refused_with_the_range_and_the_flag(tmp_path: Path, name: str) -> None:
    made, seen = DOUBTFUL[name]
    path = save(tmp_path, made)
    with pytest.raises(CKRMError, match=rf"films\.npz: pixels .*{seen}.*--scale VALUE"):
        load_dataset(path)
    settled = load_dataset(path, scale=4095)
    assert settled.scale == 4095
    assert settled.notes[0].endswith("divided by 4095, as given")


APART: dict[str, dict[str, Pixels]] = {
    "8 bits and fractions": {"train": of(255, "<u1"), "val": of(1, "<f4"), "test": of(255, "<u1")},
    "16 bits and 8": {"train": of(65535, "<u2"), "val": of(65535, "<u2"), "test": of(255, "<u1")},
    "16 bits and fractions": {"train": of(1, "<f4"), "val": of(1, "<f4"), "test": of(60000, "<u2")},
}


@pytest.mark.parametrize("scale", [None, 255])
@pytest.mark.parametrize("name", APART)
def test_splits_encoded_differently(tmp_path: Path, name: str, scale: float | None) -> None:
    with pytest.raises(CKRMError, match=r"encoded differently.*in train; .* in val; .* in test"):
        load_dataset(save(tmp_path, APART[name]), scale=scale)


def test_splits_a_little_apart_need_one_scale(tmp_path: Path) -> None:
    close = {"train": of(4095, "<u2"), "val": of(2500, "<u2"), "test": of(3900, "<u2")}
    assert load_dataset(save(tmp_path, close)).scale == 4095
    # 12 bits and 10: one factor would be wrong by four, and nothing says which is right.
    apart = {"train": of(4095, "<u2"), "val": of(900, "<u2"), "test": of(4095, "<u2")}
    with pytest.raises(CKRMError, match=r"in train; .*in val.*--scale"):
        load_dataset(save(tmp_path, apart))


def test_images_of_one_split_encoded_differently(tmp_path: Path) -> None:
    def mixed(rng: np.random.Generator, count: int) -> np.ndarray:
        images = films(rng, count) * 255
        images[::4] /= 255
        return images.astype("f4")

    path = save(tmp_path, mixed)
    with pytest.raises(CKRMError, match=r"images seem encoded differently.*25% of the images"):
        load_dataset(path)
    assert load_dataset(path, scale=255).scale == 255


@pytest.mark.parametrize("top", [4095, 65535])
def test_images_of_8_bits_among_deeper_ones(tmp_path: Path, top: int) -> None:
    def mixed(rng: np.random.Generator, count: int, every: int) -> np.ndarray:
        images = films(rng, count) * top
        images[every - 1 :: every] *= 255 / top
        return np.rint(images).astype("u2")

    path = save(tmp_path, lambda rng, count: mixed(rng, count, 4))
    with pytest.raises(CKRMError, match=r"images seem encoded differently.*25% of the images"):
        load_dataset(path)
    assert load_dataset(path, scale=top).scale == top
    # A single dark one of forty is a dark film.
    assert load_dataset(save(tmp_path, lambda rng, count: mixed(rng, count, 40))).scale == top


@pytest.mark.parametrize("scale", [1e-320, 1e-7, 1e10, 1e300])
def test_a_scale_that_no_network_can_divide_by(tmp_path: Path, scale: float) -> None:
    path = save(tmp_path, of(255, "<u1"))
    with pytest.raises(CKRMError, match=r"^scale: expected from 1e-06 to 1e\+09, received"):
        load_dataset(path, scale=scale)
    assert load_dataset(path, scale=1e-6).scale == 1e-6


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), "255", True, [1]])
def test_a_scale_that_is_none(tmp_path: Path, scale: object) -> None:
    with pytest.raises(CKRMError, match=r"^scale: expected a (positive )?number"):
        load_dataset(save(tmp_path, of(255, "<u1")), scale=scale)


def test_a_range_is_exact_at_its_ends_and_robust_between() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(100, 4000, (50, 64, 64)).astype(np.uint16)
    images[7, 3, 5], images[8, 1, 1] = 65535, 0
    found = pixel_range(images)
    assert (found.low, found.high) == (0, 65535)
    assert found.most_low >= 100
    assert found.most_high < 4000
    assert found.whole
    assert found.stray
    assert not pixel_range(images / 7).whole
    assert not pixel_range(np.clip(images, 100, 4000)).stray


def test_a_sample_keeps_the_ends() -> None:
    image = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    image[50, 50] = 60_000
    sample = pixel_sample(image)
    assert len(sample) < 1200
    assert (sample.min(), sample.max(), sample.dtype) == (0, 60_000, np.uint16)


def test_a_note_names_each_split_where_they_differ() -> None:
    one = np.full((3, 4, 4, 1), 200, np.uint8)
    one[:, 0] = 0
    _, told = find_scale("x", {"train": one, "val": one // 2})
    assert told == "pixels 0 to 200, uint8: divided by 255"
    _, told = find_scale("x", {"train": one, "val": one // 4})
    assert told == "pixels 0 to 200, uint8 in train; 0 to 50, uint8 in val: divided by 255"

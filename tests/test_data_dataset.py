from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.errors import CKRMError

RNG = np.random.default_rng(0)


def good_split(n: int = 6) -> Split:
    return Split(
        RNG.random((n, 8, 9, 1), dtype=np.float32),
        np.arange(n, dtype=np.int64) % 3,
        gaze=RNG.random((n, 8, 9), dtype=np.float32),
        ids=np.array([f"image{i}" for i in range(n)]),
        region=RNG.random((n, 8, 9)) < 0.5,
    )


def good() -> Dataset:
    return Dataset("toy", ("a", "b", "c"), good_split(), good_split(), good_split(9), scale=1.0)


def test_a_good_dataset_comes_back_itself() -> None:
    data = good()
    assert check_dataset(data) is data
    assert data.input_shape == (8, 9, 1)
    assert data.classes == 3
    assert [len(split) for split in data.splits().values()] == [6, 6, 9]


def with_nan() -> np.ndarray:
    images = good_split().images.copy()
    images[1, 2, 3, 0] = np.nan
    images[4, 0, 0, 0] = np.inf
    return images


BAD = [
    ({"images": np.zeros((6, 8, 9), np.uint8)}, "shape .n, height, width, 1 or 3"),
    ({"images": np.zeros((6, 8, 9, 2), np.uint8)}, "shape .n, height, width, 1 or 3"),
    ({"images": np.zeros((0, 8, 9, 1), np.uint8)}, "images: expected at least one, received none"),
    ({"images": np.zeros((6, 8, 9, 3), np.uint8)}, "as in the train split"),
    ({"images": np.zeros((6, 8, 9, 1), np.int32)}, "uint8 or float32, received int32"),
    ({"images": with_nan()}, "NaN or infinity in 2 of 6 images"),
    ({"labels": np.zeros(5, np.int64)}, "expected 6 labels, received labels of shape"),
    ({"labels": np.zeros((6, 1), np.int64)}, "expected 6 labels, received labels of shape"),
    ({"labels": np.array([0.0, 1, 2, 0, 1, 2])}, "labels: expected whole numbers"),
    ({"labels": np.array([0, 1, 2, 3, 0, 1])}, "class indices 0 to 2, received 0 to 3"),
    ({"labels": np.array([0, 1, 2, -1, 0, 1])}, "class indices 0 to 2, received -1 to 2"),
    ({"labels": np.ones(6, np.int64)}, "at least two, or there is no AUC, received only 'b'"),
    ({"labels": np.array([0, 1, 0, 1, 0, 1])}, "at least one image each, received none of 'c'"),
    ({"gaze": np.zeros((6, 9, 8), np.float32)}, "gaze maps: expected shape"),
    ({"gaze": np.full((6, 8, 9), 1.5, np.float32)}, r"gaze maps: expected values in \[0, 1\]"),
    ({"gaze": np.full((6, 8, 9), np.nan, np.float32)}, r"expected values in \[0, 1\]"),
    ({"region": np.zeros((5, 8, 9), bool)}, "region maps: expected shape"),
    ({"region": np.zeros((6, 8, 9), np.uint8)}, "region: expected booleans"),
    ({"ids": np.array(["only one"])}, "one id an image"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
@pytest.mark.parametrize("split", ["val", "test"])
def test_each_fault_names_its_split(split: str, change: dict, message: str) -> None:
    data = good()
    # Six images in every split, so that only the fault differs.
    data = replace(data, **{split: replace(good_split(), **change)})
    with pytest.raises(CKRMError, match=f"toy, {split} split: .*{message}"):
        check_dataset(data)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf")])
def test_scale_must_be_positive(scale: float) -> None:
    with pytest.raises(CKRMError, match="scale: expected a positive number"):
        check_dataset(replace(good(), scale=scale))


@pytest.mark.parametrize("names", [("a", "b", "a"), ("a", "", "b")])
def test_each_class_has_a_name_of_its_own(names: tuple[str, ...]) -> None:
    with pytest.raises(CKRMError, match="class names: expected a name of its own"):
        check_dataset(replace(good(), class_names=names))
    assert check_dataset(replace(good(), class_names=("a", "A", "b"))).classes == 3


def test_train_split_with_no_pixels() -> None:
    data = good()
    empty = replace(good_split(), images=np.zeros((6, 0, 9, 1), np.uint8))
    with pytest.raises(CKRMError, match="train split: images: expected at least one pixel"):
        check_dataset(replace(data, train=empty))

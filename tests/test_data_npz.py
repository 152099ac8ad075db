from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ckrm_tf.data import load_dataset
from ckrm_tf.data.npz import load_npz
from ckrm_tf.errors import CKRMError

COUNTS = {"train": 9, "val": 3, "test": 6}


def arrays(shape: tuple[int, ...] = (12, 10), dtype: type = np.uint8, top: float = 255) -> dict:
    rng = np.random.default_rng(0)
    made = {}
    for split, n in COUNTS.items():
        made[f"{split}_images"] = (top * rng.random((n, *shape))).astype(dtype)
        made[f"{split}_labels"] = (np.arange(n) % 3).astype(np.uint8)[:, None]
    return made


def save(folder: Path, content: dict, name: str = "toy.npz") -> Path:
    np.savez(folder / name, **content)
    return folder / name


@pytest.mark.parametrize(("shape", "channels"), [((12, 10), 1), ((12, 10, 1), 1), ((12, 10, 3), 3)])
def test_grey_and_colour(tmp_path: Path, shape: tuple[int, ...], channels: int) -> None:
    content = arrays(shape)
    data = load_npz(save(tmp_path, content))
    assert (data.name, data.scale) == ("toy", 255)
    assert data.input_shape == (12, 10, channels)
    assert data.class_names == ("class 0", "class 1", "class 2")
    for name, split in data.splits().items():
        assert split.images.dtype == np.uint8
        np.testing.assert_array_equal(split.images.ravel(), content[f"{name}_images"].ravel())
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.labels, content[f"{name}_labels"][:, 0])


def test_flat_labels_and_class_names(tmp_path: Path) -> None:
    content = arrays()
    content["val_labels"] = content["val_labels"][:, 0]
    content["class_names"] = np.array(["normal", "CHF", "pneumonia"])
    data = load_npz(save(tmp_path, content))
    assert data.class_names == ("normal", "CHF", "pneumonia")
    np.testing.assert_array_equal(data.val.labels, [0, 1, 2])


@pytest.mark.parametrize(
    ("dtype", "top", "scale"),
    [(np.uint16, 65535, 65535), (np.float32, 1, 1), (np.float64, 255, 255), (np.int64, 255, 255)],
)
def test_scale_of_other_types(tmp_path: Path, dtype: type, top: float, scale: float) -> None:
    data = load_npz(save(tmp_path, arrays(dtype=dtype, top=top)))
    assert data.scale == scale
    assert data.train.images.dtype == np.float32
    assert 0.9 * scale < data.train.images.max() <= scale


def test_scale_is_asked_for_when_it_cannot_be_told(tmp_path: Path) -> None:
    path = save(tmp_path, arrays(dtype=np.float32, top=4095))
    with pytest.raises(CKRMError, match="or the option scale=VALUE"):
        load_npz(path)
    assert load_dataset(path, scale=4095).scale == 4095


def test_image_size(tmp_path: Path) -> None:
    path = save(tmp_path, arrays())
    assert load_dataset(str(path), image_size=8).input_shape == (8, 8, 1)
    assert load_dataset(path, image_size=(6, 5)).input_shape == (6, 5, 1)
    assert load_dataset(path).input_shape == (12, 10, 1)


def changed(**changes: object) -> dict:
    return {**arrays(), **changes}


NAN = np.where(np.arange(120).reshape(12, 10) == 7, np.nan, 0.5) * np.ones((3, 1, 1))
BAD = [
    ({k: v for k, v in arrays().items() if k != "val_labels"}, "toy.npz lacks val_labels"),
    ({"a": np.zeros(3)}, "lacks train_images, .*received a"),
    (changed(test_labels=np.zeros((6, 14), np.uint8)), "test_labels: .*multi-label"),
    (changed(test_labels=np.eye(3)[[0, 1, 2] * 2]), r"test_labels: .*argmax"),
    (changed(val_labels=np.array([0, 1, 2**63], np.uint64)), "val_labels: .*up to 92233"),
    (changed(class_names=np.array(["a", "b", "a"])), "class names: expected a name of its own"),
    (changed(class_names=np.array(["a", " ", "b"])), "class names: expected a name of its own"),
    (changed(train_labels=np.zeros(9)), "train_labels: expected whole numbers"),
    (changed(train_labels=np.zeros(8, np.uint8)), "expected 9 labels"),
    (changed(val_labels=np.zeros(3, np.uint8)), "val split: classes present"),
    (changed(val_labels=np.array([0, 1, 3])), "train split: every class"),
    (changed(class_names=np.array(["a", "b"])), "class indices 0 to 1, received 0 to 2"),
    (changed(class_names=np.array([1, 2, 3])), "class_names: expected a row of strings"),
    (changed(val_images=NAN), "NaN or infinity in 3 of 3 images"),
    (changed(val_images=np.zeros((3, 12, 11), np.uint8)), "as in the train split"),
    (changed(val_images=np.zeros((0, 12, 10), np.uint8)), "val split: images: expected at least"),
    (changed(train_images=np.zeros((9, 12), np.uint8)), "shape .n, height, width, 1 or 3"),
    (changed(train_images=np.full((9, 2, 2), "x")), "pixels: expected numbers"),
    (changed(train_images=np.array([{}] * 9)), "cannot read toy.npz.*no pickled objects"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_content(tmp_path: Path, content: dict, message: str) -> None:
    with pytest.raises(CKRMError, match=message):
        load_dataset(save(tmp_path, content), image_size=4)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CKRMError, match=r"data file not found: received .*no\.npz"):
        load_dataset(tmp_path / "no.npz")


def test_damaged_files(tmp_path: Path) -> None:
    whole = save(tmp_path, arrays()).read_bytes()
    middle = len(whole) // 3
    flipped = whole[:middle] + bytes(b ^ 255 for b in whole[middle : middle + 40])
    for damaged in (b"", b"not an archive", whole[:middle], flipped + whole[middle + 40 :]):
        path = tmp_path / "damaged.npz"
        path.write_bytes(damaged)
        with pytest.raises(CKRMError, match=r"cannot read damaged\.npz"):
            load_npz(path)


def test_a_single_array_under_the_name_npz(tmp_path: Path) -> None:
    with (tmp_path / "bare.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(CKRMError, match=r"bare\.npz lacks .*received none"):
        load_npz(tmp_path / "bare.npz")

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ckrm_tf.data import load_dataset
from ckrm_tf.data.folder import load_folder
from ckrm_tf.data.resize import resize_images
from ckrm_tf.errors import CKRMError

RNG = np.random.default_rng(0)
CLASSES = ("chf", "normal")


def write(path: Path, pixels: np.ndarray | None = None) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        pixels = RNG.integers(0, 256, (12, 10), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def unsplit(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    for name, count in zip(CLASSES, (10, 30), strict=True):
        for i in range(count):
            write(root / name / f"{i:02}.png")
    return root


@pytest.fixture
def split(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    for part, count in (("train", 4), ("val", 2), ("test", 3)):
        for name in CLASSES:
            for i in range(count):
                write(root / part / name / f"{i}.png")
    return root


def test_unsplit_folder_is_stratified_and_disjoint(unsplit: Path) -> None:
    data = load_folder(unsplit)
    assert (data.name, data.class_names, data.scale) == ("films", CLASSES, 255)
    assert data.input_shape == (12, 10, 1)
    for part, counts in (("train", [7, 21]), ("val", [1, 3]), ("test", [2, 6])):
        np.testing.assert_array_equal(np.bincount(data.splits()[part].labels), counts)
    ids = np.concatenate([s.ids for s in data.splits().values() if s.ids is not None])
    assert len(set(ids)) == 40
    for part in data.splits().values():
        assert part.ids is not None
        for image, label, name in zip(part.images, part.labels, part.ids, strict=True):
            np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(unsplit / name)))
            assert name.split("/")[0] == CLASSES[label]


def test_the_seed_fixes_the_split(unsplit: Path) -> None:
    first, again, other = (load_dataset(unsplit, seed=seed) for seed in (1, 1, 2))
    assert first.test.ids is not None
    np.testing.assert_array_equal(first.test.ids, again.test.ids)
    assert not np.array_equal(first.test.ids, other.test.ids)


def test_split_folder_is_taken_as_it_is(split: Path) -> None:
    data = load_folder(split)
    assert [len(part) for part in data.splits().values()] == [8, 4, 6]
    assert data.val.ids is not None
    assert data.val.ids.tolist() == [
        "val/chf/0.png",
        "val/chf/1.png",
        "val/normal/0.png",
        "val/normal/1.png",
    ]
    np.testing.assert_array_equal(data.val.labels, [0, 0, 1, 1])


def test_sizes_and_modes_are_brought_together(split: Path) -> None:
    colour = RNG.integers(0, 256, (20, 24, 3), np.uint8)
    write(split / "train" / "chf" / "0.png", colour)
    grey = load_folder(split, image_size=(12, 10))
    assert grey.input_shape == (12, 10, 1)
    luma = np.asarray(Image.fromarray(colour).convert("L"))[None, ..., None]
    np.testing.assert_array_equal(grey.train.images[:1], resize_images(luma, (12, 10)))
    three = load_folder(split, image_size=(12, 10), channels=3)
    np.testing.assert_array_equal(three.train.images[:1], resize_images(colour[None], (12, 10)))
    # No size named, several found: the common one.
    assert load_folder(split).input_shape == (224, 224, 1)


def test_sixteen_bits_are_scaled_not_clipped(split: Path) -> None:
    deep = np.linspace(0, 65535, 120).reshape(12, 10).astype(np.uint16)
    write(split / "train" / "chf" / "0.png", deep)
    image = load_folder(split).train.images[0, ..., 0]
    np.testing.assert_allclose(image, deep / 257, atol=0.51)


def test_jpeg_nested_and_hidden_files(split: Path) -> None:
    smooth = np.tile(np.linspace(0, 255, 10), (12, 1)).astype(np.uint8)
    write(split / "train" / "normal" / "patient7" / "film.JPG", smooth)
    (split / "train" / "normal" / "._0.png").write_bytes(b"left by a file manager")
    (split / "train" / "normal" / "notes.txt").write_text("not an image")
    (split / ".cache").mkdir()
    data = load_folder(split)
    assert data.train.ids is not None
    assert len(data.train) == 9
    assert data.train.ids[-1] == "train/normal/patient7/film.JPG"
    np.testing.assert_allclose(data.train.images[-1, ..., 0], smooth, atol=8)


def test_unreadable_images_are_counted_and_named_once(unsplit: Path) -> None:
    for i in range(3):
        (unsplit / "chf" / f"{i:02}.png").write_bytes(b"no picture")
    file = unsplit / "normal" / "05.png"
    # The header stands, the pixels are cut.
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(CKRMError) as caught:
        load_dataset(unsplit)
    assert "4 of 40 images cannot be decoded" in str(caught.value)
    assert sum(f"/0{i}.png" in str(caught.value) for i in range(10)) == 3
    assert ", ..." in str(caught.value)


def test_one_class(tmp_path: Path) -> None:
    for i in range(5):
        write(tmp_path / "normal" / f"{i}.png")
    with pytest.raises(CKRMError, match="train split: classes present: expected at least two"):
        load_dataset(tmp_path)


def test_a_class_too_small_to_split(unsplit: Path) -> None:
    write(unsplit / "rare" / "1.png")
    with pytest.raises(CKRMError, match=r"class 'rare' in .*at least 3 images"):
        load_dataset(unsplit)


def test_a_missing_split(split: Path) -> None:
    (split / "test").rename(split.parent / "elsewhere")
    with pytest.raises(CKRMError, match=r"train, val and test, or one .*received train, val"):
        load_dataset(split)


def test_a_class_that_train_lacks(split: Path) -> None:
    write(split / "test" / "pneumonia" / "1.png")
    with pytest.raises(CKRMError, match=r"class folders in test: .*received also pneumonia"):
        load_dataset(split)


def test_a_class_that_val_lacks(split: Path) -> None:
    for i in range(3):
        write(split / "train" / "pneumonia" / f"{i}.png")
        write(split / "test" / "pneumonia" / f"{i}.png")
    with pytest.raises(CKRMError, match=r"val split: every class: .*none of 'pneumonia'"):
        load_dataset(split)


@pytest.mark.parametrize("inside", [[], ["notes.txt"], ["chf/notes.txt"], ["train/a/x.txt"]])
def test_no_images(tmp_path: Path, inside: list[str]) -> None:
    for name in inside:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("no image")
    if inside == ["train/a/x.txt"]:
        for part in ("val", "test"):
            (tmp_path / part).mkdir()
    with pytest.raises(CKRMError, match="no images under"):
        load_dataset(tmp_path)


def test_bad_arguments(split: Path) -> None:
    with pytest.raises(CKRMError, match="data folder not found"):
        load_folder(split / "nowhere")
    with pytest.raises(CKRMError, match="channels: expected 1"):
        load_folder(split, channels=2)
    with pytest.raises(CKRMError, match="image_size: expected"):
        load_folder(split, image_size=0)

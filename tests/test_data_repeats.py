"""Images that stand in a data set more than once are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ckrm_tf.data import load_dataset
from ckrm_tf.data.dataset import Dataset

COUNTS = {"train": 8, "val": 4, "test": 4}


def content(seed: int = 0) -> dict[str, np.ndarray]:
    """Two classes by turns; no two images are alike."""
    rng = np.random.default_rng(seed)
    found = {}
    for split, count in COUNTS.items():
        found[f"{split}_images"] = rng.integers(0, 256, (count, 8, 8), np.uint8)
        found[f"{split}_labels"] = np.arange(count) % 2
    return found


def read(where: Path, arrays: dict[str, np.ndarray], kind: str) -> Dataset:
    """The data set, written as one file or as a folder of pictures."""
    if kind == "npz":
        np.savez(where / "a.npz", **arrays)
        return load_dataset(where / "a.npz")
    for split in COUNTS:
        pairs = zip(arrays[f"{split}_images"], arrays[f"{split}_labels"], strict=True)
        for i, (image, label) in enumerate(pairs):
            file = where / split / "ab"[label] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(file)
    return load_dataset(where)


@pytest.fixture(params=["npz", "folder"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_images_of_one_split_in_another(tmp_path: Path, kind: str) -> None:
    arrays = content()
    arrays["test_images"][:3] = arrays["train_images"][2:5]
    arrays["val_images"][1] = arrays["train_images"][7]
    arrays["test_images"][3] = arrays["val_images"][3]
    notes = read(tmp_path, arrays, kind).notes
    told = "1 of 4 val images stand in train too: what the val split says of them is too good"
    assert told in notes
    assert any(note.startswith("4 of 4 test images stand in train or val too") for note in notes)
    assert not any("several classes" in note for note in notes)


def test_an_image_under_two_classes(tmp_path: Path, kind: str) -> None:
    arrays = content()
    arrays["train_images"][3] = arrays["train_images"][0]
    notes = read(tmp_path, arrays, kind).notes
    assert "1 images stand under several classes, equal in every pixel" in notes
    assert not any("too good" in note for note in notes)


def test_what_is_not_told(tmp_path: Path, kind: str) -> None:
    """Twice within the training split, one pixel apart, or black."""
    arrays = content()
    arrays["train_images"][2] = arrays["train_images"][0]
    arrays["test_images"][0] = arrays["train_images"][4]
    arrays["test_images"][0, 0, 0] ^= 1
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"][1] = 0
    notes = read(tmp_path, arrays, kind).notes
    assert not any("too good" in note or "several" in note for note in notes)

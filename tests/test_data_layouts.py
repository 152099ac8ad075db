"""Folders as people keep them: read rightly and told, or refused with the names at fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ckrm_tf.data import load_dataset
from ckrm_tf.data.dataset import Dataset
from ckrm_tf.data.names import copied_from, helps, is_helper, same_class, split_of
from ckrm_tf.errors import CKRMError

CLASSES = ("COVID-19", "Normal")
MASK = (np.add.outer(np.arange(16), np.arange(16)) % 7 < 3).astype(np.uint8) * 255


def film(path: Path, pixels: np.ndarray | None = None) -> Path:
    """One picture; its pixels follow from its path, so that no two are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels is None:
        seed = np.frombuffer(path.as_posix().encode()[-24:], np.uint8)
        pixels = np.random.default_rng(seed.tolist()).integers(40, 230, (16, 16)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def fill(
    folder: Path, count: int = 4, suffix: str = ".png", classes: tuple[str, ...] = CLASSES
) -> None:
    for name in classes:
        for i in range(count):
            film(folder / name / f"{i}{suffix}")


def told(data: Dataset) -> str:
    return " | ".join(data.notes)


def ids(data: Dataset) -> list[str]:
    return sorted(name for split in data.splits().values() for name in split.ids)


@pytest.mark.parametrize(
    "names",
    [
        ("Train", "Val", "Test"),
        ("TRAIN", "VAL", "TEST"),
        ("training", "validation", "testing"),
        ("Training Set", "valid", "test_images"),
        ("01_train", "02_Validation", "03_test"),
        ("TrainData", "dev", "testset"),
        ("TRain", "VAlid", "TeSt"),
    ],
)
def test_split_names_in_any_spelling(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name, count in zip(names, (4, 2, 3), strict=True):
        fill(tmp_path / name, count)
    data = load_dataset(tmp_path)
    assert data.class_names == CLASSES
    for (split, part), name, count in zip(data.splits().items(), names, (4, 2, 3), strict=True):
        assert [str(i).split("/")[0] for i in part.ids] == [name] * 2 * count
        np.testing.assert_array_equal(part.labels, [0] * count + [1] * count)
        assert f"{split} from {name}/" in told(data)


def test_training_and_testing_alone(tmp_path: Path) -> None:
    fill(tmp_path / "Training", 16)
    fill(tmp_path / "Testing", 3)
    data = load_dataset(tmp_path)
    assert data.class_names == CLASSES
    assert [len(part) for part in data.splits().values()] == [28, 4, 6]
    assert {str(i).split("/")[0] for i in data.val.ids} == {"Training"}
    assert len(set(ids(data))) == 38
    assert "no folder for validation" in told(data)


@pytest.mark.parametrize("names", [("train",), ("Train", "Valid"), ("val", "test")])
def test_too_few_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        fill(tmp_path / name)
    with pytest.raises(CKRMError, match=rf"expected train, val and test.*{', '.join(names)}"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("above", ["chest_xray", "data/chest_xray", "archive/COVID data/images"])
@pytest.mark.parametrize("splits", [True, False])
def test_a_wrapper_folder(tmp_path: Path, above: str, splits: bool) -> None:
    for name in ("train", "val", "test") if splits else ("",):
        fill(tmp_path / above / name)
    (tmp_path / "__MACOSX" / above).mkdir(parents=True)
    film(tmp_path / "__MACOSX" / "COVID-19" / "._0.png")
    data = load_dataset(tmp_path)
    assert data.class_names == CLASSES
    assert sum(map(len, data.splits().values())) == (24 if splits else 8)
    assert f"read below {above.split('/', maxsplit=1)[0]}/" in told(data)


def test_a_split_folder_in_itself(tmp_path: Path) -> None:
    for name in ("train", "val", "test"):
        fill(tmp_path / name / name)
    assert load_dataset(tmp_path).class_names == CLASSES


def test_a_copy_of_all_below_a_split_folder(tmp_path: Path) -> None:
    """As a well-known archive of chest films is packed: everything twice, and __MACOSX."""
    for base in (tmp_path, tmp_path / "chest_xray"):
        for name in ("train", "val", "test"):
            fill(base / name)
    for file in (tmp_path / "chest_xray").rglob("*.png"):
        file.write_bytes((tmp_path / file.relative_to(tmp_path / "chest_xray")).read_bytes())
    data = load_dataset(tmp_path)
    assert [len(part) for part in data.splits().values()] == [8, 8, 8]
    assert not any("chest_xray" in name for name in ids(data))
    assert "chest_xray/ left out: a copy" in told(data)
    # With one file of its own it is more than a copy.
    film(tmp_path / "chest_xray" / "train" / "Normal" / "new.png")
    with pytest.raises(CKRMError, match="received chest_xray, beside train, val, test"):
        load_dataset(tmp_path)


@pytest.mark.parametrize("name", ["Normal - Copy", "Normal copy", "Copy of Normal", "Normal (1)"])
def test_a_copy_of_a_class(tmp_path: Path, name: str) -> None:
    fill(tmp_path, classes=(*CLASSES, name))
    with pytest.raises(CKRMError, match="a copy of Normal"):
        load_dataset(tmp_path)


def test_a_folder_of_all_classes_among_the_classes(tmp_path: Path) -> None:
    fill(tmp_path)
    fill(tmp_path / "augmented", 5)
    with pytest.raises(CKRMError, match="received augmented, beside COVID-19, Normal"):
        load_dataset(tmp_path)


REFUSED = {
    "class/split": ("COVID-19/train", "COVID-19/test", "Normal/train", "Normal/test"),
    "two data sets": ("a/train/x", "a/test/x", "b/train/x", "b/test/x"),
    "class_split": ("covid_train", "covid_test", "normal_train", "normal_test"),
    "folds": ("fold_1/a", "fold_1/b", "fold_2/a", "fold_2/b"),
    "split twice": ("train/a", "train/b", "Training/a", "test/a", "test/b"),
    "split and more": ("train/a", "train/b", "test/a", "test/b", "holdout/a", "holdout/b"),
    "images and masks alone": ("images", "masks"),
    "one class in two spellings": ("train/normal", "train/NORMAL", "test/normal"),
    "one class in two spellings, unsplit": ("viral pneumonia", "Viral Pneumonia", "normal"),
    "two places in a class": ("a/images", "a/lung", "b/images", "b/lung"),
    "masks alone in a class": ("a/masks", "b/masks"),
    "splits of another language": ("Ausbildung/a", "Ausbildung/b", "Pruefung/a", "Pruefung/b"),
    "kinds of picture": ("color/a", "color/b", "grey/a", "grey/b"),
    "one name in two encodings": ("caf\u00e9", "cafe\u0301", "tea"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_doubts_are_refused_by_name(tmp_path: Path, kind: str) -> None:
    for folder in REFUSED[kind]:
        for i in range(4):
            film(tmp_path / folder / f"{i}.png")
    with pytest.raises(CKRMError) as caught:
        load_dataset(tmp_path)
    last = {part for folder in REFUSED[kind] for part in folder.split("/")}
    assert any(part in str(caught.value).split("received", 1)[1] for part in last)


def test_folders_in_classes_that_are_no_doubt(tmp_path: Path) -> None:
    """Patients of their own in each class, and views below the classes of a split."""
    for i, folder in enumerate(("a/p1", "a/p2", "b/p1", "b/p3")):
        for k in range(4):
            film(tmp_path / "patients" / folder / f"{i}{k}.png")
    assert load_dataset(tmp_path / "patients").class_names == ("a", "b")
    for split in ("train", "val", "test"):
        for folder in ("a/front", "a/side", "b/front", "b/side"):
            film(tmp_path / "views" / split / folder / "0.png")
    data = load_dataset(tmp_path / "views")
    assert data.class_names == ("a", "b")
    assert len(ids(data)) == 12


def test_spellings_of_a_class_between_splits(tmp_path: Path) -> None:
    for name, classes in (("train", CLASSES), ("val", ("covid 19", "NORMAL")), ("test", CLASSES)):
        fill(tmp_path / name, classes=classes)
    data = load_dataset(tmp_path)
    assert data.class_names == CLASSES
    np.testing.assert_array_equal(data.val.labels, [0, 0, 0, 0, 1, 1, 1, 1])


class TestMasks:
    @pytest.mark.parametrize("masks", ["masks", "Lung Masks", "segmentation", "ground_truth"])
    def test_beside_the_images_of_a_class(self, tmp_path: Path, masks: str) -> None:
        for name in CLASSES:
            for i in range(10):
                film(tmp_path / name / "images" / f"{name}-{i}.png")
                film(tmp_path / name / masks / f"{name}-{i}.png", MASK)
        data = load_dataset(tmp_path)
        assert len(ids(data)) == 20
        assert not any(masks in name for name in ids(data))
        assert f"COVID-19/: {masks} left out, not films" in told(data)

    @pytest.mark.parametrize("splits", [True, False])
    def test_beside_all_classes(self, tmp_path: Path, splits: bool) -> None:
        for split in ("train", "val", "test") if splits else ("",):
            fill(tmp_path / "images" / split)
            for file in (tmp_path / "images" / split).rglob("*.png"):
                film(tmp_path / "lung masks" / file.relative_to(tmp_path / "images"), MASK)
        data = load_dataset(tmp_path)
        assert data.class_names == CLASSES
        assert len(ids(data)) == (24 if splits else 8)
        assert not any("masks" in name for name in ids(data))
        assert "lung masks beside images/ left out" in told(data)

    def test_beside_the_classes_of_each_split(self, tmp_path: Path) -> None:
        for split in ("Train", "Val", "Test"):
            fill(tmp_path / split / "images")
            film(tmp_path / split / "masks" / "Normal" / "0.png", MASK)
        assert len(ids(load_dataset(tmp_path))) == 24

    def test_below_the_films_of_a_class(self, tmp_path: Path) -> None:
        fill(tmp_path)
        for name in CLASSES:
            film(tmp_path / name / "mask" / "0.png", MASK)
        assert len(ids(load_dataset(tmp_path))) == 8

    @pytest.mark.parametrize(
        "form",
        [
            "{}_mask.png",
            "{}_mask_1.png",
            "{}-segmentation.png",
            "{}_GT.png",
            "mask_{}.png",
            "{}_left_lung_mask.png",
        ],
    )
    def test_among_the_films_of_a_class(self, tmp_path: Path, form: str) -> None:
        fill(tmp_path)
        for name in CLASSES:
            for i in range(4):
                film(tmp_path / name / form.format(i), MASK)
        data = load_dataset(tmp_path)
        assert len(ids(data)) == 8
        assert "masks beside their films left out" in told(data)

    def test_under_any_other_name_by_their_look(self, tmp_path: Path) -> None:
        for name in CLASSES:
            for i in range(4):
                film(tmp_path / name / "cxr" / f"{i}.png")
                film(tmp_path / name / "lungs" / f"{i}.png", MASK)
        with pytest.raises(CKRMError, match=r"class 'COVID-19'.*as masks have, in .*lungs"):
            load_dataset(tmp_path)

    @pytest.mark.parametrize("form", ["{}m.png", "lung-{}.png", "{}_lungs.png", "{}.tif"])
    def test_among_the_films_by_their_look(self, tmp_path: Path, form: str) -> None:
        fill(tmp_path)
        for name in CLASSES:
            film(tmp_path / name / form.format(1), MASK)
        # One picture of two values may be a film.
        assert len(ids(load_dataset(tmp_path))) == 10
        for name in CLASSES:
            film(tmp_path / name / form.format(2), MASK)
        with pytest.raises(CKRMError, match=r"class 'COVID-19'.*as masks have, in .*COVID-19: "):
            load_dataset(tmp_path)

    def test_films_of_two_values_with_numbers_of_their_own(self, tmp_path: Path) -> None:
        fill(tmp_path)
        for name in CLASSES:
            for i in (11, 21, 32):
                film(tmp_path / name / f"{i}.png", MASK)
        assert len(ids(load_dataset(tmp_path))) == 14

    def test_as_a_folder_among_the_classes(self, tmp_path: Path) -> None:
        fill(tmp_path)
        for i in range(4):
            film(tmp_path / "masks" / f"{i}.png", MASK)
        data = load_dataset(tmp_path)
        assert data.class_names == CLASSES
        assert "masks/ left out: masks" in told(data)

    def test_a_class_that_is_called_mask(self, tmp_path: Path) -> None:
        """Photographs of people with a mask and without."""
        fill(tmp_path, classes=("mask", "no_mask"))
        assert load_dataset(tmp_path).class_names == ("mask", "no_mask")

    def test_two_tone_pictures_alone_are_films(self, tmp_path: Path) -> None:
        for name in CLASSES:
            for i in range(4):
                film(tmp_path / name / f"{i}.png", np.roll(MASK, i, 0))
        assert len(ids(load_dataset(tmp_path))) == 8


class TestOtherFiles:
    @pytest.mark.parametrize("suffix", [".dcm", ".webp", ".gif", ".nii.gz", ".npy", ".zip", ""])
    def test_a_class_of_files_that_are_not_read(self, tmp_path: Path, suffix: str) -> None:
        fill(tmp_path)
        (tmp_path / "pneumonia").mkdir()
        (tmp_path / "pneumonia" / f"scan1{suffix}").write_bytes(b"a film of another kind")
        with pytest.raises(CKRMError, match=rf"class folder pneumonia: .*scan1{suffix}"):
            load_dataset(tmp_path)

    def test_a_class_of_which_some_are_not_read(self, tmp_path: Path) -> None:
        fill(tmp_path)
        (tmp_path / "Normal" / "9.dcm").write_bytes(b"a film of another kind")
        with pytest.raises(CKRMError, match=r"folder Normal: .*1 others: 9\.dcm"):
            load_dataset(tmp_path)

    def test_a_split_of_files_that_are_not_read(self, tmp_path: Path) -> None:
        for name in ("train", "val"):
            fill(tmp_path / name)
        (tmp_path / "test" / "Normal").mkdir(parents=True)
        (tmp_path / "test" / "Normal" / "9.dcm").write_bytes(b"a film of another kind")
        with pytest.raises(CKRMError, match=r"split folder test: .*9\.dcm"):
            load_dataset(tmp_path)

    def test_papers_and_empty_folders_are_left_out_and_told(self, tmp_path: Path) -> None:
        fill(tmp_path)
        for name in ("labels.csv", "README", "LICENSE", "Normal/notes.txt", "Normal/Thumbs.db"):
            (tmp_path / name).write_text("no film")
        (tmp_path / "tables").mkdir()
        (tmp_path / "tables" / "a.csv").write_text("no film")
        data = load_dataset(tmp_path)
        assert data.class_names == CLASSES
        assert "tables/ left out: no images in it" in told(data)

    def test_images_beside_the_classes_are_told(self, tmp_path: Path) -> None:
        fill(tmp_path)
        film(tmp_path / "overview.png")
        data = load_dataset(tmp_path)
        assert len(ids(data)) == 8
        assert "1 images beside the class folders left out" in told(data)

    def test_copies_of_a_film_are_left_out(self, tmp_path: Path) -> None:
        fill(tmp_path)
        copy = tmp_path / "Normal" / "1 - Copy.png"
        copy.write_bytes((tmp_path / "Normal" / "1.png").read_bytes())
        # As a numbered film whose name only looks like a copy.
        film(tmp_path / "Normal" / "1 (2).png")
        data = load_dataset(tmp_path)
        assert len(ids(data)) == 9
        assert "Normal/1 (2).png" in ids(data)
        assert "copies of others left out: 1 - Copy.png" in told(data)

    @pytest.mark.parametrize("name", ["a\nb", "a\udcffb"])
    def test_names_that_are_no_text(self, tmp_path: Path, name: str) -> None:
        fill(tmp_path, classes=(*CLASSES, "Größe \u202f 1"))
        assert len(load_dataset(tmp_path).class_names) == 3
        (tmp_path / name).mkdir()
        with pytest.raises(CKRMError, match="names that are texts, received 'a") as caught:
            load_dataset(tmp_path)
        assert str(caught.value).isprintable()

    def test_a_folder_that_holds_itself(self, tmp_path: Path) -> None:
        fill(tmp_path)
        (tmp_path / "Normal" / "again").symlink_to(tmp_path)
        with pytest.raises(CKRMError, match="folders deep"):
            load_dataset(tmp_path)


class TestLinks:
    def test_to_films_elsewhere(self, tmp_path: Path) -> None:
        fill(tmp_path / "store")
        for file in (tmp_path / "store").rglob("*.png"):
            link = tmp_path / "data" / file.relative_to(tmp_path / "store")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
        (tmp_path / "data" / "labels.csv").symlink_to("nowhere.csv")
        assert len(ids(load_dataset(tmp_path / "data"))) == 8

    @pytest.mark.parametrize("link", ["Normal/9.png", "pneumonia/1.png", "pneumonia", "val"])
    def test_to_nothing(self, tmp_path: Path, link: str) -> None:
        """As a moved disk or a data set without its content leaves them."""
        fill(tmp_path)
        (tmp_path / link).parent.mkdir(exist_ok=True)
        (tmp_path / link).symlink_to(tmp_path / "gone")
        with pytest.raises(CKRMError, match=f"1 links to nothing: {Path(link).name}"):
            load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("valid", "val"),
        ("Testing Images", "test"),
        ("train-2", "train"),
        ("latest", None),
        ("contest", None),
        ("training and testing", None),
        ("covid_train", None),
        ("images", None),
        ("", None),
    ],
)
def test_names_of_splits(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_names_of_copies_masks_and_classes() -> None:
    assert copied_from("a - Copy (2)", ["a"]) == "a"
    assert copied_from("a - Copy", ["b"]) is None
    assert copied_from("a", ["a"]) is None
    assert helps("benign (1)_mask_1", ["benign (1)"]) == "benign (1)"
    assert helps("unmasked", ["un"]) is None
    assert is_helper("infection masks")
    assert not is_helper("unmasked")
    assert same_class("HER2+") != same_class("HER2-")
    assert same_class("COVID-19 ") == same_class("covid_19") != same_class("covid_20")

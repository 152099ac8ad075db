"""The EGD-CXR loader on an invented tree of the same layout, a trap of the release a test."""

import os

import numpy as np
import pytest
from egd_tree import make_tree
from PIL import Image
from scipy.ndimage import gaussian_filter

from ckrm_tf.data import load_dataset
from ckrm_tf.data.egd_cxr import load_egd_cxr
from ckrm_tf.data.egd_regions import read_mask
from ckrm_tf.data.egd_tables import read_boxes
from ckrm_tf.errors import CKRMError

SIZE = (24, 20)
SIGMA = 6.0


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "physionet")


@pytest.fixture
def load(tmp_path):
    """The loader with a cache of its own and a blur that suits small films."""

    def call(path, **options):
        options = {"image_size": SIZE, "sigma": SIGMA, "cache_dir": tmp_path / "cache"} | options
        return load_egd_cxr(path, **options)

    return call


def every(data):
    """id -> (image (h, w), label, gaze map) over all splits."""
    return {
        name: (split.images[i, :, :, 0], split.labels[i], split.gaze[i])
        for split in data.splits().values()
        for i, name in enumerate(split.ids)
    }


def eight_bit(film):
    """The recipe of MIMIC-CXR-JPG in floats, as published."""
    low = film.pixels - film.pixels.min()
    image = (low / low.max() * 255).astype(np.uint8)
    return 255 - image if film.photometric == "MONOCHROME1" else image


def test_images_labels_and_ids(tree, load):
    data = load(tree.release)
    assert data.class_names == ("Normal", "CHF", "pneumonia")
    assert data.input_shape == (*SIZE, 1)
    assert data.scale == 255
    found = every(data)
    assert sorted(found) == sorted(film.dicom_id for film in tree.films)
    for film in tree.films:
        image, label, _ = found[film.dicom_id]
        assert label == film.label
        full = Image.fromarray(eight_bit(film))
        expected = full.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR)
        # One grey level: the reference truncates in floats.
        assert np.abs(image.astype(int) - np.asarray(expected).astype(int)).max() <= 1


@pytest.mark.parametrize("gaze", ["fixations", "eye_gaze"])
def test_gaze_maps_are_the_blurred_counts(tree, load, gaze):
    """Among them an odd and a landscape film, points beside the film, and restarting times."""
    found = every(load(tree.release, gaze=gaze))
    for film in tree.films:
        count = np.zeros(film.pixels.shape)
        for x, y in film.points:
            count[y, x] += 1
        full = gaussian_filter(count, SIGMA, mode="constant", truncate=12)
        rows, cols = (
            (np.arange(n) + 0.5) * size / n - 0.5
            for n, size in zip(SIZE, film.pixels.shape, strict=True)
        )
        down, across = np.floor(rows).astype(int), np.floor(cols).astype(int)
        # Bilinear between the pixels around each sampled place.
        v, u = (rows - down)[:, None], (cols - across)[None, :]
        corner = [[full[down + i][:, across + j] for j in (0, 1)] for i in (0, 1)]
        sampled = (1 - v) * ((1 - u) * corner[0][0] + u * corner[0][1])
        sampled += v * ((1 - u) * corner[1][0] + u * corner[1][1])
        result = found[film.dicom_id][2]
        assert result.shape == SIZE
        assert result.max() == 1
        np.testing.assert_allclose(result, sampled / sampled.max(), atol=0.02)


def test_without_gaze_the_table_is_not_needed(tree, load):
    (tree.release / "fixations.csv").unlink()
    assert load(tree.release, gaze=None).train.gaze is None


def test_paper_recipe(tree, load):
    found = every(load(tree.release, recipe="paper", image_size=(768, 640)))
    for film in tree.films:
        height, width = film.pixels.shape
        padded = np.zeros((3072, 2560), np.uint8)
        top, left = (3072 - height) // 2, (2560 - width) // 2
        padded[top : top + height, left : left + width] = eight_bit(film)
        image, _, gaze = found[film.dicom_id]
        assert np.abs(image.astype(int) - padded[::4, ::4].astype(int)).max() <= 1
        rows, cols = np.nonzero(gaze)
        assert rows.min() * 4 >= top
        assert cols.max() * 4 < left + width


def test_the_papers_size_is_the_default(tmp_path):
    tree = make_tree(tmp_path / "one", patients=3, images=1)
    data = load_egd_cxr(tree.release, gaze=None, recipe="paper", cache_dir=tmp_path / "cache")
    assert data.input_shape == (1536, 1280, 1)


class TestRegions:
    @pytest.fixture
    def tree(self, tmp_path):
        return make_tree(tmp_path / "physionet", masks=True)

    def test_boxes_are_stored_x1_x2_y1_y2(self, tree):
        header = (tree.release / "bounding_boxes.csv").read_text().splitlines()[0]
        assert header.split(",")[2:] == ["x1", "x2", "y1", "y2"]
        boxes = read_boxes(tree.release / "bounding_boxes.csv")
        assert boxes[tree.films[0].dicom_id] == {"cardiac silhouette": (10.5, 40.0, 60.0, 90.25)}

    @pytest.mark.parametrize("spelling", ["mediastanum", "mediastinum"])
    def test_mediastinum_in_both_spellings(self, tree, spelling):
        name = tree.films[0].dicom_id
        folder = tree.release / "audio_segmentation_transcripts" / name
        (folder / "mediastanum.png").rename(folder / f"{spelling}.png")
        mask = read_mask(tree.release, name, "mediastinum")
        height = tree.films[0].pixels.shape[0]
        assert mask[height * 5 // 8].all()
        assert mask.mean() == pytest.approx(0.25, abs=0.01)

    def test_diseased_region_of_each_class(self, tree, load):
        data = load(tree.release, region=True)
        quarter = SIZE[0] // 4
        for split in data.splits().values():
            for label, region in zip(split.labels, split.region, strict=True):
                bands = [region[i * quarter + 2].all() for i in range(4)]
                assert bands == [label == 2, label == 2, label == 1, False]

    def test_missing_mask(self, tree, load):
        film = next(film for film in tree.films if film.label == 1)
        folder = tree.release / "audio_segmentation_transcripts"
        (folder / film.dicom_id / "mediastanum.png").unlink()
        with pytest.raises(CKRMError, match=rf"not found.*{film.dicom_id}.*mediastanum\.png"):
            load(tree.release, region=True)
        load(tree.release)


class TestFiles:
    @pytest.mark.parametrize("suffix", [".png", ".jpg"])
    def test_png_and_jpeg_in_the_same_tree(self, tmp_path, load, suffix):
        tree = make_tree(tmp_path / "other", suffix=suffix)
        found = every(load(tree.release))
        for film in tree.films:
            full = Image.fromarray((film.pixels // 16).astype(np.uint8))
            expected = np.asarray(full.resize((SIZE[1], SIZE[0]), Image.Resampling.BILINEAR))
            difference = np.abs(found[film.dicom_id][0].astype(int) - expected.astype(int))
            assert difference.max() <= (0 if suffix == ".png" else 40)

    def test_sixteen_bit_png(self, tree, load):
        film = tree.films[0]
        file = tree.mimic / film.path
        file.unlink()
        Image.fromarray(film.pixels).save(file.with_suffix(".png"))
        film.photometric = "MONOCHROME2"
        expected = Image.fromarray(eight_bit(film)).resize(SIZE[::-1], Image.Resampling.BILINEAR)
        image = every(load(tree.release))[film.dicom_id][0]
        assert np.abs(image.astype(int) - np.asarray(expected).astype(int)).max() <= 1

    def test_roots_that_people_give(self, tree, load, tmp_path):
        expected = load(tree.release, gaze=None).test.ids.tolist()
        for path in (tree.root, tree.release.parent, os.fspath(tree.release)):
            assert load(path, gaze=None).test.ids.tolist() == expected
        # As a recursive download leaves it, with the images elsewhere and without folders.
        whole = tmp_path / "physionet.org"
        (whole / "files").mkdir(parents=True)
        tree.release.parent.rename(whole / "files" / "egd-cxr")
        flat = tmp_path / "flat"
        flat.mkdir()
        for film in tree.films:
            (tree.mimic / film.path).rename(flat / f"{film.dicom_id}.dcm")
        assert load(whole, gaze=None, images=flat).test.ids.tolist() == expected

    def test_missing_images_are_counted_and_named(self, tree, load):
        gone = [tree.films[3], tree.films[5]]
        for film in gone:
            (tree.mimic / film.path).unlink()
        with pytest.raises(CKRMError, match=f"2 of 24 images not found.*{gone[0].dicom_id}"):
            load(tree.release)

    def test_no_release(self, tmp_path, load):
        with pytest.raises(CKRMError, match=r"master_sheet\.csv.*There is no folder"):
            load(tmp_path / "nowhere")
        with pytest.raises(CKRMError, match=r"not found: master_sheet\.csv"):
            load(tmp_path)

    @pytest.mark.parametrize("suffix", [".dcm", ".png"])
    def test_corrupt_image(self, tmp_path, load, suffix):
        tree = make_tree(tmp_path / "other", suffix=suffix)
        file = (tree.mimic / tree.films[0].path).with_suffix(suffix)
        file.write_bytes(file.read_bytes()[:500])
        with pytest.raises(CKRMError, match=tree.films[0].dicom_id):
            load(tree.release)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"recipe": "papr"}, "Did you mean 'paper'"),
            ({"recipe": "paper", "image_size": 224}, "divided by one whole number"),
            ({"image_size": (0, 5)}, "image_size"),
            ({"reader": "gdcm"}, "unknown DICOM reader"),
            ({"sigma": -1.0}, "sigma"),
        ],
    )
    def test_options(self, tree, load, options, message):
        with pytest.raises(CKRMError, match=message):
            load(tree.release, **options)

    def test_by_name(self, tree, tmp_path):
        data = load_dataset(
            f"egd-cxr:{tree.root}", image_size=SIZE, sigma=SIGMA, cache_dir=tmp_path / "cache"
        )
        assert data.name == "egd-cxr"

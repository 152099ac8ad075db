"""The tables of EGD-CXR: each trap of the release on an invented tree."""

import warnings

import numpy as np
import pytest
from dicom_files import write_dicom
from egd_tree import GAZE_COLUMNS, MASTER_COLUMNS, make_tree

from ckrm_tf.data.egd_cxr import load_egd_cxr
from ckrm_tf.data.egd_tables import read_gaze, read_master
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


def test_the_tables_have_the_released_columns():
    assert len(MASTER_COLUMNS) == len(set(MASTER_COLUMNS)) == 59
    assert len(GAZE_COLUMNS) == len(set(GAZE_COLUMNS)) == 37


class TestMasterSheet:
    def test_line_breaks_inside_quotes(self, tree):
        path = tree.release / "master_sheet.csv"
        master = read_master(path)
        assert len(path.read_text().splitlines()) == 1 + 3 * len(tree.films)
        assert master.ids.tolist() == [film.dicom_id for film in tree.films]
        assert master.labels.tolist() == [film.label for film in tree.films]
        assert list(master.patients) == [film.patient for film in tree.films]

    @pytest.mark.parametrize(
        "marks", [("1", "1", "0"), ("0", "0", "0"), ("", "1", "0"), ("2", "0", "-1")]
    )
    def test_not_one_label(self, tree, load, marks):
        def change(rows):
            at = MASTER_COLUMNS.index("Normal")
            rows[4][at : at + 3] = marks
            return rows

        tree.edit("master_sheet.csv", change)
        with pytest.raises(CKRMError, match=f"label of image {tree.films[3].dicom_id}"):
            load(tree.release)

    def test_an_image_twice(self, tree, load):
        tree.edit("master_sheet.csv", lambda rows: [*rows, rows[2]])
        with pytest.raises(CKRMError, match=f"two of {tree.films[1].dicom_id}"):
            load(tree.release)

    def test_no_rows(self, tree, load):
        tree.edit("master_sheet.csv", lambda rows: rows[:1])
        with pytest.raises(CKRMError, match="at least one"):
            load(tree.release)

    def test_bytes_that_are_no_text(self, tree, load):
        path = tree.release / "master_sheet.csv"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"fever", b"f\xe9ver"))
        assert len(read_master(path).ids) == len(tree.films)

    @pytest.mark.parametrize("column", ["dicom_id", "path", "patient_id", "CHF"])
    def test_missing_column(self, tree, load, column):
        tree.edit(
            "master_sheet.csv",
            lambda rows: [[name.replace(column, "other") for name in rows[0]], *rows[1:]],
        )
        with pytest.raises(CKRMError, match=rf"master_sheet.csv: column .*{column} is missing"):
            load(tree.release)

    @pytest.mark.parametrize("content", ["", 'dicom_id,"path\n'])
    def test_not_a_table(self, tree, load, content):
        (tree.release / "master_sheet.csv").write_text(content)
        with pytest.raises(CKRMError, match=r"master_sheet\.csv"):
            load(tree.release)


class TestGazeTable:
    def test_calibration_rows_and_columns_spelt_in_capitals(self, tree):
        cut = tree.films[0].dicom_id[:-5]
        assert len(cut) == 39
        assert cut in (tree.release / "fixations.csv").read_text()
        gaze = read_gaze(tree.release, "fixations", [film.dicom_id for film in tree.films])
        assert gaze.unknown == ()
        assert sorted(gaze.points) == sorted(film.dicom_id for film in tree.films)
        for film in tree.films:
            np.testing.assert_array_equal(gaze.points[film.dicom_id][:5], film.points)

    def test_chunks_join(self, tree, monkeypatch):
        ids = [film.dicom_id for film in tree.films]
        whole = read_gaze(tree.release, "eye_gaze", ids).points
        monkeypatch.setattr("ckrm_tf.data.egd_tables.CHUNK_ROWS", 4)
        pieces = read_gaze(tree.release, "eye_gaze", ids).points
        assert all(np.array_equal(whole[name], pieces[name]) for name in ids)

    def test_times_that_restart_are_not_read(self, tree, load):
        before = every(load(tree.release))
        at = GAZE_COLUMNS.index("Time (in secs)")
        tree.edit(
            "fixations.csv",
            lambda rows: [[*row[:at], *row[at + 1 :]] for row in [rows[0], *reversed(rows[1:])]],
        )
        after = every(load(tree.release))
        for name, (_, _, gaze) in before.items():
            np.testing.assert_allclose(after[name][2], gaze, atol=1e-6)

    def test_an_unknown_id_is_counted(self, tree, load):
        def change(rows):
            return [
                *rows,
                *([*row[:2], f"{name}-nobody", *row[3:]] for name in "ab" for row in rows[1:3]),
            ]

        tree.edit("fixations.csv", change)
        with pytest.warns(UserWarning, match="2 ids of the fixations table.*a-nobody"):
            load(tree.release)

    def test_images_without_gaze_are_counted_once_and_zero(self, tree, load):
        blind = tree.films[1].dicom_id, tree.films[4].dicom_id
        x, name = GAZE_COLUMNS.index("X_ORIGINAL"), GAZE_COLUMNS.index("DICOM_ID")

        def change(rows):
            # One film has no rows, of the other every look went beside it.
            kept = [row for row in rows if row[name] != blind[0]]
            return [[*row[:x], "-7", row[x + 1]] if row[name] == blind[1] else row for row in kept]

        tree.edit("fixations.csv", change)
        with pytest.warns(UserWarning, match="2 of 24 images have no gaze") as caught:
            found = every(load(tree.release))
        assert len(caught) == 1
        for dicom_id, (_, _, gaze) in found.items():
            assert gaze.max() == (0 if dicom_id in blind else 1)

    def test_films_that_are_not_at_full_size_are_counted(self, tree, load):
        film = tree.films[2]
        # Cut off the row of one gaze point and all below.
        lowest = max(y for _, y in film.points) - 1
        write_dicom(tree.mimic / film.path, film.pixels[:lowest])
        with pytest.warns(UserWarning, match="1 of 24 images are smaller than their gaze points"):
            load(tree.release)

    def test_cells_that_are_no_numbers_are_no_points(self, tree, load):
        x = GAZE_COLUMNS.index("X_ORIGINAL")

        def change(rows):
            for row in rows[2:4]:
                row[x] = "" if row is rows[2] else "n/a"
            return rows

        tree.edit("fixations.csv", change)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            load(tree.release)

    @pytest.mark.filterwarnings("ignore:Length of header:pandas.errors.ParserWarning")
    def test_rows_that_end_in_a_comma(self, tree):
        ids = [film.dicom_id for film in tree.films]
        tree.edit("fixations.csv", lambda rows: [rows[0], *([*row, ""] for row in rows[1:])])
        points = read_gaze(tree.release, "fixations", ids).points
        np.testing.assert_array_equal(points[ids[0]][:5], tree.films[0].points)

    @pytest.mark.parametrize("column", ["DICOM_ID", "X_ORIGINAL", "Y_ORIGINAL"])
    def test_missing_column(self, tree, load, column):
        tree.edit(
            "eye_gaze.csv",
            lambda rows: [[name.replace(column, "other") for name in rows[0]], *rows[1:]],
        )
        with pytest.raises(CKRMError, match=rf"eye_gaze.csv: column {column} is missing"):
            load(tree.release, gaze="eye_gaze")

    def test_missing_table(self, tree, load):
        (tree.release / "fixations.csv").unlink()
        with pytest.raises(CKRMError, match=r"not found.*fixations\.csv"):
            load(tree.release)

    def test_unknown_source(self, tree, load):
        with pytest.raises(CKRMError, match="Did you mean 'eye_gaze'"):
            load(tree.release, gaze="eyegaze")

"""The splits of EGD-CXR, by patient and by image."""

import numpy as np
import pytest
from egd_tree import CLASSES, make_tree
from hypothesis import given
from hypothesis import strategies as st

from ckrm_tf.data.egd_cxr import load_egd_cxr
from ckrm_tf.data.splits import split_by_image, split_by_patient
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


class TestSplits:
    def test_by_patient_no_patient_in_two_parts(self, tree, load):
        data = load(tree.release)
        of = {film.dicom_id: film.patient for film in tree.films}
        patients = [{of[name] for name in split.ids} for split in data.splits().values()]
        assert sum(map(len, patients)) == len(set.union(*patients)) == 12

    def test_by_image_in_table_order(self, tree, load):
        data = load(tree.release, split="image")
        for label in range(3):
            names = [film.dicom_id for film in tree.films if film.label == label]
            # 8 images: 70% is 5, 80% is 6.
            for split, expected in zip(
                data.splits().values(), (names[:5], names[5:6], names[6:]), strict=True
            ):
                assert list(split.ids[split.labels == label]) == expected

    def test_seed_moves_patients(self, tree, load):
        ids = [tuple(load(tree.release, seed=seed, gaze=None).test.ids) for seed in (1, 1, 2, 3)]
        assert ids[0] == ids[1]
        assert len(set(ids)) > 1

    def test_shares_at_the_real_size(self):
        rng = np.random.default_rng(0)
        patients = [str(p) for p in rng.integers(0, 10_000, 1083)]
        labels = np.array([int(p) % 3 for p in patients])
        parts = split_by_patient(labels, patients, CLASSES)
        np.testing.assert_allclose([len(p) / 1083 for p in parts], (0.7, 0.1, 0.2), atol=0.02)

    @given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30)), max_size=120), st.integers())
    def test_parts_are_a_partition(self, rows, seed):
        # Each patient has one class; three of each class at least.
        rows += [(label, -1 - i) for label in range(3) for i in range(3)]
        labels = np.array([label for label, _ in rows])
        patients = [f"{label}:{number}" for label, number in rows]
        for parts in (
            split_by_patient(labels, patients, CLASSES, seed),
            split_by_image(labels, CLASSES),
        ):
            assert sorted(np.concatenate(parts)) == list(range(len(rows)))
            assert all(set(labels[part]) == {0, 1, 2} for part in parts)
        parts = split_by_patient(labels, patients, CLASSES, seed)
        owners = [{patients[i] for i in part} for part in parts]
        assert sum(map(len, owners)) == len(set.union(*owners))

    def test_a_class_of_two_patients(self, tmp_path, load):
        tree = make_tree(tmp_path / "small", patients=2)
        with pytest.raises(CKRMError, match=r"'Normal'.*patients.*at least 3.*received 2"):
            load(tree.release)
        load(tree.release, split="image")

    def test_unknown_split(self, tree, load):
        with pytest.raises(CKRMError, match="Did you mean 'patient'"):
            load(tree.release, split="patients")

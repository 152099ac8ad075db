from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from ckrm_tf.data import load_dataset, phantom_anatomy
from ckrm_tf.data.dataset import Dataset
from ckrm_tf.data.phantom import CARDIOMEGALY, CLASS_NAMES, NORMAL, PNEUMONIA, phantom
from ckrm_tf.errors import CKRMError


@pytest.fixture(scope="module")
def chests() -> Dataset:
    return phantom((150, 30, 90))


def test_shapes_types_and_balance(chests: Dataset) -> None:
    assert chests.class_names == CLASS_NAMES == ("normal", "cardiomegaly", "pneumonia")
    for split, count in zip(chests.splits().values(), (150, 30, 90), strict=True):
        assert split.images.shape == (count, 64, 64, 1)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(np.bincount(split.labels), [count // 3] * 3)
        assert split.gaze is not None
        assert split.gaze.dtype == np.float32
        assert split.region is not None
        assert split.region.dtype == np.bool_
        np.testing.assert_array_equal(split.gaze.max(axis=(1, 2)), 1)
        assert split.gaze.min() >= 0


def test_same_seed_same_bits_and_other_seed_other_bits() -> None:
    first, again, other = phantom(9), phantom(9), phantom(9, seed=2)
    for name, split in first.splits().items():
        twin = again.splits()[name]
        for field in ("images", "labels", "gaze", "region"):
            np.testing.assert_array_equal(getattr(split, field), getattr(twin, field))
        assert not np.array_equal(split.images, other.splits()[name].images)


def test_splits_share_no_image(chests: Dataset) -> None:
    images = np.concatenate([split.images for split in chests.splits().values()])
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_regions_lie_where_the_disease_is(chests: Dataset) -> None:
    labels, region = chests.train.labels, chests.train.region
    assert region is not None
    area = region.mean(axis=(1, 2))
    assert area[labels == NORMAL].max() == 0
    assert area[labels != NORMAL].min() > 0
    # A heart is one piece of a tenth or so of the film; opacities are smaller.
    assert all(ndimage.label(r)[1] == 1 for r in region[labels == CARDIOMEGALY])
    assert 0.05 < area[labels == CARDIOMEGALY].mean() < 0.2
    assert area[labels == PNEUMONIA].mean() < area[labels == CARDIOMEGALY].mean()


def test_gaze_is_denser_on_the_disease_than_on_the_film(chests: Dataset) -> None:
    split = chests.train
    assert split.gaze is not None
    assert split.region is not None
    for label, factor in ((CARDIOMEGALY, 3), (PNEUMONIA, 5)):
        of_class = split.labels == label
        gaze, region = split.gaze[of_class], split.region[of_class]
        assert gaze[region].mean() > factor * gaze.mean()


def test_gaze_of_an_enlarged_heart_follows_its_border_not_its_centre(chests: Dataset) -> None:
    split = chests.train
    assert split.gaze is not None
    assert split.region is not None
    sick = split.labels == CARDIOMEGALY
    border, centre = [], []
    for gaze, region in zip(split.gaze[sick], split.region[sick], strict=True):
        depth = ndimage.distance_transform_edt(region)
        border.append(gaze[(depth > 0) & (depth <= 2)].max())
        centre.append(gaze[depth == depth.max()].mean())
    assert np.mean(border) > 1.2 * np.mean(centre)


def test_opacities_brighten_their_region() -> None:
    # The same streams with and without the disease differ by the disease alone.
    sick, well = phantom(60, seed=4).train, phantom(60, seed=4, separation=0).train
    np.testing.assert_array_equal(sick.labels, well.labels)
    normal = sick.labels == NORMAL
    np.testing.assert_array_equal(sick.images[normal], well.images[normal])
    change = (sick.images.astype(float) - well.images)[..., 0]
    pneumonia = sick.labels == PNEUMONIA
    assert sick.region is not None
    for difference, region in zip(change[pneumonia], sick.region[pneumonia], strict=True):
        assert difference[region].mean() > difference[~region].mean()
    assert change[pneumonia].min() >= -1


def _linear_auc(data: Dataset) -> float:
    model = make_pipeline(PCA(20, whiten=True, random_state=0), LogisticRegression(C=0.05))
    train, test = (s.images.reshape(len(s), -1) / 255.0 for s in (data.train, data.test))
    model.fit(train, data.train.labels)
    return float(roc_auc_score(data.test.labels, model.predict_proba(test), multi_class="ovr"))


def test_classes_overlap_but_differ() -> None:
    # A linear reader finds something and far from everything; with no separation, nothing:
    # the deviation of an AUC of 60 against 120 images is .045, of the mean of three less.
    assert 0.6 < _linear_auc(phantom((240, 3, 180), 32)) < 0.9
    assert 0.4 < _linear_auc(phantom((240, 3, 180), 32, separation=0)) < 0.6


@settings(deadline=None, max_examples=15)
@given(
    st.tuples(st.integers(16, 40), st.integers(16, 40)),
    st.integers(0, 2**32),
    st.floats(0, 3),
)
def test_any_size_seed_and_separation_draws(
    size: tuple[int, int], seed: int, separation: float
) -> None:
    data = phantom((3, 3, 3), size, seed, separation)
    assert data.input_shape == (*size, 1)


def test_heart_border_is_where_inside_vanishes() -> None:
    heart = phantom_anatomy.Heart(x=0.1, y=0.3, half_width=0.4, half_height=0.3, tilt=0.35)
    points = heart.border(np.linspace(0, 6, 25))
    on_border = phantom_anatomy.Grid(points[:, 0], points[:, 1])
    np.testing.assert_allclose(heart.inside(on_border), 0, atol=1e-12)


def test_load_dataset_picks_it_with_options() -> None:
    data = load_dataset("phantom", image_size=32, seed=7, n=(6, 3, 3))
    np.testing.assert_array_equal(data.test.images, phantom((6, 3, 3), 32, 7).test.images)
    np.testing.assert_array_equal(phantom(9).val.images, phantom((9, 3, 3)).val.images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 3}, "each at least 3"),
        ({"n": (6, 3)}, "train, val and test"),
        ({"n": (6, 3, 2)}, "each at least 3"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"seed": 1.5}, "seed: expected a whole number"),
        ({"separation": -0.5}, "separation: expected"),
        ({"separation": float("nan")}, "separation: expected"),
        ({"image_size": 0}, "image_size: expected"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(CKRMError, match=message):
        phantom(**arguments)

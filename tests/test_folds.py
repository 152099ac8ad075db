"""Folds: every training and test image judged once, by networks that have not seen it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare

from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.data.folds import folds, search_folds
from ckrm_tf.data.hold_out import hold_out
from ckrm_tf.errors import CKRMError

# Images, by class, of each split.
COUNTS = {"train": (20, 14, 6), "val": (4, 3, 2), "test": (5, 4, 3)}


def numbered(counts, first, gaze=False):
    """A split whose images hold their own number, so that each can be followed."""
    labels = np.repeat(np.arange(len(counts)), counts)
    numbers = np.arange(first, first + len(labels))
    images = np.broadcast_to(numbers[:, None, None, None], (len(labels), 4, 4, 1))
    maps = np.zeros((len(labels), 4, 4), np.float32) if gaze else None
    return Split(images.astype(np.float32), labels, gaze=maps, ids=numbers.astype(str))


@pytest.fixture
def data():
    splits, first = {}, 0
    for name, counts in COUNTS.items():
        splits[name] = numbered(counts, first)
        first += sum(counts)
    return Dataset("numbers", ("a", "b", "c"), **splits)


def numbers_of(split):
    assert [str(int(n)) for n in split.images[:, 0, 0, 0]] == split.ids.tolist()
    return split.images[:, 0, 0, 0].astype(int).tolist()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_image_is_judged_once_by_who_has_not_seen_it(data, count):
    found = list(folds(data, count))
    pool = numbers_of(data.train) + numbers_of(data.test)
    judged = [n for part in found for n in numbers_of(part.test)]
    assert sorted(judged) == sorted(pool)
    labels = dict(zip(pool, [*data.train.labels, *data.test.labels], strict=True))
    for part in found:
        train = numbers_of(part.train)
        assert not set(train) & set(numbers_of(part.test))
        # The validation images chose the network: trained on, not judged.
        assert set(numbers_of(data.val)) <= set(train)
        assert sorted(train + numbers_of(part.test)) == sorted(pool + numbers_of(data.val))
        assert part.test.labels.tolist() == [labels[n] for n in numbers_of(part.test)]
        assert part.val is part.test


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_are_alike(data, count):
    found = list(folds(data, count))
    sizes = [len(part.test) for part in found]
    assert max(sizes) - min(sizes) <= 1
    for label in range(3):
        each = [int(np.sum(part.test.labels == label)) for part in found]
        assert max(each) - min(each) <= 1


def test_the_dealing_is_the_seeds(data):
    first, again, other = (
        [numbers_of(part.test) for part in folds(data, 3, seed)] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_every_fold_is_as_likely(data):
    hits = np.zeros(3)
    for seed in range(600):
        hits += [0 in numbers_of(part.test) for part in folds(data, 3, seed)]
    # Under the null one seed in a million is this far off.
    assert chisquare(hits).pvalue > 1e-6


def test_what_only_some_splits_have_is_left_out(data):
    with_gaze = replace(data, train=numbered(COUNTS["train"], 0, gaze=True))
    assert next(folds(with_gaze, 2)).train.gaze is None
    everywhere = replace(
        with_gaze, **{n: numbered(COUNTS[n], 50, gaze=True) for n in ("val", "test")}
    )
    part = next(folds(everywhere, 2))
    assert part.train.gaze.shape == part.train.images.shape[:3]


@pytest.mark.parametrize("count", [1, 0, -3, 2.0, True])
def test_fewer_than_two_folds_are_refused(data, count):
    with pytest.raises(CKRMError, match="folds: expected a whole number of at least 2"):
        folds(data, count)


def test_a_class_with_fewer_images_than_folds_is_named(data):
    with pytest.raises(CKRMError, match="class 'c': images for 10 folds: expected at least 10"):
        folds(data, 10)


def with_patients(data, images):
    """The same images, so many of each patient, in the order of their labels."""
    found, first = {}, 0
    for name, split in data.splits().items():
        names = np.array([f"p{first + i // images}" for i in range(len(split))])
        found[name] = replace(split, patients=names)
        first += len(split)
    return replace(data, **found)


def patients_of(split):
    return set(split.patients.tolist())


def named_as_in(known, split):
    names = {
        number: patient
        for own in known.splits().values()
        for number, patient in zip(numbers_of(own), own.patients, strict=True)
    }
    return replace(split, patients=np.array([names[n] for n in numbers_of(split)]))


@pytest.mark.parametrize("images", [1, 2])
def test_a_patient_is_on_one_side_of_a_fold(data, images):
    known = with_patients(data, images)
    seen = []
    for part in folds(known, 2):
        assert not patients_of(part.train) & patients_of(part.test)
        seen += numbers_of(part.test)
    assert len(set(seen)) == len(seen)
    # Without their names the images of a patient are dealt apart.
    apart = [
        patients_of(named_as_in(known, part.train)) & patients_of(named_as_in(known, part.test))
        for part in folds(data, 2)
    ]
    assert images == 1 or any(apart)


def test_patients_of_the_validation_split_are_not_judged(data):
    known = with_patients(data, 2)
    shared = known.train.patients[0]
    val = replace(known.val, patients=np.array([shared, *known.val.patients[1:]]))
    judged = [n for part in folds(replace(known, val=val), 2) for n in numbers_of(part.test)]
    lost = set(numbers_of(data.train) + numbers_of(data.test)) - set(judged)
    names = dict(zip(numbers_of(known.train), known.train.patients, strict=True))
    assert lost == {n for n, patient in names.items() if patient == shared}
    assert len(lost) == 2


@pytest.mark.parametrize("images", [1, 2])
def test_folds_of_a_search_validate_every_image_but_the_test_splits_once(data, images):
    data = with_patients(data, images)
    parts = search_folds(data, 3)
    pool = numbers_of(data.train) + numbers_of(data.val)
    assert sorted(n for part in parts for n in numbers_of(part.val)) == sorted(pool)
    for part in parts:
        assert sorted(numbers_of(part.train) + numbers_of(part.val)) == sorted(pool)
        assert not patients_of(part.train) & patients_of(part.val)
        assert part.test is data.test
    assert len(search_folds(data, 0)) == 0
    other = search_folds(data, 3, seed=2)
    assert numbers_of(other[0].val) != numbers_of(parts[0].val)


def test_images_that_score_slices_are_seen_by_no_training(data):
    data = with_patients(data, 2)
    less, kept = hold_out(data, 0.25)
    assert sorted(numbers_of(less.train) + numbers_of(kept)) == sorted(numbers_of(data.train))
    assert not patients_of(less.train) & patients_of(kept)
    assert set(kept.labels.tolist()) == {0, 1, 2}
    assert 0.15 < len(kept) / len(data.train) < 0.4
    assert less.val is data.val
    assert less.test is data.test
    assert numbers_of(hold_out(data, 0.25, seed=2)[1]) != numbers_of(kept)
    for share in (0, 0.6, -1):
        with pytest.raises(CKRMError, match="share held out"):
            hold_out(data, share)


def test_a_small_class_does_not_set_the_share_of_the_others(data):
    many = replace(data, train=numbered((100, 100, 2), 0))
    less, kept = hold_out(many, 0.2)
    assert np.bincount(kept.labels).tolist() == [20, 20, 1]
    assert np.bincount(less.train.labels).tolist() == [80, 80, 1]
    one = replace(data, train=numbered((100, 100, 1), 0))
    with pytest.raises(CKRMError, match=r"class 'c'.*--score-share 0"):
        hold_out(one, 0.2)


def test_images_that_chose_are_trained_on_and_never_judged(data):
    spent = np.zeros(len(data.train), bool)
    spent[::4] = True
    chose = {numbers_of(data.train)[i] for i in np.flatnonzero(spent)}
    judged = [n for part in folds(data, 2, spent=spent) for n in numbers_of(part.test)]
    assert not chose & set(judged)
    assert all(chose <= set(numbers_of(part.train)) for part in folds(data, 2, spent=spent))
    assert chose & {n for part in folds(data, 2) for n in numbers_of(part.test)}

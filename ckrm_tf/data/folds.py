"""Cross-validation: every image but the validation split's is judged once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.errors import CKRMError


def folds(
    data: Dataset, count: int, seed: int = 1, spent: np.ndarray | None = None
) -> Iterator[Dataset]:
    """`count` data sets whose test splits are disjoint and together all training and test images.

    A test split of a hundred images cannot tell two networks of nearly equal AUC apart; all images
    can. Those of the validation split, whose AUC chose the network, are trained on and never
    judged; the training images had a say too, through the networks trained on them and their
    lambda, so only the weights are new to a judged image. The validation split of a fold is its
    test split: nothing may be chosen by it.

    Images are dealt one by one, those of each class at random, evenly to one image. Where patients
    are known, patients are dealt, each of the class of their first image: no patient is on both
    sides. Images of patients who have others in the validation split are not judged either.

    Args:
        data: the splits that the search had.
        count: number of folds.
        seed: of the dealing.
        spent: (training images,) bool: those that chose something; trained on, never judged.

    Returns:
        The folds one after the other, each a copy of the images. Gaze maps, ids or regions that
        not all splits have are left out.

    Raises:
        CKRMError: fewer than two folds, or a class with fewer images than folds.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise CKRMError("folds", expected="a whole number of at least 2", received=count)
    pool = _joined(data.train, data.test)
    place = deal(pool.labels, pool.patients, count, data.class_names, seed)
    if pool.patients is not None and data.val.patients is not None:
        place[np.isin(pool.patients, data.val.patients)] = count
    if spent is not None:
        place[: len(spent)][spent] = count
    return _cut(data, place, count)


class Folds(Sequence[Dataset]):
    """Data sets that are cut when they are asked for; the last one stays at hand.

    Args:
        data: the splits.
        place: the fold of each training and validation image, in that order.
        count: number of folds.
    """

    def __init__(self, data: Dataset, place: np.ndarray, count: int) -> None:
        self.data, self.place, self._count = data, place, count
        self._last: tuple[int, Dataset] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < self._count:
            raise IndexError(number)
        if self._last is None or self._last[0] != number:
            self._last = None
            pool = _joined(self.data.train, self.data.val)
            part = replace(
                self.data,
                name=f"{self.data.name}, fold {number + 1} of {self._count}",
                train=taken(pool, self.place != number),
                val=taken(pool, self.place == number),
            )
            self._last = number, check_dataset(part)
        return self._last[1]


def search_folds(data: Dataset, count: int, seed: int = 1) -> Folds:
    """`count` data sets whose validation splits together are all training and validation images.

    For a search: each training validates on other images, so a network that suits one validation
    split by chance is found out. The test split is untouched. Patients stay whole where they are
    known.

    Args:
        data: the splits.
        count: number of folds; 0 gives none.
        seed: of the dealing.

    Raises:
        CKRMError: a class with fewer images, or patients, than folds.
    """
    if not count:
        return Folds(data, np.empty(0, np.int64), 0)
    labels, patients = _pooled(data)
    return Folds(data, deal(labels, patients, count, data.class_names, seed), count)


def most_folds(data: Dataset, most: int) -> int:
    """As many folds for `search_folds` as every class has images or patients for; 0 for none."""
    labels, patients = _pooled(data)
    first, _ = owners(labels, patients)
    least = min(most, int(np.bincount(labels[first], minlength=data.classes).min()))
    return least if least > 1 else 0


def _pooled(data: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels and patients of the training and the validation images."""
    labels = np.concatenate([data.train.labels, data.val.labels])
    if data.train.patients is None or data.val.patients is None:
        return labels, None
    return labels, np.concatenate([data.train.patients, data.val.patients])


def owners(labels: np.ndarray, patients: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The first image of each patient, and the patient of each image, by number."""
    if patients is None:
        return np.arange(len(labels)), np.arange(len(labels))
    _, first, owner = np.unique(patients, return_index=True, return_inverse=True)
    return first, owner


def deal(
    labels: np.ndarray,
    patients: np.ndarray | None,
    count: int,
    class_names: Sequence[str],
    seed: int,
) -> np.ndarray:
    """The part, 0 to `count` - 1, of each image; patients stay whole where they are known.

    Args:
        labels: (n,) class indices.
        patients: (n,) names, or None: every image counts as a patient of its own.
        count: number of parts.
        class_names: for the message.
        seed: of the dealing.

    Raises:
        CKRMError: a class with fewer images, or patients, than parts.
    """
    rng = np.random.default_rng(seed)
    first, owner = owners(labels, patients)
    place = np.empty(len(first), np.int64)
    dealt = 0
    for label, name in enumerate(class_names):
        members = rng.permutation(np.flatnonzero(labels[first] == label))
        if len(members) < count:
            raise CKRMError(
                f"class {name!r}: {'images' if patients is None else 'patients'} for {count} folds",
                expected=f"at least {count}",
                received=len(members),
            )
        # Going on where the last class ended keeps the parts' sizes equal.
        place[members] = (dealt + np.arange(len(members))) % count
        dealt += len(members)
    return place[owner]


def _cut(data: Dataset, place: np.ndarray, count: int) -> Iterator[Dataset]:
    for number in range(count):
        pool = _joined(data.train, data.test)
        judged = taken(pool, place == number)
        train = _joined(taken(pool, place != number), data.val)
        name = f"{data.name}, fold {number + 1} of {count}"
        yield check_dataset(replace(data, name=name, train=train, val=judged, test=judged))


def _arrays(split: Split) -> dict[str, np.ndarray | None]:
    return {f.name: getattr(split, f.name) for f in fields(Split)}


def _joined(first: Split, second: Split) -> Split:
    """Both splits' images; what only one of them has, such as gaze maps, is left out."""
    pairs = {k: (v, getattr(second, k)) for k, v in _arrays(first).items()}
    return Split(
        **{
            k: None if a is None or b is None else np.concatenate([a, b])
            for k, (a, b) in pairs.items()
        }  # type: ignore[arg-type]
    )


def taken(split: Split, chosen: np.ndarray) -> Split:
    """The chosen images of a split, with all that belongs to them."""
    return Split(
        **{k: None if v is None else v[chosen] for k, v in _arrays(split).items()}  # type: ignore[arg-type]
    )

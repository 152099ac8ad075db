"""Data sources: one file each, one registry, one function that picks.

Example:
    >>> from ckrm_tf.data import load_dataset
    >>> data = load_dataset("phantom", n=(9, 3, 3), image_size=16)
    >>> data.input_shape, data.notes
    ((16, 16, 1), ('pixels 0 to 255, uint8: divided by 255',))
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from os import PathLike, fspath
from typing import Any

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.egd_cxr import EGD_PREFIX
from ckrm_tf.data.egd_cxr import SOURCE as EGD_CXR
from ckrm_tf.data.folder import SOURCE as FOLDER
from ckrm_tf.data.limits import brief
from ckrm_tf.data.npz import SOURCE as NPZ
from ckrm_tf.data.options import Option, Source
from ckrm_tf.data.phantom import SOURCE as PHANTOM
from ckrm_tf.data.resize import Size
from ckrm_tf.errors import CKRMError

__all__ = [
    "EGD_PREFIX",
    "SOURCES",
    "Dataset",
    "Option",
    "Source",
    "Split",
    "check_dataset",
    "load_dataset",
    "options",
    "source_of",
]

# The first that matches reads the data.
SOURCES: tuple[Source, ...] = (PHANTOM, NPZ, FOLDER, EGD_CXR)


def options() -> dict[str, Option]:
    """Every option of every source, by name; those of one name are one option."""
    return {option.name: option for source in SOURCES for option in source.options}


def source_of(text: str | PathLike[str]) -> Source:
    """The source that `text` names.

    Raises:
        CKRMError: when it names none.
    """
    text = fspath(text)
    for source in SOURCES:
        if source.matches(text):
            return source
    near = get_close_matches(text, ["phantom"], n=1)
    raise CKRMError(
        "unknown data source",
        expected=", ".join(source.form for source in SOURCES),
        received=repr(brief(text)),
        hint="Did you mean 'phantom'?" if near else None,
    )


def load_dataset(
    source: str | PathLike[str] = "phantom",
    *,
    image_size: Size | None = None,
    seed: int = 1,
    progress: Callable[[int, int], None] | None = None,
    **given: Any,
) -> Dataset:
    """Read and check a data set, whatever its source.

    Args:
        source: "phantom" (embedded generator), a .npz file in the MedMNIST layout, a folder of
            images per class, or "egd-cxr:PATH" (the EGD-CXR files).
        image_size: side in pixels, or (height, width); the source's own size by default. Aspect
            is not kept.
        seed: of whatever the source draws: phantoms, or a split that the files do not fix.
        progress: called with the number of images read and of all, where reading takes long.
        given: options of the source: see `options` and `phantom`, `load_npz`, `load_folder`,
            `load_egd_cxr`.

    Returns:
        A data set that has passed `check_dataset`; its `notes` tell what was assumed.

    Raises:
        CKRMError: when the source or an option is unknown, or the data are unfit for training.

    Example:
        >>> from ckrm_tf import load_dataset
        >>> data = load_dataset("phantom", n=(9, 3, 3), image_size=16)
        >>> data.train.images.shape, data.class_names
        ((9, 16, 16, 1), ('normal', 'cardiomegaly', 'pneumonia'))
        >>> load_dataset("phantom", separtion=2)
        Traceback (most recent call last):
            ...
        ckrm_tf.errors.CKRMError: unknown option of phantom: ... Did you mean 'separation'?
    """
    found = source_of(source)
    found.check(given)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise CKRMError("seed", expected="a whole number of at least 0", received=repr(seed))
    return found.load(fspath(source), image_size=image_size, seed=seed, progress=progress, **given)

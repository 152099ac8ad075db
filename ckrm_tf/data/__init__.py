"""Data sources: one file each, one function that picks."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from difflib import get_close_matches
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from ckrm_tf.data.dataset import Dataset, Split, check_dataset
from ckrm_tf.data.folder import load_folder
from ckrm_tf.data.npz import load_npz
from ckrm_tf.data.phantom import phantom as draw_phantom
from ckrm_tf.data.resize import Size, resize_dataset
from ckrm_tf.errors import CKRMError, unknown_name

__all__ = ["Dataset", "Split", "check_dataset", "load_dataset"]

EGD_PREFIX = "egd-cxr:"


def load_dataset(
    source: str | PathLike[str] = "phantom",
    *,
    image_size: Size | None = None,
    seed: int = 1,
    **options: Any,
) -> Dataset:
    """Read and check a data set, whatever its source.

    Args:
        source: "phantom" (embedded generator), a .npz file in the MedMNIST layout, a folder of
            images per class, or "egd-cxr:PATH" (the EGD-CXR files).
        image_size: side in pixels, or (height, width); the source's own size by default. Aspect
            is not kept.
        seed: of whatever the source draws: phantoms, or a split that the files do not fix.
        options: further arguments of the source: see `phantom`, `load_npz`, `load_folder`,
            `load_egd_cxr`.

    Returns:
        A data set that has passed `check_dataset`.

    Raises:
        CKRMError: when the source or an option is unknown, or the data are unfit for training.
    """
    source = fspath(source)
    if source == "phantom":
        size = {} if image_size is None else {"image_size": image_size}
        return check_dataset(_call(draw_phantom, seed=seed, **size, **options))
    if source.startswith(EGD_PREFIX):
        # Imported here: it needs a DICOM reader, which the default install does not bring.
        from ckrm_tf.data.egd_cxr import load_egd_cxr  # noqa: PLC0415

        path = Path(source.removeprefix(EGD_PREFIX)).expanduser()
        return check_dataset(_call(load_egd_cxr, path, image_size=image_size, seed=seed, **options))
    path = Path(source).expanduser()
    if path.suffix.lower() == ".npz":
        data = _call(load_npz, path, **options)
        return data if image_size is None else check_dataset(resize_dataset(data, image_size))
    if source and path.is_dir():
        return _call(load_folder, path, image_size=image_size, seed=seed, **options)
    near = get_close_matches(source, ["phantom"], n=1)
    raise CKRMError(
        "unknown data source",
        expected='"phantom", a .npz file, a folder of images per class, or "egd-cxr:PATH"',
        received=repr(source),
        hint="Did you mean 'phantom'?" if near else None,
    )


def _call(loader: Callable[..., Dataset], *args: Any, **options: Any) -> Dataset:
    """Call `loader`, or name the option that it does not have."""
    known = [
        p.name
        for p in inspect.signature(loader).parameters.values()
        if p.name not in ("path", "root", "image_size", "seed")
    ]
    for name in options:
        if name not in (*known, "image_size", "seed"):
            raise unknown_name(f"option of {loader.__name__}", name, known)
    return loader(*args, **options)

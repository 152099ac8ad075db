"""Between a Keras model and plain arrays: its prunable kernels out, masks in, masks on disk."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.pruning.constraint import SliceMask
from ckrm_tf.pruning.masks import Masks


def prunable(
    model: keras.Model, *, stem: bool = True, pointwise: bool = True
) -> dict[str, keras.layers.Conv2D]:
    """The model's convolutions with square kernels, nested ones included, by name.

    A layer goes by its name, or by its path where two share a name.

    Args:
        model: a built model.
        stem: include the model's first convolution.
        pointwise: include 1x1 convolutions, whose slices are single weights.

    Raises:
        CKRMError: when no convolution is left, or two cannot be told apart.
    """
    found = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Conv2D) and layer.built
    ]
    if not stem:
        found = found[1:]
    found = [
        layer
        for layer in found
        if layer.kernel_size[0] == layer.kernel_size[1] and (pointwise or layer.kernel_size[0] > 1)
    ]
    names = [layer.name for layer in found]
    keys = [layer.name if names.count(layer.name) == 1 else layer.path for layer in found]
    if not found:
        raise CKRMError("model to prune", expected="a built Conv2D with a square kernel")
    if len(set(keys)) < len(keys):
        twice = sorted({key for key in keys if keys.count(key) > 1})
        raise CKRMError("convolution names", expected="different names", received=twice)
    return dict(zip(keys, found, strict=True))


def kernels_of(
    model: keras.Model, *, stem: bool = True, pointwise: bool = True
) -> dict[str, np.ndarray]:
    """Copies of the prunable kernels, (k, k, F1, F2) by layer name; arguments as `prunable`."""
    layers = prunable(model, stem=stem, pointwise=pointwise)
    return {name: np.array(at.kernel.numpy()) for name, at in layers.items()}


def zero_slices(model: keras.Model, masks: Mapping[str, np.ndarray]) -> None:
    """Set the dead slices to zero once; nothing keeps later training from moving them."""
    for layer, mask in _checked(model, masks):
        kernel = np.array(layer.kernel.numpy())
        kernel[:, :, ~mask] = 0
        layer.kernel.assign(kernel)


def install_masks(model: keras.Model, masks: Mapping[str, np.ndarray]) -> None:
    """Zero the dead slices and keep them at zero after every later optimizer update.

    A layer's own kernel constraint stays in force. A model saved afterwards carries the masks in
    its configuration; convolutions nested in a custom layer do so only if that layer saves their
    constraints (else keep the masks with `save_masks`, or read them back with `zero_masks`).

    Args:
        model: a built model. A compiled one gets a new training step when a constraint is added.
        masks: (F1, F2) bool by layer name; layers without a mask are left alone.

    Raises:
        CKRMError: for an unknown layer or a mask of another shape, before anything is changed.
    """
    added = False
    for layer, mask in _checked(model, masks):
        if isinstance(layer.kernel_constraint, SliceMask):
            layer.kernel_constraint.mask = mask
        else:
            layer.kernel_constraint = SliceMask(mask, inner=layer.kernel_constraint)
            added = True
        layer.kernel.constraint = layer.kernel_constraint
    zero_slices(model, masks)
    if added and getattr(model, "train_function", None) is not None:
        # A step traced before does not know the new constraints.
        model.make_train_function(force=True)


def masks_of(model: keras.Model) -> Masks:
    """The masks in force, by layer name; empty for a model that has none."""
    return {
        name: layer.kernel_constraint.mask
        for name, layer in prunable(model).items()
        if isinstance(layer.kernel_constraint, SliceMask)
    }


def save_masks(path: str | os.PathLike[str], masks: Mapping[str, np.ndarray]) -> None:
    """Write masks to one npz file, all or nothing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            arrays: dict[str, Any] = {k: np.asarray(v, bool) for k, v in masks.items()}
            np.savez_compressed(file, **arrays)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def load_masks(path: str | os.PathLike[str]) -> Masks:
    """Masks written by `save_masks`.

    Raises:
        CKRMError: when the file is missing or not an npz of two-dimensional bool arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            masks = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise CKRMError("masks file", expected="an existing file", received=str(path)) from error
    except (OSError, ValueError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise CKRMError("masks file", expected="npz of masks", received=str(path)) from error
    for name, mask in masks.items():
        if mask.dtype != bool or mask.ndim != 2:
            raise CKRMError(
                f"masks file {path}, {name}",
                expected="a two-dimensional bool array",
                received=f"{mask.dtype} of shape {mask.shape}",
            )
    return masks


def _checked(
    model: keras.Model, masks: Mapping[str, np.ndarray]
) -> list[tuple[keras.layers.Conv2D, np.ndarray]]:
    layers = prunable(model)
    pairs = []
    for name, mask in masks.items():
        if name not in layers:
            raise CKRMError("masked layer", expected=f"one of {', '.join(layers)}", received=name)
        shape = tuple(layers[name].kernel.shape[2:])
        if np.shape(mask) != shape:
            raise CKRMError(f"mask of {name}", expected=f"shape {shape}", received=np.shape(mask))
        pairs.append((layers[name], np.asarray(mask, bool)))
    return pairs

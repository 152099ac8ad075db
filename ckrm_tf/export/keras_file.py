"""Keras' own file: the model as it is, in its own precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from ckrm_tf.export.base import Call, Format
from ckrm_tf.export.flat import FlatModel


def _write(flat: FlatModel, path: Path, facts: Mapping[str, Any]) -> None:
    flat.model.save(path)


def _read(path: Path, flat: FlatModel) -> Call:
    # The file was written a moment ago from a model of this process: its code is trusted.
    return FlatModel.of(keras.models.load_model(path, compile=False, safe_mode=False)).arrays


FORMAT = Format(
    name="keras",
    file="model.keras",
    write=_write,
    read=_read,
    tolerance=1e-5,
    needs=("keras",),
    install="keras",
    float32=False,
)

"""LiteRT in whole numbers: weights and activations of eight bits, inputs and outputs in float32.

Post-training quantisation (arXiv 1712.05877): the range of every activation is read off examples,
weights are rounded by output channel. All operations are in whole numbers; a model with one that
has no such form is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export import litert
from ckrm_tf.export.base import Format
from ckrm_tf.export.flat import FlatModel


def no_examples() -> CKRMError:
    """The error where nothing is given to read ranges off."""
    return CKRMError(
        "export format litert-int8",
        expected="`examples`, some hundred cases as the model takes them",
        received="none",
        hint="The ranges of activations are read off them.",
    )


def _write(flat: FlatModel, path: Path, facts: Mapping[str, Any]) -> None:
    import tensorflow as tf  # noqa: PLC0415 - heavy, and absent with another backend

    if not flat.examples:
        raise no_examples()

    def shown() -> Iterator[dict[str, np.ndarray]]:
        # One case at a time, or as many as the model takes.
        size = flat.inputs[0].shape[0] or 1
        for start in range(0, len(flat.examples[0]) - size + 1, size):
            pairs = zip(flat.inputs, flat.examples, strict=True)
            yield {port.name: array[start : start + size] for port, array in pairs}

    with litert.converter(flat) as found:
        found.optimizations = [tf.lite.Optimize.DEFAULT]
        found.representative_dataset = shown
        found.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        with warnings.catch_warnings():
            # TensorFlow's own interpreter runs the examples, and says that it will go.
            warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
            path.write_bytes(found.convert())


FORMAT = Format(
    name="litert-int8",
    file="model_int8.tflite",
    write=_write,
    read=litert.read,
    tolerance=float("inf"),
    needs=litert.FORMAT.needs,
    install=litert.FORMAT.install,
    exact=False,
    reader=litert.READER,
)

"""LiteRT (once TensorFlow Lite) in float32 with its built-in operations alone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.export.base import Call, Format
from ckrm_tf.export.flat import FlatModel, traced

SIGNATURE = "serving_default"


READER = """
from ai_edge_litert.interpreter import Interpreter

def read(path):
    runner = Interpreter(model_path=path).get_signature_runner("serving_default")
    return lambda given: runner(**given)
"""


def _write(flat: FlatModel, path: Path, facts: Mapping[str, Any]) -> None:
    with converter(flat) as found:
        path.write_bytes(found.convert())


@contextmanager
def converter(flat: FlatModel) -> Iterator[Any]:
    """TensorFlow's converter of `flat`, with the names of its inputs and outputs."""
    import tensorflow as tf  # noqa: PLC0415 - heavy, and absent with another backend

    # By way of a SavedModel: a concrete function alone loses the names of its outputs.
    function = traced(flat).get_concrete_function()
    module = tf.Module()
    module.captured = list(function.variables)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: function})
        yield tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])


def read(path: Path, flat: FlatModel) -> Call:
    """The function that a file of LiteRT holds."""
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - an extra

    runner = Interpreter(model_path=str(path)).get_signature_runner(SIGNATURE)

    def call(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        given = {port.name: array for port, array in zip(flat.inputs, arrays, strict=True)}
        found = runner(**given)
        return [np.asarray(found[port.name]) for port in flat.outputs]

    return call


FORMAT = Format(
    name="litert",
    file="model.tflite",
    write=_write,
    read=read,
    tolerance=1e-4,
    needs=("tensorflow", "ai_edge_litert"),
    install="'ckrm-tf[litert]'",
    reader=READER,
)

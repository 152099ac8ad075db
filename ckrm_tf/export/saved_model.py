"""The SavedModel: named endpoints, and the same file seen by a process without this package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ckrm_tf.export import fresh
from ckrm_tf.export.base import Call, Format, need
from ckrm_tf.export.flat import FlatModel, specs

SIGNATURE = "serving_default"

READER = """
import tensorflow as tf

def read(path):
    global model
    model = tf.saved_model.load(path)
    serve = model.signatures["serving_default"]
    def call(given):
        found = serve(**{name: tf.constant(array) for name, array in given.items()})
        return {name: found[name].numpy() for name in found}
    return call
"""
# Prints the version of TensorFlow and the constants asked for.
CONSTANTS = """
import json
answer = {"tensorflow": tf.__version__}
for name in sys.argv[4:]:
    values = getattr(model, name)()[name].numpy()
    answer[name] = [v.decode() for v in values] if values.ndim else values.decode()
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class FreshAnswer:
    """What another process read from a SavedModel: the outputs of each call, and constants."""

    outputs: list[list[np.ndarray]]
    constants: dict[str, str | list[str]]
    tensorflow: str


def _write(flat: FlatModel, path: Path, facts: Mapping[str, Any]) -> None:
    """Write the endpoint `serve`, also under `serving_default`, and one for each fact.

    Facts are constants of the graph, so there is no asset file to lose.
    """
    tf = tensorflow()
    archive = keras.export.ExportArchive()
    archive.track(flat.model)
    # Not `model.export`: it would leave augmentation switched on.
    archive.add_endpoint("serve", flat.function(), input_signature=specs(flat))
    for name, value in facts.items():
        archive.add_endpoint(name, _constant(tf, name, value))
    archive.write_out(str(path), verbose=False)


def _constant(tf: Any, name: str, value: object) -> Any:
    function = tf.function(lambda: {name: tf.constant(value)}, autograph=False)
    function()  # Keras takes a ready tf.function only once it is traced.
    return function


def _read(path: Path, flat: FlatModel) -> Call:
    tf = tensorflow()
    loaded = tf.saved_model.load(str(path))

    def call(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        given = {port.name: array for port, array in zip(flat.inputs, arrays, strict=True)}
        with keras.device("cpu:0"):
            # By way of `loaded`, which has to live as long as its signatures are called.
            found = loaded.signatures[SIGNATURE](
                **{name: tf.constant(array) for name, array in given.items()}
            )
        return [found[port.name].numpy() for port in flat.outputs]

    return call


def tensorflow() -> Any:
    """The TensorFlow module, which a SavedModel needs on any Keras backend."""
    return need("tensorflow", "tensorflow", "exporting a SavedModel")


def run_fresh(
    folder: Path,
    flat: FlatModel,
    calls: Sequence[Sequence[np.ndarray]],
    constants: Sequence[str] = (),
) -> FreshAnswer:
    """Read the SavedModel at `folder` in a new Python process with TensorFlow alone.

    Args:
        folder: of the SavedModel.
        flat: the model that was written; gives the names and order of inputs and outputs.
        calls: the inputs of each call.
        constants: endpoints that return text.

    Raises:
        CKRMError: when that process fails or takes more than 15 minutes.
    """
    outputs, printed = fresh.run_fresh(
        "the SavedModel", folder, flat, calls, READER, CONSTANTS, constants
    )
    answer = json.loads(printed.splitlines()[-1])
    return FreshAnswer(outputs, tensorflow=answer.pop("tensorflow"), constants=answer)


FORMAT = Format(
    name="saved_model",
    file="saved_model",
    write=_write,
    read=_read,
    tolerance=1e-5,
    needs=("tensorflow",),
    install="tensorflow",
    reader=READER,
)

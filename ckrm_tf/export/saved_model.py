"""The SavedModel: named endpoints, and the same file seen by a process without this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.base import Call, Format, need
from ckrm_tf.export.flat import FlatModel, specs

TIMEOUT_SECONDS = 900
SIGNATURE = "serving_default"

# Blocking the package's name proves that the SavedModel needs nothing of it.
FRESH_PROCESS = """
import json, sys
sys.modules["ckrm_tf"] = None
import numpy as np
import tensorflow as tf
folder, exchange, calls, constants = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
model = tf.saved_model.load(folder)
serve = model.signatures["serving_default"]
for call in range(calls):
    given = np.load(f"{exchange}/in{call}.npz")
    found = serve(**{name: tf.constant(given[name]) for name in given.files})
    np.savez(f"{exchange}/out{call}.npz", **{name: found[name].numpy() for name in found})
answer = {"tensorflow": tf.__version__}
for name in constants:
    values = getattr(model, name)()[name].numpy()
    answer[name] = [v.decode() for v in values] if values.ndim else values.decode()
with open(exchange + "/answer.json", "w") as file:
    json.dump(answer, file)
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
    # On the CPU: the process that asks usually holds the whole of an accelerator's memory.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    names = [port.name for port in flat.inputs]
    with tempfile.TemporaryDirectory() as exchange:
        for number, arrays in enumerate(calls):
            given: dict[str, Any] = dict(zip(names, arrays, strict=True))
            np.savez(Path(exchange, f"in{number}.npz"), **given)
        command = [sys.executable, "-P", "-c", FRESH_PROCESS, str(folder), exchange]
        try:
            done = subprocess.run(
                [*command, str(len(calls)), *constants],
                env=env,
                cwd=exchange,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CKRMError(
                "reading the SavedModel in a fresh process",
                expected=f"an answer within {TIMEOUT_SECONDS} s",
                received="none",
            ) from error
        if done.returncode:
            raise CKRMError(
                "reading the SavedModel in a fresh process",
                expected="exit status 0",
                received=f"{done.returncode}: {done.stderr.strip()[-600:]}",
            )
        answer = json.loads(Path(exchange, "answer.json").read_text(encoding="utf-8"))
        outputs = []
        for number in range(len(calls)):
            with np.load(Path(exchange, f"out{number}.npz")) as found:
                outputs.append([found[port.name] for port in flat.outputs])
        return FreshAnswer(outputs, tensorflow=answer.pop("tensorflow"), constants=answer)


FORMAT = Format(
    name="saved_model",
    file="saved_model",
    write=_write,
    read=_read,
    tolerance=1e-5,
    needs=("tensorflow",),
    install="tensorflow",
)

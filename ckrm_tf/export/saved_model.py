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
from ckrm_tf.export.inference import BATCH

TIMEOUT_SECONDS = 900

# Blocking the package's name proves that the SavedModel needs nothing of it.
FRESH_PROCESS = """
import json, sys
sys.modules["ckrm_tf"] = None
import numpy as np
import tensorflow as tf
folder, exchange, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
model = tf.saved_model.load(folder)
serve = model.signatures["serving_default"]
pixels = np.load(exchange + "/pixels.npy")
parts = [
    serve(image=tf.constant(pixels[i : i + batch]))["probabilities"].numpy()
    for i in range(0, len(pixels), batch)
]
np.save(exchange + "/probabilities.npy", np.concatenate(parts))
names = [name.decode() for name in model.class_names()["class_names"].numpy()]
with open(exchange + "/answer.json", "w") as file:
    json.dump({"class_names": names, "tensorflow": tf.__version__}, file)
"""


@dataclass(frozen=True)
class FreshAnswer:
    """What another process read from a SavedModel: probabilities (n, classes) and class names."""

    probabilities: np.ndarray
    class_names: list[str]
    tensorflow: str


def write_saved_model(
    model: keras.Model, folder: Path, class_names: Sequence[str], facts: Mapping[str, Any]
) -> None:
    """Write `model` with the endpoints `serve`, `class_names` and `metadata`.

    `serve`, also under `serving_default`, takes `image` as float32 and returns `probabilities`;
    names and facts are constants of the graph, so there is no asset file to lose.

    Raises:
        CKRMError: when TensorFlow is not installed.
    """
    tf = tensorflow()
    archive = keras.export.ExportArchive()
    archive.track(model)
    image = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")
    archive.add_endpoint(
        "serve",
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[image],
    )
    for name, value in (("class_names", list(class_names)), ("metadata", json.dumps(facts))):
        archive.add_endpoint(name, _constant(tf, name, value))
    archive.write_out(str(folder), verbose=False)


def _constant(tf: Any, name: str, value: object) -> Any:
    function = tf.function(lambda: {name: tf.constant(value)}, autograph=False)
    function()  # Keras takes a ready tf.function only once it is traced.
    return function


def tensorflow() -> Any:
    """The TensorFlow module, which a SavedModel needs on any Keras backend."""
    try:
        import tensorflow as tf  # noqa: PLC0415 - with another backend it may be absent
    except ImportError as error:
        raise CKRMError(
            "exporting a SavedModel",
            expected="TensorFlow installed",
            received=str(error),
            hint="pip install tensorflow",
        ) from error
    return tf


def run_fresh(folder: Path, pixels: np.ndarray) -> FreshAnswer:
    """Read the SavedModel at `folder` in a new Python process with TensorFlow alone.

    Args:
        folder: of the SavedModel.
        pixels: raw pixels, float32 (n, height, width, channels).

    Raises:
        CKRMError: when that process fails or takes more than 15 minutes.
    """
    # On the CPU: the process that asks usually holds the whole of an accelerator's memory.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryDirectory() as exchange:
        np.save(Path(exchange, "pixels.npy"), pixels)
        command = [sys.executable, "-P", "-c", FRESH_PROCESS, str(folder), exchange, str(BATCH)]
        try:
            done = subprocess.run(
                command,
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
        return FreshAnswer(np.load(Path(exchange, "probabilities.npy")), **answer)

"""Any Keras model as files of several formats, each read back and compared."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export import saved_model
from ckrm_tf.export.base import Call, Format
from ckrm_tf.export.compare import Arrays, calls_of, difference, spread
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.plain import in_float32, uncompiled
from ckrm_tf.export.registry import formats_named
from ckrm_tf.files import whole_folder

FACTS_FILE = "export.json"
# Of an output computed in reduced precision, from the same output in float32.
PRECISION_TOLERANCE = 0.1

Check = Literal["process", "here"]


@dataclass(frozen=True, slots=True)
class FilesReport:
    """What was written and how far it is from the Keras model.

    Attributes:
        folder: that holds the files.
        differences: of each format, the largest difference of an output over all calls, relative
            to the output's largest value.
        spread: largest standard deviation of an output between cases, relative in the same way;
            a check proves little unless this is far above the differences.
        precision: the difference between the model in float32, which every format but `keras`
            holds, and the model itself; 0 for a model in float32.
        seconds: CPU time of this process for writing and checking, by format.
    """

    folder: Path
    differences: Mapping[str, float]
    spread: float
    precision: float
    seconds: Mapping[str, float]


def export_files(
    model: keras.Model,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = ("keras", "saved_model"),
    inputs: np.ndarray | Sequence[np.ndarray] | None = None,
    metadata: Mapping[str, Any] | None = None,
    class_names: Sequence[str] | None = None,
    check: Check = "process",
) -> FilesReport:
    """Write `model` into `folder` in each of `formats`, and prove that every file computes it.

    Files hold the inference mode, so augmentation and dropout are off, and no training. They
    take and return what the model takes and returns, under the names of its input and output
    layers (`export.json` lists them). `.keras` keeps the precision of the model; the others
    compute in float32. The folder appears whole or not at all.

    Args:
        model: any built functional or Sequential model of Keras 3, with any number of inputs and
            outputs of any rank; sizes may vary.
        folder: must not exist or be empty.
        formats: of `keras`, `saved_model`, `onnx` and `litert`, written and checked in this order.
        inputs: what files are compared on, one array (cases, ...) for each input of the model;
            seeded noise by default.
        metadata: anything JSON can hold; goes into `export.json`, the SavedModel and the ONNX
            file.
        class_names: the same.
        check: where the SavedModel is read: in a fresh `process` that cannot import this package,
            or `here`, which takes no start of TensorFlow.

    Raises:
        CKRMError: when the folder is in use, an argument does not fit the model, a package is
            missing, a format cannot hold the model, or a file's outputs differ by more than the
            format's tolerance.

    Example:
        >>> import keras, tempfile
        >>> from ckrm_tf.export import export_files
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
        >>> folder = tempfile.mkdtemp()
        >>> dict(export_files(model, folder, formats=("keras",)).differences)
        {'keras': 0.0}
    """
    if check not in ("process", "here"):
        raise CKRMError("check", expected="'process' or 'here'", received=repr(check))
    chosen = formats_named(formats)
    own = FlatModel.of(uncompiled(model))
    calls = calls_of(own, inputs)
    expected = outputs_of("the model", own.arrays, calls)
    full, full_expected, precision = own, expected, 0.0
    if any(one.float32 for one in chosen):
        full = FlatModel.of(in_float32(own.model))
    if full.model is not own.model:
        full_expected = outputs_of("the model in float32", full.arrays, calls)
        what = "the model in float32"
        precision = difference(what, own.outputs, full_expected, expected, PRECISION_TOLERANCE)
    facts = _facts(metadata, class_names)
    differences, seconds = {}, {}
    with whole_folder(Path(folder).absolute()) as part:
        for one in chosen:
            start = time.process_time()
            flat, wanted = (full, full_expected) if one.float32 else (own, expected)
            path = part / one.file
            write(one, flat, path, facts)
            if one is saved_model.FORMAT and check == "process":
                received = saved_model.run_fresh(path, flat, calls).outputs
            else:
                received = read_back(one, flat, path, calls)
            differences[one.name] = difference(
                one.file, flat.outputs, wanted, received, one.tolerance
            )
            seconds[one.name] = time.process_time() - start
        varied = spread(expected)
        text = {
            "model": model.name,
            "inputs": [asdict(port) for port in own.inputs],
            "outputs": [asdict(port) for port in own.outputs],
            **({} if class_names is None else {"class_names": facts["class_names"]}),
            "parity": {
                name: {"difference": found, "tolerance": tolerance}
                for (name, found), tolerance in zip(
                    differences.items(), (one.tolerance for one in chosen), strict=True
                )
            },
            "calls": len(calls),
            "spread": None if np.isnan(varied) else varied,
            "precision": precision,
            "versions": versions(),
            "metadata": plain_json(metadata or {}),
        }
        (part / FACTS_FILE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return FilesReport(Path(folder).absolute(), differences, varied, precision, seconds)


def write(one: Format, flat: FlatModel, path: Path, facts: Mapping[str, Any]) -> None:
    """Write `flat` at `path`.

    Raises:
        CKRMError: when the format cannot hold the model.
    """
    try:
        one.write(flat, path, facts)
    except CKRMError:
        raise
    except Exception as error:  # Converters raise errors of any class.
        raise CKRMError(
            f"writing {one.file}",
            expected=f"a model that the format {one.name} can hold",
            received=_in_a_line(error),
        ) from error


def read_back(one: Format, flat: FlatModel, path: Path, calls: Sequence[Arrays]) -> list[Arrays]:
    """The outputs, for each of `calls`, of the file at `path`.

    Raises:
        CKRMError: when the file cannot be read or called.
    """
    try:
        call = one.read(path, flat)
    except Exception as error:  # Readers raise errors of any class.
        raise CKRMError(
            f"reading {one.file}", expected="a file that loads", received=_in_a_line(error)
        ) from error
    return outputs_of(one.file, call, calls)


def outputs_of(what: str, call: Call, calls: Sequence[Arrays]) -> list[Arrays]:
    """The outputs of `call` for each of `calls`.

    Raises:
        CKRMError: when it fails.
    """
    try:
        return [call(arrays) for arrays in calls]
    except Exception as error:  # Readers raise errors of any class.
        shapes = [[array.shape for array in arrays] for arrays in calls]
        raise CKRMError(
            f"outputs of {what} on the CPU",
            expected=f"an answer to inputs of shapes {shapes}",
            received=_in_a_line(error),
            hint="Give other `inputs` when these do not suit the model.",
        ) from error


def versions() -> dict[str, str]:
    """What an export was made with."""
    return {
        "python": platform.python_version(),
        "ckrm-tf": version("ckrm-tf"),
        "keras": keras.__version__,
        "tensorflow": saved_model.tensorflow().__version__,
        "numpy": np.__version__,
        "backend": keras.backend.backend(),
    }


def plain_json(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """`metadata` as JSON gives it back.

    Raises:
        CKRMError: when JSON cannot hold it.
    """
    try:
        return dict(json.loads(json.dumps(dict(metadata), allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise CKRMError("metadata", expected="what JSON can hold", received=str(error)) from error


def _facts(metadata: Mapping[str, Any] | None, class_names: Sequence[str] | None) -> dict[str, Any]:
    """What goes into the files themselves, by name."""
    facts: dict[str, Any] = {}
    if class_names is not None:
        names = [str(name) for name in class_names]
        if isinstance(class_names, str) or not names or len(set(names)) != len(names):
            raise CKRMError("class names", expected="different names", received=repr(class_names))
        facts["class_names"] = names
    if metadata is not None:
        facts["metadata"] = json.dumps(plain_json(metadata))
    return facts


def _in_a_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}"

"""Any Keras model as files of several formats, each read back and compared."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export import litert_int8
from ckrm_tf.export.answers import Check, answers, in_a_line, outputs_of
from ckrm_tf.export.base import Format
from ckrm_tf.export.compare import calls_of, difference, examples_of, spread
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.judge import Judge
from ckrm_tf.export.plain import in_float32, uncompiled
from ckrm_tf.export.registry import formats_named
from ckrm_tf.files import whole_folder
from ckrm_tf.versions import versions

FACTS_FILE = "export.json"
# Of an output computed in reduced precision, from the same output in float32.
PRECISION_TOLERANCE = 0.1


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
        judged: of each file that rounds, what `Judge.compare` tells; empty without a judge.
    """

    folder: Path
    differences: Mapping[str, float]
    spread: float
    precision: float
    seconds: Mapping[str, float]
    judged: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def export_files(
    model: keras.Model,
    folder: str | os.PathLike[str],
    *,
    formats: Sequence[str] = ("keras", "saved_model"),
    inputs: np.ndarray | Sequence[np.ndarray] | None = None,
    examples: np.ndarray | Sequence[np.ndarray] | None = None,
    judge: Judge | None = None,
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
        formats: of `keras`, `saved_model`, `onnx`, `litert` and `litert-int8`, written and checked
            in this order.
        inputs: what files are compared on, one array (cases, ...) for each input of the model;
            seeded noise by default.
        examples: some hundred cases in the same form, which `litert-int8` needs to read the ranges
            of activations off; `inputs` by default.
        judge: labelled images on which the AUC of a file that rounds is told beside the model's.
        metadata: anything JSON can hold; goes into `export.json`, the SavedModel and the ONNX
            file.
        class_names: the same.
        check: where files are read: in a fresh `process` that cannot import this package, save for
            `.keras`, or `here`, which takes no start of TensorFlow.

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
    rounding = [one.name for one in chosen if not one.exact]
    given = inputs if examples is None else examples
    if rounding and given is None:
        raise litert_int8.no_examples()
    shown = examples_of(own, given) if rounding and given is not None else ()
    calls = calls_of(own, inputs)
    expected = outputs_of("the model", own.arrays, calls)
    full, full_expected, precision = own, expected, 0.0
    if any(one.float32 for one in chosen):
        full = FlatModel.of(in_float32(own.model))
    if full.model is not own.model:
        full_expected = outputs_of("the model in float32", full.arrays, calls)
        what = "the model in float32"
        precision = difference(what, own.outputs, full_expected, expected, PRECISION_TOLERANCE)
    full = replace(full, examples=shown)
    facts = _facts(metadata, class_names)
    differences: dict[str, float] = {}
    seconds: dict[str, float] = {}
    judged: dict[str, Mapping[str, Any]] = {}
    with whole_folder(Path(folder).absolute()) as part:
        for one in chosen:
            start = time.process_time()
            flat, wanted = (full, full_expected) if one.float32 else (own, expected)
            path = part / one.file
            write(one, flat, path, facts)
            received, told = answers(one, flat, path, calls, judge, check)
            judged |= told
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
                one.name: {
                    "difference": differences[one.name],
                    "tolerance": one.tolerance if one.exact else None,
                }
                for one in chosen
            },
            **({"judged": judged} if judged else {}),
            "calls": len(calls),
            "spread": None if np.isnan(varied) else varied,
            "precision": precision,
            "versions": versions(),
            "metadata": plain_json(metadata or {}),
        }
        (part / FACTS_FILE).write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    return FilesReport(Path(folder).absolute(), differences, varied, precision, seconds, judged)


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
            received=in_a_line(error),
        ) from error


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

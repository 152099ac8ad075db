"""What a written file answers, read in a fresh process or here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.base import Call, Format
from ckrm_tf.export.compare import Arrays
from ckrm_tf.export.flat import FlatModel
from ckrm_tf.export.fresh import run_fresh
from ckrm_tf.export.judge import Judge

Check = Literal["process", "here"]


def answers(
    one: Format,
    flat: FlatModel,
    path: Path,
    calls: Sequence[Arrays],
    judge: Judge | None = None,
    check: Check = "process",
) -> tuple[list[Arrays], dict[str, Mapping[str, Any]]]:
    """The outputs of the file at `path` for each of `calls`, and what a judge says of it.

    Args:
        one: the format of the file.
        flat: the model in it.
        path: of the file.
        calls: the inputs of each call.
        judge: asked about files that round alone; its word stands under the format's name.
        check: where the file is read; `here` where the format has no other reader.

    Raises:
        CKRMError: when the file cannot be read or called.
    """
    dtypes = [port.dtype for port in flat.inputs]
    asked = [
        [np.asarray(array, dtype) for array, dtype in zip(arrays, dtypes, strict=True)]
        for arrays in ([] if judge is None or one.exact else judge.calls)
    ]
    if one.reader and check == "process":
        found = run_fresh(one.file, path, flat, [*calls, *asked], one.reader)[0]
    else:
        found = read_back(one, flat, path, [*calls, *asked])
    received, judged = found[: len(calls)], found[len(calls) :]
    if judge is None or not asked:
        return received, {}
    model = outputs_of("the model", flat.arrays, asked)
    return received, {one.name: judge.compare(model, judged)}


def read_back(one: Format, flat: FlatModel, path: Path, calls: Sequence[Arrays]) -> list[Arrays]:
    """The outputs, for each of `calls`, of the file at `path`.

    Raises:
        CKRMError: when the file cannot be read or called.
    """
    try:
        call = one.read(path, flat)
    except Exception as error:  # Readers raise errors of any class.
        raise CKRMError(
            f"reading {one.file}", expected="a file that loads", received=in_a_line(error)
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
            received=in_a_line(error),
            hint="Give other `inputs` when these do not suit the model.",
        ) from error


def in_a_line(error: Exception) -> str:
    """An error of any class in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:400]}"

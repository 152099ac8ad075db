"""What every export format is: how a network is written to a file and called from it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.flat import FlatModel

# From the inputs of a network, in its order, to its outputs, in its order.
Call = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file that holds a network. A new one is one file and one line in `registry`.

    Attributes:
        name: as a user gives it.
        file: name of the file or folder within the export.
        write: `write(model, path, facts)`; `facts` are lists or JSON text to keep in the file
            where it can hold them.
        read: `read(path, model)`, the function that the file at `path` holds.
        tolerance: largest difference from the Keras model, relative to its largest output.
        needs: modules that writing and reading import.
        install: what to install for them.
        float32: whether the file computes in float32 whatever the precision of the model.
        exact: whether the file computes what the model computes. One that does not rounds: its
            difference is told and not held to a tolerance, and `FlatModel.examples` are needed.
        reader: Python source that defines `read(path)` in a process without this package, from a
            path to a function from arrays by name to arrays by name; "" where none can.
    """

    name: str
    file: str
    write: Callable[[FlatModel, Path, Mapping[str, Any]], None]
    read: Callable[[Path, FlatModel], Call]
    tolerance: float
    needs: tuple[str, ...]
    install: str
    float32: bool = True
    exact: bool = True
    reader: str = ""

    def check_installed(self) -> None:
        """Raise a `CKRMError` that says what to install when a module is missing."""
        for module in self.needs:
            need(module, self.install, f"the format {self.name}")


def need(module: str, install: str, what: str) -> Any:
    """The module of this name.

    Raises:
        CKRMError: when it cannot be imported, with `install` as what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CKRMError(
            what,
            expected=f"{module} installed",
            received=str(error),
            hint=f"pip install {install}",
        ) from error

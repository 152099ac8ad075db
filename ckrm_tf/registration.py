"""Keras learns this package's layers as soon as both are imported, in whichever order.

A `.keras` file names its layers, `ckrm_tf>SlimConv2D`; Keras finds them by that name only once
the class is registered, and that needs Keras. The package itself is imported without Keras.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, TypeVar

KERAS = "keras"
# The name space of this package's classes in saved models.
PACKAGE = "ckrm_tf"
# Models saved before version 0.2 have these under another one.
FORMER = "ckrm"
OF_FORMER = ("CAMHead", "FusedAdam", "GGCAMLoss", "SlimConv2D")

T = TypeVar("T")

# Every module with a class that a saved model may name.
MODULES = (
    "ckrm_tf.layers.cam",
    "ckrm_tf.layers.ggcam_loss",
    "ckrm_tf.layers.slim_conv",
    "ckrm_tf.pruning.constraint",
    "ckrm_tf.train.optimizer",
)


def saved_class(kind: type[T]) -> type[T]:
    """Register a class under its name in `PACKAGE`, and under the one that older files have.

    Args:
        kind: a class that a saved model may name; its module stands in `MODULES`.
    """
    import keras  # noqa: PLC0415 - the package itself is imported without it

    if kind.__name__ in OF_FORMER:
        keras.saving.get_custom_objects()[f"{FORMER}>{kind.__name__}"] = kind
    found: type[T] = keras.saving.register_keras_serializable(PACKAGE)(kind)
    return found


def register() -> None:
    """Register every class that a saved model may name. Imports Keras."""
    for name in MODULES:
        importlib.import_module(name)


def register_with_keras() -> None:
    """Register now when Keras is there, else as soon as it is imported."""
    if KERAS in sys.modules:
        register()
    elif not any(isinstance(finder, _KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KerasFinder())


class _KerasFinder(MetaPathFinder):
    """Sees Keras being imported, once."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The specification of Keras with a loader that registers afterwards."""
        if fullname != KERAS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _KerasLoader(spec.loader)
        return spec


class _KerasLoader(Loader):
    """Loads Keras as its own loader does, and registers then."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """See `importlib.abc.Loader`."""
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run Keras's own module, then register."""
        self.loader.exec_module(module)
        register()

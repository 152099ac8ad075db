"""Read a saved Keras model, or say in one line why not."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import shutil
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import h5py
import keras
from keras import layers

from ckrm_tf.errors import CKRMError
from ckrm_tf.layers.cam import CAMHead
from ckrm_tf.layers.slim_conv import SlimConv2D

SUFFIXES = (".keras", ".h5", ".hdf5")
LONGEST = 300
NEITHER = (
    "The file is neither a zip archive nor HDF5, as models are: cut short, or of another kind."
)


class _WithoutGroups:
    """Keras 2 wrote `groups: 1` for layers that take no groups in Keras 3."""

    kind: Any

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer of this version of Keras."""
        if config.get("groups", 1) == 1:
            config = {key: value for key, value in config.items() if key != "groups"}
        return cls.kind.from_config(config)


KEPT = {"SlimConv2D": SlimConv2D, "CAMHead": CAMHead}
FROM_KERAS_2 = {
    kind.__name__: type(f"Keras2{kind.__name__}", (_WithoutGroups,), {"kind": kind})
    for kind in (layers.DepthwiseConv2D, layers.Conv2DTranspose, layers.SeparableConv2D)
}


def load_model(
    path: str | os.PathLike[str], *, custom: str | None = None, unsafe: bool = False
) -> keras.Model:
    """A saved Keras model, as it is compiled or not.

    Args:
        path: a `.keras`, `.h5` or `.hdf5` file; its content tells which, whatever its name.
        custom: a Python file, or a module's name, that defines and registers the model's own
            layers; it is run.
        unsafe: allow code inside the file to run (`Lambda` layers). Only for files you trust.

    Raises:
        CKRMError: no such file, or the cause why Keras cannot make a model of it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        received = "a folder" if file.is_dir() else "no such file"
        raise CKRMError(
            f"model {path}",
            expected=f"a file ending in {', '.join(SUFFIXES)}",
            received=received,
            hint=None if file.is_dir() else "No file.",
        )
    known: dict[str, Any] = dict(KEPT)
    if custom is not None:
        known |= load_layers(custom)
    try:
        with _under_its_suffix(file) as named, warnings.catch_warnings():
            if named.suffix != ".keras":
                known |= FROM_KERAS_2
            # The optimizer's state is not wanted; a missing one is no concern.
            warnings.simplefilter("ignore")
            return keras.models.load_model(
                named, custom_objects=known, compile=False, safe_mode=not unsafe
            )
    except Exception as error:  # whatever Keras, zipfile or h5py raise
        raise CKRMError(
            f"model {path}",
            expected="a Keras model that this version can rebuild",
            received=f"Keras says: {cause(error)}",
            hint=_hint(error, custom, unsafe) if _suffix(file) else NEITHER,
        ) from error


def _suffix(file: Path) -> str | None:
    """The suffix of the format that a file has by its content; None for neither."""
    if zipfile.is_zipfile(file):
        return ".keras"
    return ".h5" if h5py.is_hdf5(file) else None


@contextmanager
def _under_its_suffix(file: Path) -> Iterator[Path]:
    """`file` under a name by which Keras, which looks at the suffix alone, reads its format."""
    suffix = _suffix(file)
    if suffix is None or file.suffix == suffix or (suffix == ".h5" and file.suffix == ".hdf5"):
        yield file
        return
    with TemporaryDirectory() as folder:
        named = Path(folder) / f"model{suffix}"
        try:
            named.symlink_to(file.resolve())
        except OSError:  # not everyone may make links on Windows
            shutil.copyfile(file, named)
        yield named


def cause(error: BaseException) -> str:
    """The innermost cause of an error in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("config=", "{"))]
    text = " ".join(told or lines or [type(error).__name__])
    for mark in ("Exception encountered:", "Error encountered during deserialization:"):
        if mark in text:
            text = text.rpartition(mark)[2].strip()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _hint(error: BaseException, custom: str | None, unsafe: bool) -> str | None:
    text = str(error)
    if not unsafe and ("safe_mode" in text or "Lambda" in text or "lambda" in text):
        return "--unsafe allows code inside a file that you trust."
    if custom is None and ("custom" in text or "register" in text or "Unknown layer" in text):
        return "--custom FILE.py names a module that defines the model's own layers."
    return None


def load_layers(custom: str) -> dict[str, Any]:
    """What of a module may stand in a model, imported by name or from a file.

    Its layers, and the functions and classes that it defines itself: activations and so on.
    """
    try:
        is_file = custom.endswith(".py")
        module = _run(Path(custom).expanduser()) if is_file else importlib.import_module(custom)
    except (Exception, SystemExit) as error:  # whatever the user's module raises
        raise CKRMError(
            f"--custom {custom}",
            expected="a Python module",
            received=f"{type(error).__name__}: {error}",
        ) from error
    return {name: value for name, value in vars(module).items() if _may_stand(value, module)}


def _may_stand(value: Any, module: ModuleType) -> bool:
    if isinstance(value, type) and issubclass(value, keras.layers.Layer):
        return True
    code = inspect.isroutine(value) or inspect.isclass(value)
    return code and value.__module__ == module.__name__


def _run(file: Path) -> ModuleType:
    """The module that a file makes, under a name of its own.

    Its stem is no such name: another file may have the same, or a package, such as `keras.py`.
    """
    if not file.is_file():
        raise ImportError("no such file")
    place = file.resolve()
    digest = hashlib.sha256(bytes(place) + b"\0" + place.read_bytes()).hexdigest()
    name = f"ckrm_custom_{re.sub(r'[^0-9A-Za-z]', '_', file.stem)}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise ImportError("no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look a class's module up there.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

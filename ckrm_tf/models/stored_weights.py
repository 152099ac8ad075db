"""The weights in a model's file, found by the names that the formats give them. No code is run."""

from __future__ import annotations

import io
import json
import re
import zipfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ckrm_tf.errors import CKRMError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# Keras stores its zip uncompressed: what swells so much more is no model.
SWELLS = 50
SMALL = 2**24
# Keras 2 ends the names of its variables with it.
NUMBER = re.compile(r":\d+$")
ROOTS = ("layers", "_layer_checkpoint_dependencies")


class Weights(ABC):
    """The weights below one layer or model."""

    @abstractmethod
    def layers(self, layers: Sequence[tuple[str, str]], seen: Sequence[bool]) -> list[Weights]:
        """Those of each layer of a model.

        Args:
            layers: (name, class) in the order of the model.
            seen: whether a layer like this was read in another model that may share it.
        """

    @abstractmethod
    def part(self, attribute: str, name: str) -> Weights:
        """Those of a layer that stands in an attribute of this one."""

    @abstractmethod
    def arrays(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """This layer's own, under the names that its kind gives them; those absent are left out."""

    @abstractmethod
    def inner(self) -> Iterator[tuple[str, dict[str, np.ndarray], str]]:
        """Everything below, layer by layer.

        Its path, its `kernel` and `bias` and so on, and the place of its class where there is one.
        """

    @abstractmethod
    def at(self, path: str) -> Weights:
        """Those of a layer at a path that `inner` gave."""


@contextmanager
def open_weights(path: Path) -> Iterator[tuple[Any, Weights]]:
    """The configuration (None where there is none) and the weights of a saved model.

    Raises:
        CKRMError: a file that is none, or holds no weights.
    """
    try:
        if path.is_dir():
            from ckrm_tf.models.stored_checkpoint import (  # noqa: PLC0415 - needs TensorFlow
                saved_model_weights,
            )

            yield None, saved_model_weights(path)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                config = (
                    json.loads(_member(archive, CONFIG)) if CONFIG in archive.namelist() else None
                )
                content = io.BytesIO(_member(archive, WEIGHTS))
            with h5py.File(content, "r") as file:
                yield config, ByPlace(file, "")
        else:
            with h5py.File(path, "r") as file:
                config = file.attrs.get("model_config")
                if config is None and _has_places(file):
                    yield None, ByPlace(file, "")
                else:
                    group = _held(file, "model_weights") or file
                    yield None if config is None else json.loads(config), ByName.of(group)
    except CKRMError:
        raise
    except Exception as error:  # whatever h5py, zipfile, json or a strange configuration raise
        raise CKRMError(
            f"model {path}",
            expected="a file with the weights of a Keras model",
            received=str(error),
        ) from error


def _has_places(file: Any) -> bool:
    """Whether a file without a configuration is laid out as Keras 3 does, of any kind of model."""
    return bool(file.visit(lambda name: True if name.split("/")[-1] == "vars" else None))


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > SMALL and info.file_size > SWELLS * info.compress_size:
        raise ValueError(f"{name} is packed {info.file_size // max(info.compress_size, 1)} times")
    return archive.read(name)


def _held(group: Any, path: str) -> Any:
    """What this file itself holds at a path, None where that is nothing.

    Links to other files are not followed, nor are arrays read that lie in other files.
    """
    for part in filter(None, path.split("/")):
        inside = isinstance(group, h5py.Group)
        if not inside or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            return None
        group = group[part]
    outside = isinstance(group, h5py.Dataset) and (group.external or group.is_virtual)
    return None if outside else group


def _value(dataset: Any) -> np.ndarray:
    if isinstance(dataset, h5py.Dataset) and dataset.nbytes > SMALL:
        held = dataset.id.get_storage_size()
        if dataset.nbytes > SWELLS * held:
            raise ValueError(f"{dataset.name} declares {dataset.nbytes} bytes and holds {held}")
    values = np.asarray(dataset)
    told = isinstance(dataset, h5py.Dataset) and dataset.attrs.get("dtype") == "bfloat16"
    # Keras writes it to `.h5` as two bytes of no type.
    if told or values.dtype.name in ("bfloat16", "void16"):
        # The upper half of a float32.
        return (values.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return values


class ByPlace(Weights):
    """The HDF5 tree of a `.keras` file: `layers/conv2d_1/vars/0`."""

    def __init__(self, file: Any, path: str) -> None:
        self.file, self.path = file, path
        self.places: dict[str, list[str]] = {}

    def _at(self, *parts: str) -> ByPlace:
        return ByPlace(self.file, "/".join(part for part in (self.path, *parts) if part))

    def layers(self, layers: Sequence[tuple[str, str]], seen: Sequence[bool]) -> list[Weights]:
        """See `Weights`; places are counted by class, whatever the names.

        Keras 2 counts no layer that it has written in another model.
        """
        root, of_class = self._root(), defaultdict[str, list[int]](list)
        for i, (_, kind) in enumerate(layers):
            of_class[snake_case(kind)].append(i)
        found: list[Weights] = [self] * len(layers)
        for place, own in of_class.items():
            names = [f"{place}_{number}" if number else place for number in range(len(own))]
            held = [self._group(self._at(root, name).path) is not None for name in names]
            new = [i for i in own if not seen[i]]
            unseen_first = not all(held) and len(new) == sum(held) and all(held[: len(new)])
            order = [*new, *(i for i in own if seen[i])] if unseen_first else own
            for i, name in zip(order, names, strict=True):
                found[i] = self._at(root, name)
        return found

    def _root(self) -> str:
        """Where the layers of a model are: Keras 2.12 named it otherwise."""
        return next((r for r in ROOTS if self._group(self._at(r).path) is not None), ROOTS[0])

    def _group(self, path: str) -> Any:
        """The group at a path; on Windows Keras 2 wrote it with backslashes."""
        found = _held(self.file, path)
        found = _held(self.file, path.replace("/", "\\")) if found is None else found
        return found if isinstance(found, h5py.Group) else None

    def part(self, attribute: str, name: str) -> Weights:
        """See `Weights`."""
        return self._at(attribute)

    def arrays(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """See `Weights`; they have numbers only."""
        here = self._group(self.path)
        group = None if here is None else _held(here, "vars")
        held = {name: _held(group, str(number)) for number, name in enumerate(names)}
        return {name: _value(v) for name, v in held.items() if isinstance(v, h5py.Dataset)}

    def inner(self) -> Iterator[tuple[str, dict[str, np.ndarray], str]]:
        """See `Weights`; the first is the kernel, the second that of the state or the bias."""
        root = self._group(self.path)
        if root is None:
            return
        found: list[str] = []
        root.visit(lambda name: found.append(name) if name.split("/")[-1] == "vars" else None)
        for name in sorted(found, key=_in_order):
            place = name.split("/")[:-1]
            if place[:1] == ["optimizer"]:
                continue
            values = self._at(*place).arrays(("kernel", "bias"))
            if "kernel" in values:
                values |= {"recurrent_kernel": values["bias"]} if "bias" in values else {}
                path = "/".join(p for p in place if p not in ROOTS)
                self.places[path] = place
                yield path, values, re.sub(r"_\d+$", "", place[-1]) if place else ""

    def at(self, path: str) -> ByPlace:
        """See `Weights`."""
        return self._at(*self.places[path])


class ByName(Weights):
    """Arrays by the path of their variable, `inner/deep/kernel`, in the order of the file."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    @classmethod
    def of(cls, group: Any) -> ByName:
        """Of an `.h5` file: one group a layer, whose `weight_names` are in it."""
        values: dict[str, Any] = {}
        for layer in group.attrs.get("layer_names", list(group)):
            name = _text(layer)
            part = _held(group, name)
            if isinstance(part, h5py.Group):
                for weight in part.attrs.get("weight_names", []):
                    path = _text(weight)
                    value = _held(part, path)
                    if isinstance(value, h5py.Dataset):
                        values[f"{name}//{NUMBER.sub('', path)}"] = value
        return cls(values)

    def layers(self, layers: Sequence[tuple[str, str]], seen: Sequence[bool]) -> list[Weights]:
        """See `Weights`."""
        return [self._below(name) for name, _ in layers]

    def _below(self, name: str) -> ByName:
        """What a layer of this name holds: in its own group, or with its name in the path."""
        own = {k: v for k, v in self.values.items() if k.startswith(f"{name}//")}
        if own:
            return ByName({k.partition("//")[2]: v for k, v in own.items()})
        return ByName({k: v for k, v in self.values.items() if name in k.split("/")[:-1]})

    def part(self, attribute: str, name: str) -> Weights:
        """See `Weights`; of one layer alone the names of its weights need no place."""
        below = self._below(name)
        return below if below.values else self

    def arrays(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """See `Weights`; Keras 3 calls the kernel of a depthwise layer `kernel`."""
        by_leaf = {key.split("/")[-1]: value for key, value in reversed(self.values.items())}
        if names == ("depthwise_kernel",) and "depthwise_kernel" not in by_leaf:
            by_leaf["depthwise_kernel"] = by_leaf.get("kernel")
        return {n: _value(by_leaf[n]) for n in names if by_leaf.get(n) is not None}

    def inner(self) -> Iterator[tuple[str, dict[str, np.ndarray], str]]:
        """See `Weights`; the names tell no class."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for key, value in self.values.items():
            place, _, leaf = key.replace("//", "/").rpartition("/")
            found.setdefault(place, {})[leaf] = _value(value)
        for place, values in found.items():
            parts = place.split("/")
            # The group of a layer and the first part of the path within it are mostly one name.
            path = "/".join(p for i, p in enumerate(parts) if not i or p != parts[i - 1])
            yield path, values, ""

    def at(self, path: str) -> ByName:
        """See `Weights`."""
        return self._below(path)


def _in_order(path: str) -> list[tuple[int, str]]:
    """`conv2d_2` before `conv2d_10`."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", path)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def snake_case(name: str) -> str:
    """The place that Keras gives to the weights of a class: `depthwise_conv2d` and so on."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()

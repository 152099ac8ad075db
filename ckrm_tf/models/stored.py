"""The kernels of a saved model straight from its file, without building the model.

For models that this Keras cannot rebuild: layers of one's own, Lambda code, files of another Keras,
SavedModel folders. Nothing in the file is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from keras import layers

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.kernels import (
    GATES,
    ConvolutionKernel,
    depthwise,
    prepared,
    recurrent,
    unused_name,
)
from ckrm_tf.models.stored_graph import bare, norm_names
from ckrm_tf.models.stored_weights import Weights, open_weights, snake_case

NO_WEIGHTS = "its weights are not in the file"
UNKNOWN = "a kernel of a layer of unknown kind"
# Settings that depend on where the layer stands.
BY_PLACE = ("shared_object_id", "build_config", "inbound_nodes")
QUANTIZED = "quantised weights"
WRAPPED = ("layer", "forward_layer", "backward_layer")
FORWARD = "forward_"


@dataclass
class Stored:
    """The kernels of a file.

    Attributes:
        kernels: as `ckrm_tf.measures.kernels.model_kernels` gives them.
        assumed: the names of kernels whose kind the file does not tell: they are taken for plain
            convolutions.
    """

    kernels: list[ConvolutionKernel] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)


def stored_kernels(path: Path, *, pointwise: bool = False, fold: bool = True) -> Stored:
    """Every convolution of a saved model in the order of the file.

    Kernels are folded with the batch norm that follows them where the layers of the file tell it:
    both stand in one functional or sequential model.

    Args:
        path: a `.keras` or `.h5` file, or a SavedModel folder.
        pointwise: measure 1x1 convolutions too, by the vector over their input channels.
        fold: scale each kernel by its batch norm.

    Raises:
        CKRMError: a file without weights that can be read.
    """
    found = Stored()
    names: set[str] = set()
    with open_weights(path) as (config, weights):
        reader = _Reader(weights, pointwise, fold, found)
        for kernel in reader.kernels(config):
            name = unused_name(kernel.name, names)
            found.kernels.append(replace(kernel, name=name))
    if not found.kernels and config is None:
        raise CKRMError(
            f"model {path}", expected="the weights of at least one convolution", received="none"
        )
    return found


@dataclass
class _Reader:
    weights: Weights
    pointwise: bool
    fold: bool
    found: Stored
    # What has been read: a layer that several models share stands in the file with each of them.
    seen: set[str] = field(default_factory=set)

    def kernels(self, config: Any) -> Iterator[ConvolutionKernel]:
        """Of a whole model; without a configuration every kernel is of unknown kind."""
        inside = _inside(config)
        if inside is None:
            yield from self._unknown("", self.weights)
        else:
            yield from self._model(config, inside, "", self.weights)

    def _model(
        self, config: Any, inside: list[dict[str, Any]], path: str, weights: Weights
    ) -> Iterator[ConvolutionKernel]:
        norms = norm_names(config) if self.fold else {}
        parts = weights.layers(
            [(_name(layer), str(layer.get("class_name"))) for layer in inside],
            [_signature(layer) in self.seen for layer in inside],
        )
        by_name = {_name(layer): part for layer, part in zip(inside, parts, strict=True)}
        configs = {_name(layer): layer for layer in inside}
        for layer, part in zip(inside, parts, strict=True):
            name = _name(layer)
            norm = norms.get(name)
            scale = None
            if norm is not None:
                inner = bare(configs[norm])
                held = by_name[norm]
                held = held if inner is configs[norm] else held.part("layer", _name(inner))
                scale = _scale(inner, held)
            yield from self._layer(layer, f"{path}{name}", part, scale)

    def _layer(
        self, layer: dict[str, Any], path: str, weights: Weights, scale: np.ndarray | None
    ) -> Iterator[ConvolutionKernel]:
        kind, config = str(layer.get("class_name")), _config(layer)
        inside = _inside(layer)
        wrapped = _wrapped(kind, config)
        if inside is not None:
            yield from self._model(layer, inside, f"{path}/", weights)
        elif wrapped and kind in BUILT_IN:
            for key, inner in wrapped.items():
                name = _name(inner)
                part = weights.part(key, name)
                yield from self._layer(inner, f"{path}/{name}", part, scale)
        elif kind in KINDS:
            for kernel in self._known(kind, config, path, weights, scale):
                if not self._again(layer, kernel):
                    yield kernel
        elif kind not in BUILT_IN:
            yield from self._own(config, path, weights, scale)
        self.seen.add(_signature(layer))

    def _again(self, layer: dict[str, Any], kernel: ConvolutionKernel) -> bool:
        """Whether a layer of this configuration has these very weights, or has all that there are.

        `.keras` holds the weights of a shared layer once, `.h5` with each model.
        """
        sign = _signature(layer)
        if kernel.reason == NO_WEIGHTS:
            return sign in self.seen
        held = b"".join(group.tobytes() for group in kernel.groups)
        part = f"{sign} {kernel.shape} {hashlib.sha256(held).hexdigest()}"
        known = part in self.seen and any(np.ptp(group) > 0 for group in kernel.groups)
        self.seen.add(part)
        return known

    def _known(
        self, kind: str, config: dict[str, Any], path: str, weights: Weights, scale: Any
    ) -> Iterator[ConvolutionKernel]:
        make = KINDS[kind]
        own = weights.part("cell", "cell") if kind.startswith("ConvLSTM") else weights
        values = own.arrays(make.names) or weights.arrays(make.names)
        missing = [name for name in make.names if name not in values]
        if missing:
            yield ConvolutionKernel(path, (), reason=NO_WEIGHTS)
            return
        odd = [n for n in make.names if not np.issubdtype(values[n].dtype, np.floating)]
        if odd or any(values[n].ndim < 3 for n in make.names):
            shape = values[make.names[0]].shape
            yield ConvolutionKernel(path, shape, reason=QUANTIZED if odd else UNKNOWN)
            return
        groups = config.get("groups", 1)
        yield from make.build(
            path, values, groups if isinstance(groups, int) else 1, self.pointwise, scale
        )

    def _own(
        self, config: dict[str, Any], path: str, weights: Weights, scale: Any
    ) -> Iterator[ConvolutionKernel]:
        """A layer of the user's own: a convolution by its configuration, or whatever it holds."""
        values = weights.arrays(("kernel",))
        kernel, size = values.get("kernel"), config.get("kernel_size")
        if kernel is not None and isinstance(size, list | tuple):
            groups = config.get("groups", 1)
            if kernel.shape[:-2] == tuple(size) and kernel.shape[-1] == config.get("filters"):
                self.found.assumed.append(path)
                yield prepared(path, kernel, groups, self.pointwise, scale)
                return
        yield from self._unknown(path, weights)

    def _unknown(self, path: str, weights: Weights) -> Iterator[ConvolutionKernel]:
        """Kernels of unknown layers: their shape and that of the bias beside them tell the kind."""
        own = f"{path.rpartition('/')[2]}/"
        for name, values, kind in weights.inner():
            place = "/".join(part for part in (path, f"{name}/".removeprefix(own)) if part)
            place = place.strip("/")
            if kind in PLACES:
                found = list(self._known(PLACES[kind], {}, place, weights.at(name), None))
                # How many groups a convolution has is not told.
                if PLACES[kind] in GROUPED and any(row.reason is None for row in found):
                    self.found.assumed.append(place)
                yield from found
            elif kind.endswith("dense"):  # of attention too
                if values["kernel"].ndim > 2:
                    yield ConvolutionKernel(place, values["kernel"].shape, reason=UNKNOWN)
            elif {"depthwise_kernel", "pointwise_kernel"} <= set(values):
                yield from _separable(place, values, 1, self.pointwise, None)
            elif _separates(values.get("kernel"), values.get("recurrent_kernel")):
                both = dict(zip(KINDS["SeparableConv2D"].names, values.values(), strict=False))
                yield from _separable(place, both, 1, self.pointwise, None)
            elif _gates(values.get("kernel"), values.get("recurrent_kernel")):
                yield from _recurrent(place, values, 1, self.pointwise, None)
            else:
                yield from self._by_shape(place, values)

    def _by_shape(self, path: str, values: dict[str, np.ndarray]) -> Iterator[ConvolutionKernel]:
        kernel = values.get("kernel", values.get("depthwise_kernel"))
        if kernel is None or kernel.ndim < 3:
            return
        shape, bias = kernel.shape, values.get("bias")
        if kernel.ndim > 5 or not np.issubdtype(kernel.dtype, np.floating):
            yield ConvolutionKernel(path, shape, reason=UNKNOWN)
        elif "depthwise_kernel" in values or _has(bias, shape[-2] * shape[-1], but=shape[-1]):
            yield depthwise(path, kernel, self.pointwise)
        elif kernel.ndim == 3 and not _has(bias, shape[-1]):
            # Attention has kernels of three axes too.
            yield ConvolutionKernel(path, shape, reason=UNKNOWN)
        elif _has(bias, shape[-2], but=shape[-1]):
            yield prepared(path, np.swapaxes(kernel, -1, -2), 1, self.pointwise)
        else:
            self.found.assumed.append(path)
            yield prepared(path, kernel, 1, self.pointwise)


def _gates(kernel: np.ndarray | None, inner: np.ndarray | None) -> bool:
    """Whether two kernels are those of a ConvLSTM."""
    if kernel is None or inner is None or not 3 <= kernel.ndim == inner.ndim <= 5:
        return False
    gates = (GATES * inner.shape[-2],) * 2
    return (kernel.shape[-1], inner.shape[-1]) == gates


def _separates(kernel: np.ndarray | None, second: np.ndarray | None) -> bool:
    """Whether two kernels are those of a separable convolution."""
    if kernel is None or second is None or not 3 <= kernel.ndim == second.ndim <= 4:
        return False
    return second.shape[:-1] == (1,) * (kernel.ndim - 2) + (kernel.shape[-2] * kernel.shape[-1],)


def _has(bias: np.ndarray | None, length: int, but: int | None = None) -> bool:
    return bias is not None and bias.shape == (length,) and length != but


def _plain(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield prepared(path, values["kernel"], groups, pointwise, scale)


def _transposed(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield prepared(path, np.swapaxes(values["kernel"], -1, -2), 1, pointwise, scale)


def _depthwise(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield depthwise(path, values["depthwise_kernel"], pointwise, scale)


def _separable(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield depthwise(f"{path}/depthwise", values["depthwise_kernel"], pointwise)
    yield prepared(f"{path}/pointwise", values["pointwise_kernel"], 1, pointwise, scale)


def _recurrent(
    path: str, values: dict[str, np.ndarray], groups: int, pointwise: bool, scale: Any
) -> Iterator[ConvolutionKernel]:
    yield recurrent(path, values["kernel"], values["recurrent_kernel"], pointwise)


@dataclass(frozen=True)
class _Kind:
    """A kind of layer: the names of its kernels in the order in which Keras writes them."""

    names: tuple[str, ...]
    build: Any


KINDS = {
    **{f"{name}{n}D": _Kind(("kernel",), _plain) for n in (1, 2, 3)
       for name in ("Conv", "Convolution")},
    **{f"{name}{n}DTranspose": _Kind(("kernel",), _transposed) for n in (1, 2, 3)
       for name in ("Conv", "Convolution")},
    **{f"DepthwiseConv{n}D": _Kind(("depthwise_kernel",), _depthwise) for n in (1, 2)},
    **{f"SeparableConv{n}D": _Kind(("depthwise_kernel", "pointwise_kernel"), _separable)
       for n in (1, 2)},
    **{f"ConvLSTM{n}D": _Kind(("kernel", "recurrent_kernel"), _recurrent) for n in (1, 2, 3)},
}  # fmt: skip
GROUPED = {f"Conv{n}D" for n in (1, 2, 3)}
# The class by the name of the place that Keras gives to its weights.
PLACES = {snake_case(kind): kind for kind in KINDS if hasattr(layers, kind)}
# Lambda is code of the file, but holds no weights.
BUILT_IN = {name for name in dir(layers) if isinstance(getattr(layers, name), type)}


def _scale(config: dict[str, Any], weights: Weights) -> np.ndarray | None:
    """gamma / sqrt(variance + epsilon) of a batch norm in the file."""
    settings = _config(config)
    names = [
        *(["gamma"] if settings.get("scale", True) else []),
        *(["beta"] if settings.get("center", True) else []),
        "moving_mean",
        "moving_variance",
    ]
    values = weights.arrays(tuple(names))
    if "moving_variance" not in values:
        return None
    variance = np.asarray(values["moving_variance"], np.float64)
    with np.errstate(invalid="ignore"):
        scale: np.ndarray = np.asarray(values.get("gamma", 1.0), np.float64) / np.sqrt(
            variance + float(settings.get("epsilon", 1e-3))
        )
    return scale


def _signature(layer: dict[str, Any]) -> str:
    """What tells a layer from others, wherever it stands."""
    own = [layer.get("class_name"), _name(layer), _settings(_config(layer))]
    return json.dumps(own, sort_keys=True, default=str)


def _settings(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _settings(v) for k, v in value.items() if k not in BY_PLACE}
    return [_settings(v) for v in value] if isinstance(value, list) else value


def _config(layer: Any) -> dict[str, Any]:
    config = layer.get("config") if isinstance(layer, dict) else None
    return config if isinstance(config, dict) else {}


def _name(layer: dict[str, Any]) -> str:
    name = layer.get("name") or _config(layer).get("name") or layer.get("class_name")
    return str(name)


def _wrapped(kind: str, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The layers inside a wrapper by the attributes that hold them."""
    found = {key: config[key] for key in WRAPPED if isinstance(config.get(key), dict)}
    if kind == "Bidirectional" and "layer" in found:
        # Keras 2 tells of one layer and makes two of it, of other names.
        first = found.pop("layer")
        bare = _name(first).removeprefix(FORWARD)
        found.setdefault("forward_layer", _renamed(first, f"{FORWARD}{bare}"))
        found.setdefault("backward_layer", _renamed(first, f"backward_{bare}"))
    return dict(sorted(found.items(), reverse=True))


def _renamed(layer: dict[str, Any], name: str) -> dict[str, Any]:
    own = {key: value for key, value in layer.items() if key != "name"}
    return own | {"config": _config(layer) | {"name": name}}


def _inside(config: Any) -> list[dict[str, Any]] | None:
    """The layers of a model's configuration, None where it is none."""
    if not isinstance(config, dict):
        return None
    inside = config.get("config") if isinstance(config.get("config"), list) else None
    # Keras 2.0 wrote a Sequential as a bare list.
    inside = inside or _config(config).get("layers")
    if not isinstance(inside, list) or not all(isinstance(layer, dict) for layer in inside):
        return None
    return inside

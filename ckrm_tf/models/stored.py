"""The kernels of a saved model straight from its file, without building the model.

For models that this Keras cannot rebuild: layers of one's own, Lambda code, files of another Keras,
SavedModel folders. Nothing in the file is run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.measures.kernels import (
    ConvolutionKernel,
    depthwise,
    prepared,
    unused_name,
)
from ckrm_tf.models.stored_config import config_of, layers_in, name_of, signature, wrapped_in
from ckrm_tf.models.stored_graph import bare, norm_names
from ckrm_tf.models.stored_kinds import (
    BUILT_IN,
    GROUPED,
    KINDS,
    PLACES,
    has_gates,
    has_length,
    recurrent_rows,
    separable_rows,
    separates,
)
from ckrm_tf.models.stored_weights import Weights, open_weights

NO_WEIGHTS = "its weights are not in the file"
UNKNOWN = "a kernel of a layer of unknown kind"
QUANTIZED = "quantised weights"


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
    # What has been read, by the signatures of layers: one that several models share stands in the
    # file with each of them.
    read: dict[str, list[ConvolutionKernel]] = field(default_factory=dict)

    def kernels(self, config: Any) -> Iterator[ConvolutionKernel]:
        """Of a whole model; without a configuration every kernel is of unknown kind."""
        inside = layers_in(config)
        if inside is None:
            yield from self._unknown("", self.weights)
        else:
            yield from self._model(config, inside, "", self.weights)

    def _model(
        self, config: Any, inside: list[dict[str, Any]], path: str, weights: Weights
    ) -> Iterator[ConvolutionKernel]:
        norms = norm_names(config) if self.fold else {}
        parts = weights.layers(
            [(name_of(layer), str(layer.get("class_name"))) for layer in inside],
            [signature(layer) in self.read for layer in inside],
        )
        by_name = {name_of(layer): part for layer, part in zip(inside, parts, strict=True)}
        configs = {name_of(layer): layer for layer in inside}
        for layer, part in zip(inside, parts, strict=True):
            name = name_of(layer)
            norm = norms.get(name)
            scale = None
            if norm is not None:
                inner = bare(configs[norm])
                held = by_name[norm]
                held = held if inner is configs[norm] else held.part("layer", name_of(inner))
                scale = _scale(inner, held)
            yield from self._layer(layer, f"{path}{name}", part, scale)

    def _layer(
        self, layer: dict[str, Any], path: str, weights: Weights, scale: np.ndarray | None
    ) -> Iterator[ConvolutionKernel]:
        kind, config = str(layer.get("class_name")), config_of(layer)
        inside = layers_in(layer)
        wrapped = wrapped_in(kind, config)
        sign, rows = signature(layer), []
        if inside is not None:
            yield from self._model(layer, inside, f"{path}/", weights)
        elif wrapped and kind in BUILT_IN:
            for key, inner in wrapped.items():
                name = name_of(inner)
                part = weights.part(key, name)
                yield from self._layer(inner, f"{path}/{name}", part, scale)
        elif kind in KINDS:
            for kernel in self._known(kind, config, path, weights, scale):
                if not _is_again(kernel, self.read.get(sign)):
                    rows.append(kernel)
                    yield kernel
        elif kind not in BUILT_IN:
            yield from self._own(config, path, weights, scale)
        self.read.setdefault(sign, []).extend(rows)

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
                yield from separable_rows(place, values, 1, self.pointwise, None)
            elif separates(values.get("kernel"), values.get("recurrent_kernel")):
                both = dict(zip(KINDS["SeparableConv2D"].names, values.values(), strict=False))
                yield from separable_rows(place, both, 1, self.pointwise, None)
            elif has_gates(values.get("kernel"), values.get("recurrent_kernel")):
                yield from recurrent_rows(place, values, 1, self.pointwise, None)
            else:
                yield from self._by_shape(place, values)

    def _by_shape(self, path: str, values: dict[str, np.ndarray]) -> Iterator[ConvolutionKernel]:
        kernel = values.get("kernel", values.get("depthwise_kernel"))
        if kernel is None or kernel.ndim < 3:
            return
        shape, bias = kernel.shape, values.get("bias")
        if kernel.ndim > 5 or not np.issubdtype(kernel.dtype, np.floating):
            yield ConvolutionKernel(path, shape, reason=UNKNOWN)
        elif "depthwise_kernel" in values or has_length(bias, shape[-2] * shape[-1], but=shape[-1]):
            yield depthwise(path, kernel, self.pointwise)
        elif kernel.ndim == 3 and not has_length(bias, shape[-1]):
            # Attention has kernels of three axes too.
            yield ConvolutionKernel(path, shape, reason=UNKNOWN)
        elif has_length(bias, shape[-2], but=shape[-1]):
            yield prepared(path, np.swapaxes(kernel, -1, -2), 1, self.pointwise)
        else:
            self.found.assumed.append(path)
            yield prepared(path, kernel, 1, self.pointwise)


def _is_again(kernel: ConvolutionKernel, before: list[ConvolutionKernel] | None) -> bool:
    """Whether a layer of this configuration had these very weights, or has all that there are.

    `.keras` holds the weights of a shared layer once, `.h5` with each model.

    Args:
        kernel: of a layer.
        before: those of earlier layers of its configuration, None where there is no such layer.
    """
    if before is None or kernel.reason == NO_WEIGHTS:
        return before is not None
    # Layers that still are as they were made, of constants, may be alike by themselves.
    varies = any(np.ptp(group) > 0 for group in kernel.groups)
    return varies and any(_same(kernel, other) for other in before)


def _same(kernel: ConvolutionKernel, other: ConvolutionKernel) -> bool:
    return (kernel.shape, len(kernel.groups)) == (other.shape, len(other.groups)) and all(
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(kernel.groups, other.groups, strict=True)
    )


def _scale(config: dict[str, Any], weights: Weights) -> np.ndarray | None:
    """gamma / sqrt(variance + epsilon) of a batch norm in the file."""
    settings = config_of(config)
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

"""Which batch norm follows a convolution: what both compute is one kernel, scaled filter by filter.

A convolution before a batch norm can be scaled by any factor, its moving statistics with it, and
the network computes the same. The kernel times gamma / sqrt(variance + epsilon) does not change.

Names that Keras does not document and that this file leans on: `Layer._flatten_layers`,
`Layer._build_shapes_dict`, `Layer._call_has_training_arg`, `Operation._inbound_nodes` and
`_outbound_nodes`. Where one is missing, kernels are left unfolded, which the table tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import keras
import numpy as np
from keras import layers, tree

from ckrm_tf.narrowing import keras_graph

# Each of them commutes with a positive factor on a channel and mixes no channels.
PASSING = tuple(
    getattr(layers, name)
    for name in (
        "Identity", "Dropout", "GaussianDropout", "LeakyReLU", "PReLU",
        *(f"SpatialDropout{n}D" for n in (1, 2, 3)),
        *(f"{kind}{n}D" for n in (1, 2, 3) for kind in (
            "ZeroPadding", "Cropping", "UpSampling", "MaxPooling", "AveragePooling")),
    )
)  # fmt: skip
HOMOGENEOUS = ("linear", "relu", "leaky_relu")


@dataclass
class Readers:
    """The graph of a model as calls between numbered tensors, nested models and layers entered.

    Attributes:
        calls: (operation, rank of its first input, tensors read, tensors made).
        read: the calls that read each tensor.
        ends: the tensors that somebody outside reads.
        inner_ends: the outputs of the layers that were entered.
    """

    calls: list[tuple[Any, int, list[int], list[int]]] = field(default_factory=list)
    read: dict[int, list[int]] = field(default_factory=dict)
    ends: set[int] = field(default_factory=set)
    inner_ends: set[int] = field(default_factory=set)
    numbers: Any = field(default_factory=count)

    def add(self, operation: Any, rank: int, given: list[int], outputs: int) -> list[int]:
        """One call; the tensors that it makes."""
        made = [next(self.numbers) for _ in range(outputs)]
        for tensor in set(given):
            self.read.setdefault(tensor, []).append(len(self.calls))
        self.calls.append((operation, rank, given, made))
        return made


def batch_norms(graph: Readers) -> dict[int, Any]:
    """The batch norm that follows each convolution, by the `id` of the convolution's layer.

    It follows where nothing else reads the convolution's output, directly or through layers that
    treat each channel by itself and commute with a positive factor.
    """
    found: dict[int, set[int]] = {}
    by_id: dict[int, Any] = {}
    for operation, _, _, made in graph.calls:
        if not is_convolution(operation):
            continue
        norm = _norm_after(graph, operation, made[0])
        found.setdefault(id(operation), set()).add(id(norm))
        by_id[id(norm)] = norm
    # A convolution that is called several times has one scale only where one norm follows always.
    return {
        layer: by_id[next(iter(norms))]
        for layer, norms in found.items()
        if len(norms) == 1 and by_id[next(iter(norms))] is not None
    }


def scale_of(norm: Any) -> np.ndarray:
    """gamma / sqrt(variance + epsilon) of a batch norm: (channels,) float64."""
    variance = np.asarray(norm.moving_variance.numpy(), np.float64)
    gamma = 1.0 if norm.gamma is None else np.asarray(norm.gamma.numpy(), np.float64)
    with np.errstate(invalid="ignore"):
        scale: np.ndarray = gamma / np.sqrt(variance + norm.epsilon)
    return scale


def is_convolution(operation: Any) -> bool:
    """Whether a layer is a convolution of any kind whose output is linear in its kernel."""
    return isinstance(operation, LINEAR)


LINEAR = tuple(
    getattr(layers, name)
    for name in (
        *(f"Conv{n}D" for n in (1, 2, 3)),
        *(f"Conv{n}DTranspose" for n in (1, 2, 3)),
        *(f"{kind}Conv{n}D" for n in (1, 2) for kind in ("Depthwise", "Separable")),
    )
)


def readers(model: Any) -> Readers:
    """The flat graph of a model; empty where it cannot be found.

    Layers made of other layers, and subclassed models, are entered by calling them on symbolic
    tensors. Where that fails their convolutions have no known readers.
    """
    graph = Readers()
    try:
        given = [next(graph.numbers) for _ in keras_graph.inputs(model)]
        graph.ends |= set(_flatten(graph, model, given))
    except Exception:  # a subclassed model: its call is the user's code
        graph = Readers()
        symbols = _input_of(model)
        if symbols is not None:
            given = [next(graph.numbers)]
            graph.ends |= set(_expand(graph, model, (symbols,), {}, given) or ())
    return graph


def _input_of(model: Any) -> Any:
    """A symbolic input like the one that a subclassed model was built on."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    first = next(iter(shapes.values()), None)
    if len(shapes) != 1 or not isinstance(first, tuple | list):
        return None
    if not all(side is None or isinstance(side, int) for side in first):
        return None
    return keras.Input(batch_shape=tuple(first), name="given")


def _flatten(graph: Readers, model: Any, given: list[int]) -> list[int]:
    known = {id(s): n for s, n in zip(keras_graph.inputs(model), given, strict=True)}
    for step in keras_graph.steps(model):
        wrapped = isinstance(step.operation, layers.TimeDistributed)
        operation = step.operation.layer if wrapped else step.operation
        read = [known[id(x)] for x in step.inputs]
        if keras_graph.is_model(operation):
            symbols = keras_graph.tensors_among((step.args, step.kwargs), operation)
            made = _flatten(graph, operation, [known[id(x)] for x in symbols])
        else:
            inner = None
            if not wrapped and is_composite(operation):
                inner = _expand(graph, operation, step.args, step.kwargs, read)
            rank = len(step.inputs[0].shape) - wrapped if step.inputs else 0
            made = inner or graph.add(operation, rank, read, len(step.outputs))
        known |= {id(s): n for s, n in zip(step.outputs, made, strict=True)}
    return [known[id(x)] for x in keras_graph.outputs(model)]


def is_composite(operation: Any) -> bool:
    """Whether a layer has convolutions inside that it calls itself."""
    if not isinstance(operation, keras.Layer) or isinstance(operation, layers.Wrapper):
        return False
    return any(map(is_convolution, operation._flatten_layers(include_self=False)))


def _expand(
    graph: Readers, layer: Any, args: Any, kwargs: Any, given: list[int]
) -> list[int] | None:
    """The calls inside a layer, found by calling it on symbolic tensors; None where that fails."""
    fresh: dict[int, Any] = {}

    def symbol(x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            return x
        return fresh.setdefault(
            id(x), keras.Input(batch_shape=x.shape, dtype=x.dtype, name=f"given{len(fresh)}")
        )

    args, kwargs = tree.map_structure(symbol, (args, kwargs))
    inside = list(layer._flatten_layers(include_self=False))
    before = [(part, len(part._inbound_nodes), len(part._outbound_nodes)) for part in inside]
    numbers = dict(zip(fresh, dict.fromkeys(given), strict=False))
    try:
        if getattr(layer, "_call_has_training_arg", False):
            kwargs = {**kwargs, "training": False}
        called = layer.call(*args, **kwargs)
        part = keras.Model(list(fresh.values()), tree.flatten(called), name="inside")
        made = _flatten(graph, part, list(numbers.values()))
        graph.inner_ends.update(made)
        return made
    except Exception:  # the user's code may do what no symbolic tensor can
        return None
    finally:
        for part, inbound, outbound in before:
            del part._inbound_nodes[inbound:]
            del part._outbound_nodes[outbound:]


def _norm_after(graph: Readers, convolution: Any, tensor: int) -> Any:
    if not _homogeneous(getattr(convolution, "activation", None)):
        return None
    while tensor not in graph.ends and len(graph.read.get(tensor, ())) == 1:
        operation, rank, _, made = graph.calls[graph.read[tensor][0]]
        if isinstance(operation, layers.BatchNormalization):
            return operation if _on_channels(operation, convolution, rank) else None
        if not _passes(operation):
            return None
        tensor = made[0]
    return None


def _on_channels(norm: Any, convolution: Any, rank: int) -> bool:
    channels = 1 if convolution.data_format == "channels_first" else rank - 1
    return isinstance(norm.axis, int) and norm.axis % rank == channels


def _passes(operation: Any) -> bool:
    if isinstance(operation, layers.ReLU):
        return operation.max_value is None and not operation.threshold
    if isinstance(operation, layers.Activation):
        return _homogeneous(operation.activation)
    return isinstance(operation, PASSING)


def _homogeneous(activation: Any) -> bool:
    return activation is None or activation in [
        getattr(keras.activations, name) for name in HOMOGENEOUS
    ]


def makers(graph: Readers) -> set[int]:
    """The `id`s of the convolutions inside layers whose channels are those of the layer's output.

    Found from the calls inside: through norms and whatever has no weights.
    """
    ends = graph.inner_ends
    return {
        id(operation)
        for operation, _, _, made in graph.calls
        if is_convolution(operation) and _reaches(graph, made[0], ends)
    }


def _reaches(graph: Readers, tensor: int, ends: Iterable[int]) -> bool:
    if tensor in ends:
        return True
    return any(
        _keeps_channels(graph.calls[call][0]) and _reaches(graph, graph.calls[call][3][0], ends)
        for call in graph.read.get(tensor, ())
    )


def _keeps_channels(operation: Any) -> bool:
    """Whether the channels that leave an operation entered it: what has no weights mixes none."""
    return isinstance(operation, layers.BatchNormalization) or not getattr(operation, "weights", ())

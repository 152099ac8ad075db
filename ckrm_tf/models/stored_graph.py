"""Which batch norm follows a convolution, from the configuration in a model's file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from ckrm_tf.measures.folding import HOMOGENEOUS, LINEAR, PASSING

CONVOLUTIONS = {kind.__name__ for kind in LINEAR}
PASSES = {kind.__name__ for kind in PASSING} | {"ReLU", "Activation", "InputLayer"}


def norm_names(model: Any) -> dict[str, str]:
    """For each convolution of a functional or sequential configuration, the name of its batch norm.

    As `ckrm_tf.measures.folding.batch_norms`, within one model: the norm alone must read the
    convolution, directly or through layers that commute with a positive factor on a channel.
    """
    config = model.get("config") if isinstance(model, dict) else None
    inside = config if isinstance(config, list) else (config or {}).get("layers", [])
    layers = {_name(layer): layer for layer in inside}
    sequential = model.get("class_name") == "Sequential"
    read = _chain(list(layers)) if sequential else _readers(layers)
    ends = set() if sequential else set(_tensors((config or {}).get("output_layers", [])))
    calls = Counter(layer for readers in read.values() for layer in readers)
    found = {}
    for name, layer in layers.items():
        if bare(layer).get("class_name") in CONVOLUTIONS and _homogeneous(layer):
            norm = _follow(name, layers, read, ends, calls)
            if norm is not None and _on_channels(layers[norm], layer):
                found[name] = norm
    return found


def _follow(
    name: str,
    layers: dict[str, Any],
    read: dict[str, list[str]],
    ends: set[str],
    calls: Counter[str],
) -> str | None:
    for _ in range(len(layers)):
        following = read.get(name, [])
        if name in ends or len(following) != 1 or calls[name] > 1:
            return None
        name = following[0]
        kind = bare(layers[name]).get("class_name")
        if kind == "BatchNormalization":
            return name
        if kind not in PASSES or not _homogeneous(layers[name]):
            return None
    return None


def _chain(names: list[str]) -> dict[str, list[str]]:
    return {a: [b] for a, b in pairwise(names)}


def _readers(layers: dict[str, Any]) -> dict[str, list[str]]:
    """The layers that read each layer, once for each call."""
    read: dict[str, list[str]] = {}
    for name, layer in layers.items():
        nodes = layer.get("inbound_nodes")
        for node in nodes if isinstance(nodes, list) else []:
            for source in set(_tensors(node)):
                read.setdefault(source, []).append(name)
    return read


def _tensors(node: Any) -> Iterator[str]:
    """The names of the layers whose outputs stand in a node, in the form of any Keras."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "keras_history" and isinstance(value, list) and value:
                yield str(value[0])
            else:
                yield from _tensors(value)
    elif isinstance(node, list):
        if len(node) >= 3 and isinstance(node[0], str) and isinstance(node[1], int):
            yield node[0]
            yield from _tensors(node[3:])
        else:
            for value in node:
                yield from _tensors(value)


def bare(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer, or what a TimeDistributed applies to each step."""
    inner = (layer.get("config") or {}).get("layer") if _is_each(layer) else None
    return inner if isinstance(inner, dict) else layer


def _is_each(layer: dict[str, Any]) -> bool:
    return layer.get("class_name") == "TimeDistributed" and isinstance(layer.get("config"), dict)


def _homogeneous(layer: dict[str, Any]) -> bool:
    layer = bare(layer)
    config = layer.get("config")
    config = config if isinstance(config, dict) else {}
    if layer.get("class_name") == "ReLU":
        return config.get("max_value") is None and not config.get("threshold")
    activation = config.get("activation", "linear")
    return activation is None or activation in HOMOGENEOUS


def _on_channels(norm: dict[str, Any], convolution: dict[str, Any]) -> bool:
    # The axis of time, where the norm sees it and the convolution does not.
    more = _is_each(convolution) - _is_each(norm)
    norm, convolution = bare(norm), bare(convolution)
    axis = norm["config"].get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    settings = convolution["config"]
    first = settings.get("data_format") == "channels_first"
    size = settings.get("kernel_size")
    rank = 2 + (len(size) if isinstance(size, list | tuple) else 1)
    channels = (1 if first else rank - 1) + more
    return isinstance(axis, int) and axis % (rank + more) == channels


def _name(layer: dict[str, Any]) -> str:
    config = layer.get("config")
    own = config.get("name") if isinstance(config, dict) else None
    return str(layer.get("name") or own or layer.get("class_name"))

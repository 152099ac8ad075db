"""Where the channels of each width can be seen: the tensors that responses are read from.

A layer that makes channels is read behind its batch norm and before its activation. Where nothing
but a sum reads what it makes, its width is that of the sum, and the sum is read instead. The sums
of one width, as along the blocks of a ResNet's stage, are read together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import layers

from ckrm_tf.measures.folding import LINEAR
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.plan import Channels

# Sums, as layers and as operations of `keras.ops`.
SUMS = ("Add", "Subtract", "Average", "CustomScaleLayer")
# Layers whose `activation` is the last thing that they do.
ACTIVATED = (*LINEAR, layers.Dense, layers.EinsumDense)


@dataclass(eq=False)
class Site:
    """The tensors in which every channel of one width can be seen.

    Attributes:
        name: path of the layer that makes it, or of the last sum; unique.
        groups: the width groups that its channels belong to.
        layers: paths of the layers whose width it shows.
        shape: of one image, None for a side that is open.
        axis: of the channels, the batch axis counted.
        tensors: `id` of the symbolic tensors; several where there are several sums, or where a
            layer is called several times.
    """

    name: str
    groups: tuple[str, ...]
    layers: list[str]
    shape: tuple[int | None, ...]
    axis: int
    tensors: list[int] = field(default_factory=list)

    @property
    def channels(self) -> int:
        """The number of channels."""
        return int(self.shape[self.axis - 1] or 0)


@dataclass(frozen=True, eq=False)
class _Flat:
    """One step of the innermost models; tensors by the `id` of the symbol that made them."""

    step: keras_graph.Step
    path: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def find_sites(channels: Channels) -> list[Site]:
    """The sites of a model, in the order of its graph."""
    flat, ends = _flatten(channels)
    readers: dict[int, list[_Flat]] = {}
    for item in {item.step.key: item for item in flat}.values():
        for token in item.inputs:
            readers.setdefault(token, []).append(item)
    graph = _Graph(channels, readers, set(ends))
    sites: dict[Any, Site] = {}
    for item in flat:
        graph.add(item, sites)
    return list(sites.values())


class _Graph:
    """Who reads which tensor."""

    def __init__(
        self, channels: Channels, readers: Mapping[int, list[_Flat]], ends: set[int]
    ) -> None:
        self.trace, self.readers, self.ends = channels.trace, readers, ends
        self.producers = {id(operation) for _, operation in self.trace.producers}
        self.group_of: dict[str, list[str]] = {}
        for group in channels.groups.values():
            for path in group.layers:
                self.group_of.setdefault(path, []).append(group.name)

    def add(self, item: _Flat, sites: dict[Any, Site]) -> None:
        """Note the site that shows what this step makes, if it makes channels."""
        made = self._makes(item)
        if not made and not self._sums(item):
            return
        last, token, axis = self._end(item, item.outputs[0])
        shape = self.trace.shapes.get(token) or self._shape(last, token)
        if axis is None or (shape[axis] or 0) < 2:
            return
        if len(shape) == 2 and self._answers(token):
            return
        groups = self._groups(token, axis)
        key = (groups, axis) if self._sums(last) and groups else last.path
        site = sites.setdefault(key, Site("", groups, [], (), axis))
        site.name, site.shape = last.path, tuple(shape[1:])
        if token not in site.tensors:
            site.tensors.append(token)
        if made and item.path not in site.layers:
            site.layers.append(item.path)

    def _makes(self, item: _Flat) -> bool:
        operation = item.step.operation
        kernel = getattr(operation, "kernel", None)
        known = id(operation) in self.producers or (
            kernel is not None and len(kernel.shape) > 1 and id(kernel) in self.trace.uses
        )
        return known and self._axis(item, item.outputs[0]) is not None

    def _sums(self, item: _Flat) -> bool:
        if type(item.step.operation).__name__ not in SUMS:
            return False
        carrying = [t for t in item.inputs if any(i is not None for i in self._label(t))]
        return len(carrying) > 1 and self._axis(item, item.outputs[0]) is not None

    def _label(self, token: int) -> list[Any]:
        return list(self.trace.labels.get(token, ()))

    def _axis(self, item: _Flat, token: int) -> int | None:
        """The axis of the channels: of several, the one that the layer makes itself."""
        label = self._label(token)
        found = [axis for axis, ids in enumerate(label) if ids is not None and axis > 0]
        own = [
            axis
            for axis in found
            if self.trace.producers[self.trace.atoms.producer(int(label[axis].max()))][1]
            is item.step.operation
        ]
        return next(reversed(own or found), None)

    def _end(self, item: _Flat, token: int) -> tuple[_Flat, int, int | None]:
        """Where what a step makes is read: behind batch norm, or in the sum that alone reads it.

        Returns:
            The step that names the site, the tensor, and the axis of the channels.
        """
        axis, named = self._axis(item, token), item
        if activation_of(item.step.operation) is not None:
            return named, token, axis
        while token not in self.ends and len(self.readers.get(token, ())) == 1:
            reader = self.readers[token][0]
            operation = reader.step.operation
            if self._sums(reader):
                named = reader
            elif isinstance(operation, layers.BatchNormalization):
                if axis is None or operation.axis % len(self._label(token)) != axis:
                    break
            elif not isinstance(operation, keras_graph.IDLE):
                break
            token = reader.outputs[0]
            axis = self._axis(reader, token)
        return named, token, axis

    def _answers(self, token: int) -> bool:
        """Whether a tensor becomes an output of the model with no layer of weights between."""
        if token in self.ends:
            return True
        return any(
            not self._makes(reader) and any(self._answers(t) for t in reader.outputs)
            for reader in self.readers.get(token, ())
        )

    def _groups(self, token: int, axis: int) -> tuple[str, ...]:
        atoms = {self.trace.atoms.producer(int(i)) for i in self._label(token)[axis]}
        paths = [self.trace.producers[number][0] for number in sorted(atoms) if number >= 0]
        return tuple(dict.fromkeys(name for path in paths for name in self.group_of.get(path, ())))

    def _shape(self, item: _Flat, token: int) -> tuple[int | None, ...]:
        # The site may lie behind the step that names it, which keeps the shape.
        shape = next(tuple(x.shape) for x in item.step.outputs)
        label = self._label(token)
        return shape if len(shape) == len(label) else (None,) * len(label)


def _flatten(channels: Channels) -> tuple[list[_Flat], list[int]]:
    paths = channels.trace.paths
    found: list[_Flat] = []

    def follow(model: Any, given: list[int]) -> list[int]:
        known = {id(x): token for x, token in zip(keras_graph.inputs(model), given, strict=True)}
        for step in keras_graph.steps(model):
            tokens = tuple(known[id(x)] for x in step.inputs)
            if keras_graph.is_model(step.operation):
                symbols = keras_graph.tensors_among((step.args, step.kwargs), step.operation)
                made = follow(step.operation, [known[id(x)] for x in symbols])
            else:
                made = [id(x) for x in step.outputs]
                path = paths[id(step.operation)]
                found.append(_Flat(step, path, tokens, tuple(made)))
            for symbol, token in zip(step.outputs, made, strict=True):
                known[id(symbol)] = token
        return [known[id(x)] for x in keras_graph.outputs(model)]

    ends = follow(channels.model, [id(x) for x in keras_graph.inputs(channels.model)])
    return found, ends


def activation_of(operation: Any) -> Callable[[Any], Any] | None:
    """The activation that a layer applies last, None where there is none."""
    if type(operation) not in ACTIVATED:
        return None
    activation: Callable[[Any], Any] | None = operation.activation
    return None if activation is keras.activations.linear else activation


def follow(
    model: Any,
    values: list[Any],
    observe: Callable[[int, Any], None],
    before: Callable[[Any, Any], None] | None = None,
) -> list[Any]:
    """Use a network step by step.

    Args:
        model: functional or sequential; nested models are entered.
        values: one tensor for each flat input.
        observe: sees each tensor that is made, with the `id` of its symbol; of a layer with an
            activation what it is applied to.
        before: sees each layer with its first argument before it is called.

    Returns:
        One tensor for each flat output.
    """
    known = {
        id(symbol): value for symbol, value in zip(keras_graph.inputs(model), values, strict=True)
    }
    left = _uses(model)
    for step in keras_graph.steps(model):
        args, kwargs = step.filled(known)
        if keras_graph.is_model(step.operation):
            inner = keras_graph.tensors_among((args, kwargs), step.operation)
            found = follow(step.operation, inner, observe, before)
        else:
            if before is not None and args:
                before(step.operation, args[0])
            found = _called(step, args, kwargs, observe)
        for symbol, value in zip(step.outputs, found, strict=True):
            known[id(symbol)] = value
        for symbol in step.inputs:
            left[id(symbol)] -= 1
            if not left[id(symbol)]:
                del known[id(symbol)]
    return [known[id(symbol)] for symbol in keras_graph.outputs(model)]


def _uses(model: Any) -> dict[int, int]:
    """How often each tensor is read, the outputs once more: what is read for good is let go."""
    found: dict[int, int] = {}
    for symbol in keras_graph.outputs(model):
        found[id(symbol)] = found.get(id(symbol), 0) + 1
    for step in keras_graph.steps(model):
        for symbol in step.inputs:
            found[id(symbol)] = found.get(id(symbol), 0) + 1
    return found


def _called(
    step: keras_graph.Step, args: Any, kwargs: Any, observe: Callable[[int, Any], None]
) -> list[Any]:
    operation = step.operation
    activation = activation_of(operation)
    if activation is None:
        found = keras_graph.call(operation, args, kwargs)
    else:
        operation.activation = keras.activations.linear
        try:
            found = keras_graph.call(operation, args, kwargs)
        finally:
            operation.activation = activation
    for symbol, value in zip(step.outputs, found, strict=True):
        observe(id(symbol), value)
    return found if activation is None else [activation(value) for value in found]

"""Walk a Keras graph once and note which channels each weight, setting and tensor goes with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import tree

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import FIXED, Atoms, Ids, Label
from ckrm_tf.narrowing.call import Call, Edit, NoRuleError, Read, Rule, Shape, Term

# (layer or call that is edited, where in its settings)
Place = tuple[int, tuple[Any, ...]]


@dataclass
class Trace:
    """What one walk over the graph found. `walk` makes it."""

    rules: Callable[[Any], Rule | None]
    atoms: Atoms = field(default_factory=Atoms)
    producers: list[tuple[str, Any]] = field(default_factory=list)
    uses: dict[int, dict[int, Ids | None]] = field(default_factory=dict)
    edits: dict[Place, Edit] = field(default_factory=dict)
    inputs: dict[int, list[Label]] = field(default_factory=dict)
    reads: dict[int, list[Read]] = field(default_factory=dict)
    macs: list[Term] = field(default_factory=list)
    activations: list[Term] = field(default_factory=list)
    # By the `id` of the symbolic tensor; a model that is called twice leaves its last call's.
    labels: dict[int, Label] = field(default_factory=dict)
    frozen: dict[str, str] = field(default_factory=dict)
    inexact: list[str] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    layers: list[tuple[str, Any]] = field(default_factory=list)
    shapes: dict[int, Shape] = field(default_factory=dict)
    first_shape: dict[int, Shape] = field(default_factory=dict)
    _born: dict[tuple[int, str], Ids] = field(default_factory=dict)
    _tied: dict[Any, list[Label]] = field(default_factory=dict)

    def born(self, operation: Any, tag: str, count: int, path: str) -> Ids:
        """The atoms that a layer makes: the same at every call."""
        key = (id(operation), tag)
        if key not in self._born:
            self.producers.append((f"{path}/{tag}" if tag else path, operation))
            self._born[key] = self.atoms.new(count, len(self.producers) - 1)
        return self._born[key]

    def use(self, variable: Any, axis: int, ids: Ids | None) -> None:
        """Axis `axis` of a variable goes with these atoms, at every call of its layer."""
        axes = self.uses.setdefault(id(variable), {})
        axis %= len(variable.shape)
        axes[axis] = ids if axis not in axes else self.both(axes[axis], ids)

    def both(self, a: Ids | None, b: Ids | None) -> Ids | None:
        """One axis that two calls see: tied atom by atom, or frozen where one is fixed."""
        if a is None or b is None or a.shape != b.shape:
            for ids in (a, b):
                if ids is not None:
                    self.atoms.freeze(ids, "a shared layer also reads a tensor of fixed width")
            return None
        if a is not b:
            self.atoms.tie(a, b)
        return a

    def same(self, key: Any, labels: list[Label]) -> None:
        """Tensors that must keep equal shapes at every call of a shared layer or model."""
        before = self._tied.setdefault(key, labels)
        if before is not labels:
            for old, new in zip(before, labels, strict=True):
                for a, b in zip(old, new, strict=True):
                    self.both(a, b)

    def freeze(self, labels: list[Label], reason: str) -> None:
        """Nothing along these tensors may be removed."""
        for label in labels:
            for ids in label:
                if ids is not None:
                    self.atoms.freeze(ids, reason)


def walk(model: Any, rules: Callable[[Any], Rule | None], shapes: dict[int, Shape]) -> Trace:
    """Trace a model: inputs and outputs are fixed, everything between follows from the rules.

    Args:
        model: functional or sequential.
        rules: the rule of an operation, or None.
        shapes: of symbolic tensors whose own shape leaves sides open.
    """
    trace = Trace(rules, shapes=shapes)
    fixed: list[Label] = [[None] * len(x.shape) for x in keras_graph.inputs(model)]
    found = _walk(trace, model, fixed, "")
    trace.freeze(found, "it is an output of the model")
    return trace


def _walk(trace: Trace, model: Any, given: list[Label], prefix: str) -> list[Label]:
    known = {
        id(symbol): label for symbol, label in zip(keras_graph.inputs(model), given, strict=True)
    }
    trace.inputs.setdefault(id(model), given)
    trace.same(("inputs", id(model)), given)
    for step in keras_graph.steps(model):
        operation = step.operation
        path = f"{prefix}{operation.name}"
        if id(operation) not in trace.paths:
            trace.paths[id(operation)] = path
            trace.layers.append((path, operation))
        path = trace.paths[id(operation)]
        if keras_graph.is_model(operation):
            labels = [known[id(x)] for x in _model_inputs(step)]
            found = _walk(trace, operation, labels, f"{path}/")
        else:
            labels = [known[id(x)] for x in step.inputs]
            found = _apply(trace, step, path, labels)
            _count(trace, step, path, found)
        for symbol, label in zip(step.outputs, found, strict=True):
            known[id(symbol)] = label
            trace.labels[id(symbol)] = label
    return [known[id(symbol)] for symbol in keras_graph.outputs(model)]


def _model_inputs(step: keras_graph.Step) -> list[Any]:
    """The symbolic tensors of a nested model's call, in the order of its inputs."""
    return keras_graph.tensors_among((step.args, step.kwargs), step.operation)


def _apply(trace: Trace, step: keras_graph.Step, path: str, labels: list[Label]) -> list[Label]:
    carried = any(ids is not None for label in labels for ids in label)
    rule = trace.rules(step.operation)
    kind = type(step.operation).__name__
    reason = f"{kind} {path} has no rule"
    if rule is not None:
        call = Call(trace, step, path, labels)
        try:
            found = rule(call)
        except NoRuleError as error:
            reason = f"{kind} {path}: {error}"
        else:
            if found is None:
                found = [[None] * len(x.shape) for x in step.outputs]
            return _checked(found, call)
    if carried:
        trace.freeze(labels, reason)
    # A layer that is refused by its own rule, such as a quantised one, is named wherever it stands.
    if carried or rule is None or bool(getattr(step.operation, "weights", ())):
        trace.frozen[path] = reason
    return [[None] * len(x.shape) for x in step.outputs]


def _checked(found: list[Label], call: Call) -> list[Label]:
    """A rule's answer, held against the shapes: a rule that is wrong must not go unnoticed."""
    if len(found) != len(call.out_shapes):
        raise CKRMError(
            f"channel rule of {type(call.layer).__name__}",
            expected=f"a list of {len(call.out_shapes)} outputs for {call.path}",
            received=f"{len(found)}",
        )
    for label, shape in zip(found, call.out_shapes, strict=True):
        sizes = [None if ids is None else len(ids) for ids in label]
        if len(sizes) != len(shape) or any(
            n is not None and m is not None and n != m for n, m in zip(sizes, shape, strict=True)
        ):
            raise CKRMError(
                f"channel rule of {type(call.layer).__name__}",
                expected=f"for each axis of {call.path} as many channels as in {tuple(shape)}",
                received=sizes,
            )
        for axis, side in enumerate(shape):
            ids = label[axis]
            if ids is not None and side is None:
                call.freeze(ids, "the axis has no known size")
                label[axis] = None
            elif ids is not None and not np.any(ids != FIXED):
                label[axis] = None
    return found


def _count(trace: Trace, step: keras_graph.Step, path: str, found: list[Label]) -> None:
    for symbol, label in zip(step.outputs, found, strict=True):
        shape = trace.shapes.get(id(symbol), tuple(symbol.shape))
        trace.first_shape.setdefault(id(step.operation), shape)
        sides = [side for side, ids in zip(shape[1:], label[1:], strict=True) if ids is None]
        factor = math.prod(side if side is not None else 1 for side in sides)
        trace.activations.append(Term(path, factor, tuple(ids for ids in label if ids is not None)))


def concrete_shapes(model: Any, input_shapes: list[Shape]) -> dict[int, Shape]:
    """The shape of every symbolic tensor when the inputs have these, batch axis included."""
    import keras  # noqa: PLC0415 - kept with its only use

    shapes: dict[int, Shape] = {}

    def follow(model: Any, given: list[Any]) -> list[Any]:
        known = {id(x): y for x, y in zip(keras_graph.inputs(model), given, strict=True)}
        for symbol, spec in zip(keras_graph.inputs(model), given, strict=True):
            shapes[id(symbol)] = tuple(spec.shape)
        for step in keras_graph.steps(model):
            if keras_graph.is_model(step.operation):
                found = follow(step.operation, [known[id(x)] for x in _model_inputs(step)])
            else:
                args, kwargs = step.filled(known)
                found = tree.flatten(step.operation.compute_output_spec(*args, **kwargs))
            for symbol, spec in zip(step.outputs, found, strict=True):
                known[id(symbol)] = spec
                shapes[id(symbol)] = tuple(spec.shape)
        return [known[id(x)] for x in keras_graph.outputs(model)]

    specs = [
        keras.KerasTensor(shape, dtype=x.dtype)
        for shape, x in zip(input_shapes, keras_graph.inputs(model), strict=True)
    ]
    follow(model, specs)
    return shapes

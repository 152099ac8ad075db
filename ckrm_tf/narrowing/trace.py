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

Shape = tuple[int | None, ...]
Rule = Callable[["Call"], "list[Label] | None"]
# (layer or call that is edited, where in its settings)
Place = tuple[int, tuple[Any, ...]]


class NoRuleError(Exception):
    """A rule meets a case that it does not understand; what enters the layer is frozen."""


@dataclass
class Edit:
    """A setting that follows the number of channels: `value(alive)` of the atoms `ids`."""

    call: bool
    path: tuple[Any, ...]
    ids: Ids
    value: Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Read:
    """A kernel that reads channels: axis `axis` of `variable` goes with axis `along` of an input.

    `prepare` makes what the kernel multiplies from the input, where that is not the input itself.
    `groups` is the number of equal blocks of channels that the kernel's axis stands for; `bias` is
    the variable that is added to what the kernel makes.
    """

    variable: Any
    axis: int
    ids: Ids
    index: int
    along: int
    groups: int = 1
    bias: Any = None
    prepare: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Term:
    """A product: `factor` times the number of living atoms of each entry of `ids`."""

    path: str
    factor: int
    ids: tuple[Ids, ...] = ()


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


class Call:
    """One call of one operation, as a rule sees it.

    Attributes:
        layer: the layer or op-layer called.
        path: its name, with those of the models around it.
        labels: per input tensor and axis, the atoms along it, or None.
        shapes, out_shapes: of the tensors, the batch axis first.
        step: the call itself, for its arguments.
    """

    def __init__(
        self, trace: Trace, step: keras_graph.Step, path: str, labels: list[Label]
    ) -> None:
        self.trace, self.step, self.path, self.labels = trace, step, path, labels
        self.layer = step.operation
        self.shapes = [trace.shapes.get(id(x), tuple(x.shape)) for x in step.inputs]
        self.out_shapes = [trace.shapes.get(id(x), tuple(x.shape)) for x in step.outputs]

    def channels(self, axis: int = -1, index: int = 0) -> Ids | None:
        """The atoms along one axis of one input; None where its channels are fixed."""
        return self.labels[index][axis]

    def new(self, count: int, tag: str = "") -> Ids:
        """The atoms of the channels that this layer makes; the same at every call."""
        return self.trace.born(self.layer, tag, count, self.path)

    def use(self, variable: Any, axis: int, ids: Ids | None) -> None:
        """Axis `axis` of a weight goes with these channels; a weight that is absent is passed."""
        if variable is not None:
            self.trace.use(variable, axis, ids)

    def read(
        self,
        variable: Any,
        axis: int,
        ids: Ids | None,
        *,
        index: int = 0,
        along: int = -1,
        groups: int = 1,
        bias: Any = None,
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        """Axis `axis` of a kernel reads these channels, along axis `along` of input `index`.

        With groups, the kernel's axis stands for positions within each of `groups` equal blocks.
        """
        self.use(variable, axis, ids if ids is None or groups == 1 else ids[: len(ids) // groups])
        if ids is None:
            return
        axis %= len(variable.shape)
        known = self.trace.reads.setdefault(self.step.key, [])
        # A nested model that is called twice is walked twice.
        if not any(r.variable is variable and r.index == index for r in known):
            known.append(Read(variable, axis, ids, index, along, groups, bias, prepare))

    def sets(
        self,
        setting: Any,
        ids: Ids | None,
        value: Callable[[np.ndarray], Any] | None = None,
        *,
        call: bool = False,
    ) -> None:
        """A setting follows the number of living channels among `ids`, or a function of them.

        Args:
            setting: a key of the layer's config, or a path into it such as `("target_shape", 2)`;
                with `call`, a path into `(args, kwargs)` of the call.
            ids: the channels it follows; None leaves it as it is.
            value: from a mask, True where the channel lives, to the new value; the count if absent.
            call: whether it is an argument of the call and not of the layer.
        """
        if ids is None:
            return
        path = setting if isinstance(setting, tuple) else (setting,)
        where = self.step.key if call else id(self.layer)
        place = (where, path)
        known = self.trace.edits.get(place)
        if known is not None:
            self.trace.both(known.ids, ids)
            return
        self.trace.edits[place] = Edit(call, path, ids, value or (lambda alive: int(alive.sum())))

    def tie(self, a: Ids, b: Ids) -> None:
        """a[i] and b[i] stay or go together."""
        self.trace.atoms.tie(a, b)

    def freeze(self, ids: Ids | None, reason: str) -> None:
        """These channels stay."""
        if ids is not None:
            self.trace.atoms.freeze(ids, f"{self.path}: {reason}")

    def only(self, axis: int, index: int = 0) -> Ids | None:
        """The atoms along one axis; what another axis carries is frozen."""
        label = self.labels[index]
        kept: Label = [None] * len(label)
        kept[axis] = label[axis]
        for ids, same in zip(label, kept, strict=True):
            if ids is not same:
                self.freeze(ids, "it mixes positions along the axis")
        self.labels[index] = kept
        return label[axis]

    def macs(self, *factors: Ids | int | None) -> None:
        """Count multiply-accumulates: the product of numbers and of the counts of living atoms."""
        fixed = math.prod(f for f in factors if isinstance(f, int))
        ids = tuple(f for f in factors if isinstance(f, np.ndarray))
        self.trace.macs.append(Term(self.path, fixed, ids))

    def result(self, ids: Ids | None, axis: int = -1, index: int = 0) -> list[Label]:
        """One output whose axis `axis` carries `ids`; its other axes are those of the input."""
        rank = len(self.out_shapes[0])
        label: Label = (
            list(self.labels[index]) if len(self.labels[index]) == rank else [None] * rank
        )
        label[axis] = ids
        return [label]

    def same(self) -> list[Label]:
        """Every output has the channels of the first input."""
        return [list(self.labels[0]) for _ in self.step.outputs]


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

"""The laws that hold for every narrowed model, as functions. tests/test_narrow_*.py apply them.

The reference of the narrowed model is the original itself, called operation by operation, with the
removed channels set to zero in every tensor that carries them. Norms over channels take their
statistics over the channels that stay.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops, tree

from ckrm_tf import cost, narrow
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.rewrite import Rewriter
from ckrm_tf.narrowing.select import chosen

TOLERANCE = 1e-5  # of the largest output
SPREAD = 1e-3  # over the images, of the largest output: what the comparison can see at least
BROKEN = 30 * TOLERANCE  # the least error of the negative control

OVER_CHANNELS = (layers.LayerNormalization, layers.RMSNormalization, layers.GroupNormalization)


@dataclass
class Subject:
    """A model with disturbed weights, a random half of every group, and what it is narrowed to.

    Attributes:
        model: the original.
        inputs: one array for each flat input.
        seed: of the disturbance and the choice.
        share: of every group that is kept.
        call: how the models are called; eagerly unless given.
    """

    model: keras.Model
    inputs: list[np.ndarray]
    seed: int = 0
    share: float = 0.5
    call: Callable[[Callable[..., Any]], Callable[..., Any]] | None = None
    tolerance: float = TOLERANCE
    disturbed: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        disturb(self.model, self.inputs, rng, self.called)
        self.channels = Channels(self.model)
        self.keep = random_keep(self.channels, rng, self.share)
        self.alive = self.channels.alive(self.keep)

    @cached_property
    def small(self) -> keras.Model:
        """The narrowed model."""
        return Rewriter(self.channels, self.alive).build()

    @cached_property
    def reference(self) -> list[np.ndarray]:
        """The outputs of the masked original."""
        return self.masked(self.channels, self.alive)

    def masked(self, channels: Channels, alive: np.ndarray) -> list[np.ndarray]:
        """The outputs of a model with the removed channels at zero."""
        with zeroed(channels, alive):
            return self.called(lambda *values: masked(channels, alive, list(values)))

    def called(self, function: Callable[..., Any]) -> list[np.ndarray]:
        """The flat outputs of a function of the flat inputs."""
        function = function if self.call is None else self.call(function)
        values = [ops.convert_to_tensor(x) for x in self.inputs]
        return [np.asarray(ops.convert_to_numpy(y)) for y in tree.flatten(function(*values))]

    def outputs(self, model: keras.Model) -> list[np.ndarray]:
        """The flat outputs of a model on the inputs."""

        def call(*values: Any) -> Any:
            given = tree.pack_sequence_as(keras_graph.input_structure(model), list(values))
            return model(given, training=False)

        return self.called(call)


def random_keep(channels: Channels, rng: np.random.Generator, share: float = 0.5) -> Any:
    """A random part of every group, no tensor left empty."""
    order = {name: rng.permutation(len(m)) for name, m in channels.units.members.items()}
    widths = {name: max(1, round(share * len(units))) for name, units in order.items()}
    return chosen(channels, order, widths)


def images(model: keras.Model, rng: np.random.Generator, count: int = 3) -> list[np.ndarray]:
    """Inputs for a model: smooth pictures of different colour and contrast, whole numbers for
    integer inputs; sides that are open get 16 places.

    White noise would average out in the first pooling.
    """
    found = []
    for symbol in keras_graph.inputs(model):
        shape = [16 if side is None else side for side in symbol.shape[1:]]
        if keras.backend.is_int_dtype(symbol.dtype):
            found.append(rng.integers(0, 8, (count, *shape)).astype(symbol.dtype))
            continue
        value = rng.normal(size=(count, *shape))
        for axis in range(1, value.ndim - 1):
            value = value + np.roll(value, 1, axis) + np.roll(value, 2, axis)
        colour = (count, *[1] * (len(shape) - 1), shape[-1])
        value = value * rng.uniform(0.3, 1.5, colour) + rng.normal(0, 0.5, colour)
        found.append(value.astype("float32"))
    return found


def disturb(
    model: keras.Model, inputs: list[np.ndarray], rng: np.random.Generator, called: Any
) -> None:
    """Give every weight a value that shows: a fresh network hides errors.

    Scales, shifts and slopes are drawn. The statistics of each batch norm become those of the batch
    at that place, then are disturbed.
    """
    seen: set[int] = set()
    for _, layer in keras_graph.leaves(model):
        for variable in getattr(layer, "variables", ()):
            name = variable.path.rpartition("/")[2]
            if (
                id(variable) in seen
                or "seed" in name
                or not keras.backend.is_float_dtype(variable.dtype)
            ):
                continue
            seen.add(id(variable))
            if name.endswith(("bias", "beta")):
                variable.assign(rng.normal(0, 0.3, variable.shape))
            elif name.endswith(("gamma", "alpha", "scale")):
                variable.assign(rng.uniform(0.5, 1.5, variable.shape))
            else:
                continue
            # What stayed at zero or one would hide errors.
            assert not np.any(np.isin(ops.convert_to_numpy(variable), (0.0, 1.0)))
    norms: list[Any] = []

    def observe(step: keras_graph.Step, args: Any, kwargs: Any) -> None:
        if type(step.operation) is not layers.BatchNormalization:
            return
        value = ops.cast(tree.flatten((args, kwargs))[0], "float32")
        axis = step.operation.axis % len(value.shape)
        others = [a for a in range(len(value.shape)) if a != axis]
        norms.append(step.operation)
        step.operation.moving_mean.assign(ops.mean(value, others))
        step.operation.moving_variance.assign(ops.var(value, others) + 1e-3)

    called(lambda *values: keras_graph.run(model, list(values), observe))
    for norm in {id(n): n for n in norms}.values():
        scale = ops.convert_to_numpy(ops.sqrt(norm.moving_variance))
        norm.moving_mean.assign_add(scale * rng.normal(0, 0.2, scale.shape))
        norm.moving_variance.assign(scale**2 * rng.uniform(0.6, 1.6, scale.shape))


@contextmanager
def zeroed(channels: Channels, alive: np.ndarray) -> Iterator[None]:
    """The removed slices of every weight at zero for a while: also those that no tensor of the
    graph shows, such as the heads of attention."""
    before = {}
    for _, layer in keras_graph.leaves(channels.model):
        for variable in getattr(layer, "variables", ()):
            value = ops.convert_to_numpy(variable.value)
            before[id(variable)] = variable, value
            for axis, ids in channels.trace.uses.get(id(variable), {}).items():
                if ids is not None:
                    shape = [1] * value.ndim
                    shape[axis] = len(ids)
                    value = np.where(channels.mask(ids, alive).reshape(shape), value, 0)
            variable.assign(value)
    try:
        yield
    finally:
        for variable, value in before.values():
            variable.assign(value)


def masked(channels: Channels, alive: np.ndarray, values: list[Any]) -> list[Any]:
    """The flat outputs of the original with the removed channels at zero everywhere."""

    def mask(symbol: Any, value: Any) -> Any:
        for axis, ids in enumerate(channels.trace.labels.get(id(symbol), ())):
            lives = None if ids is None else channels.mask(ids, alive)
            if lives is not None and not lives.all():
                shape = [1] * len(value.shape)
                shape[axis] = len(lives)
                value = ops.where(lives.reshape(shape), value, ops.zeros_like(value))
        return value

    def lives_along(symbol: Any) -> Any:
        shape = [1] * len(symbol.shape)
        found = np.ones(shape, bool)
        for axis, ids in enumerate(channels.trace.labels.get(id(symbol), ())):
            if ids is not None:
                sides = list(shape)
                sides[axis] = len(ids)
                found = found & channels.mask(ids, alive).reshape(sides)
        return found

    def run(model: Any, given: list[Any]) -> list[Any]:
        known = {id(s): x for s, x in zip(keras_graph.inputs(model), given, strict=True)}
        for step in keras_graph.steps(model):
            args, kwargs = step.filled(known)
            operation = step.operation
            if keras_graph.is_model(operation):
                found = run(operation, keras_graph.tensors_among((args, kwargs), operation))
            elif isinstance(operation, OVER_CHANNELS) and _needs_mask(operation):
                lives = lives_along(step.outputs[0])
                found = [_norm(operation, tree.flatten((args, kwargs))[0], lives)]
            else:
                if getattr(operation, "_call_has_training_arg", False):
                    kwargs = {**kwargs, "training": False}
                found = tree.flatten(operation(*args, **kwargs))
            for symbol, value in zip(step.outputs, found, strict=True):
                known[id(symbol)] = mask(symbol, value)
        return [known[id(symbol)] for symbol in keras_graph.outputs(model)]

    return run(channels.model, values)


def _needs_mask(layer: Any) -> bool:
    # With several groups whole groups go, and the layer itself is the reference.
    return not isinstance(layer, layers.GroupNormalization) or layer.groups == 1


def _norm(layer: Any, value: Any, lives: np.ndarray) -> Any:
    """A norm whose statistics are over the living channels."""
    rank = len(value.shape)
    given = value.dtype
    value = ops.cast(value, "float32")
    if isinstance(layer, layers.GroupNormalization):
        axes, along = list(range(1, rank)), [layer.axis % rank]
    else:
        axis = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
        axes = along = [a % rank for a in axis]
    weight = np.broadcast_to(lives, [1, *value.shape[1:]]).astype("float32")
    count = weight.sum(axis=tuple(axes), keepdims=True)
    if isinstance(layer, layers.RMSNormalization):
        centred = value
    else:
        centred = value - ops.sum(value * weight, axes, keepdims=True) / count
    variance = ops.sum(centred**2 * weight, axes, keepdims=True) / count
    found = centred / ops.sqrt(variance + layer.epsilon)
    shape = [value.shape[a] if a in along else 1 for a in range(rank)]
    for name, apply in (("gamma", ops.multiply), ("scale", ops.multiply), ("beta", ops.add)):
        variable = getattr(layer, name, None)
        if hasattr(variable, "path"):
            found = apply(found, ops.reshape(variable, shape))
    return ops.cast(found, given)


def error(got: list[np.ndarray], wanted: list[np.ndarray]) -> float:
    """The largest difference, as a share of the largest output."""
    found = 0.0
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert np.all(np.isfinite(b))
        difference = np.abs(a.astype("float64") - b.astype("float64")).max()
        found = max(found, float(difference / max(np.abs(b).max(), 1e-12)))
    return found


def spread(outputs: list[np.ndarray]) -> float:
    """How much the outputs vary over the images, as a share of the largest."""
    return max(
        float(np.ptp(y.astype("float64"), axis=0).max() / max(np.abs(y).max(), 1e-12))
        for y in outputs
    )


def count_params(model: keras.Model) -> int:
    """Trainable parameters, counted on the variables."""
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def count_macs(model: keras.Model) -> int | None:
    """Multiply-accumulates from the kernels of a built model; None where a kernel's use is not
    known here, or a side is open."""
    total = 0
    for step in keras_graph.steps(model):
        layer, out = step.operation, tuple(step.outputs[0].shape)
        if keras_graph.is_model(layer):
            inner = count_macs(layer)
            if inner is None:
                return None
            total += inner
            continue
        kernels = [
            int(np.prod(v.shape)) for v in getattr(layer, "variables", ()) if "kernel" in v.name
        ]
        if not kernels:
            continue
        if type(layer) not in PLACES or None in out[1:]:
            return None
        places = out if PLACES[type(layer)] == "out" else tuple(step.inputs[0].shape)
        first = getattr(layer, "data_format", "channels_last") == "channels_first"
        sides = places[2:] if first else places[1:-1]
        total += sum(kernels) * int(np.prod(sides))
    return total


# At which places the kernels of a layer are applied: those of its output or of its input.
PLACES = {
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.Dense), "out"),
    **dict.fromkeys((layers.DepthwiseConv1D, layers.DepthwiseConv2D), "out"),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), "out"),
    **dict.fromkeys((layers.Conv1DTranspose, layers.Conv2DTranspose), "in"),
    layers.Conv3DTranspose: "in",
}


# The laws ----------------------------------------------------------------------------------------


def identity(subject: Subject) -> None:
    """Everything kept: outputs equal to the bit."""
    channels = subject.channels
    same = Rewriter(channels, channels.alive(channels.all())).build()
    before, after = subject.outputs(subject.model), subject.outputs(same)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert spread(before) > SPREAD
    # A half is something else, so equality says something.
    assert error(subject.outputs(subject.small), before) > BROKEN


def masked_equality(subject: Subject) -> None:
    """Half of every group: the outputs of the masked original."""
    found, varies = (
        error(subject.outputs(subject.small), subject.reference),
        spread(subject.reference),
    )
    print(f"{subject.model.name}: masked error {found:.1e}, spread over images {varies:.1e}")
    assert found <= subject.tolerance
    # A deep network at random weights may vary little: then a thousand times the error will do.
    assert varies > min(SPREAD, 1000 * max(found, 1e-7))
    assert varies > 30 * subject.tolerance


def negative_control(subject: Subject) -> None:
    """The kept inputs of one consumer shifted by one: the outputs differ."""
    channels = subject.channels
    candidates = []
    for reads in channels.trace.reads.values():
        for read in reads:
            ids = channels.trace.uses[id(read.variable)][read.axis]
            lives = None if ids is None else channels.mask(ids, subject.alive)
            if lives is not None and np.any(lives != np.roll(lives, 1)):
                candidates.append((read, ids))
    assert candidates, "no consumer to shift"
    read, ids = candidates[-1]
    uses = channels.trace.uses[id(read.variable)]
    uses[read.axis] = np.roll(ids, 1)
    try:
        broken = Rewriter(channels, subject.alive).build()
    finally:
        uses[read.axis] = ids
    found = error(subject.outputs(broken), subject.reference)
    print(f"{subject.model.name}: shifted by one, error {found:.1e}")
    assert found > max(BROKEN, 3 * subject.tolerance)


def prediction(subject: Subject) -> None:
    """Parameters and multiply-accumulates are those counted before anything was built."""
    for model, keep in (
        (subject.model, subject.channels.all()),
        (subject.small, subject.keep),
    ):
        params, macs = subject.channels.costs(keep)
        table = cost(model)
        assert (params, macs) == (table.params, table.macs)
        assert params == count_params(model)
        counted = count_macs(model)
        if counted is None:
            print(f"{model.name}: multiply-accumulates not counted a second time")
        else:
            assert macs == counted
    assert (
        subject.channels.costs(subject.keep)[0] < subject.channels.costs(subject.channels.all())[0]
    )


def names(subject: Subject) -> None:
    """Layers, inputs, outputs and groups keep their names, and the groups have the widths kept."""
    small = Channels(subject.small)
    assert [p for p, _ in small.trace.layers] == [p for p, _ in subject.channels.trace.layers]
    assert subject.small.name == subject.model.name
    assert type(subject.small) is type(subject.model)
    wanted = {name: len(kept) for name, kept in subject.keep.items()}
    found = {name: group.width for name, group in small.groups.items() if name in wanted}
    assert found == wanted


def again(subject: Subject) -> None:
    """A narrowed model is narrowed like any other."""
    channels = Channels(subject.small)
    keep = random_keep(channels, np.random.default_rng(1))
    alive = channels.alive(keep)
    twice = Rewriter(channels, alive).build()
    wanted = subject.masked(channels, alive)
    assert error(subject.outputs(twice), wanted) <= subject.tolerance
    assert channels.costs(keep) == (cost(twice).params, cost(twice).macs)


def saved(subject: Subject, folder: Path) -> None:
    """Saved as .keras and read back: equal to the bit."""
    path = folder / "small.keras"
    subject.small.save(path)
    back = keras.saving.load_model(path, compile=False)
    before, after = subject.outputs(subject.small), subject.outputs(back)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def trains(subject: Subject) -> None:
    """One step of training changes the weights of a narrowed model."""
    small = Rewriter(subject.channels, subject.alive).build()
    wanted = tree.map_structure(
        lambda y: np.ones((len(subject.inputs[0]), *y.shape[1:]), "float32"),
        small(_packed(small, subject.inputs)),
    )
    small.compile(keras.optimizers.SGD(1e-3), "mse", run_eagerly=True)
    before = [np.array(ops.convert_to_numpy(v)) for v in small.trainable_variables]
    small.fit(_packed(small, subject.inputs), wanted, verbose=0)
    after = [np.array(ops.convert_to_numpy(v)) for v in small.trainable_variables]
    moved = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert any(moved)
    assert [a.shape for a in after] == [b.shape for b in before]


def untouched(subject: Subject) -> None:
    """`narrow` leaves the given model as it is."""
    before = [np.array(ops.convert_to_numpy(v)) for v in subject.model.variables]
    outputs = subject.outputs(subject.model)
    settings = [config_of(layer) for _, layer in keras_graph.leaves(subject.model)]
    small = narrow(subject.model, 0.5)
    assert all(
        np.array_equal(a, ops.convert_to_numpy(v))
        for a, v in zip(before, subject.model.variables, strict=True)
    )
    assert [config_of(layer) for _, layer in keras_graph.leaves(subject.model)] == settings
    after = subject.outputs(subject.model)
    assert all(np.array_equal(a, b) for a, b in zip(outputs, after, strict=True))
    assert count_params(small) < count_params(subject.model)
    assert not {id(v) for v in small.variables} & {id(v) for v in subject.model.variables}


def config_of(layer: Any) -> str:
    """A layer's settings as text; a lambda's address is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return re.sub(r"0x[0-9a-f]+", "", str(layer.get_config()))


def _packed(model: keras.Model, inputs: list[np.ndarray]) -> Any:
    return tree.pack_sequence_as(keras_graph.input_structure(model), list(inputs))


LAWS: dict[str, Callable[[Subject], None]] = {
    law.__name__: law
    for law in (
        identity,
        masked_equality,
        negative_control,
        prediction,
        names,
        again,
        trains,
        untouched,
    )
}

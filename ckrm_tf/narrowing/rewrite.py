"""Build the narrowed model and give it the weights that stay."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import FunctionType
from typing import Any

import keras
import numpy as np
from keras import layers, tree
from keras.initializers import Initializer

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import Label
from ckrm_tf.narrowing.call import Edit
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.rules.base import RULES


class Rewriter:
    """Replays a model's graph with narrower layers.

    Args:
        channels: of the model.
        alive: which units stay, from `Channels.alive`.
        values: changed values of variables, by `id`, whole: mended kernels.
    """

    def __init__(
        self, channels: Channels, alive: np.ndarray, values: Mapping[int, np.ndarray] | None = None
    ) -> None:
        self.channels, self.alive, self.values = channels, alive, values or {}
        self.notes: list[str] = []
        self._made: dict[int, Any] = {}
        self._restore: list[tuple[Any, str, Any]] = []
        self._edits: dict[int, list[Edit]] = {}
        for (where, _), edit in channels.trace.edits.items():
            self._edits.setdefault(where, []).append(edit)

    def build(self) -> keras.Model:
        """The narrowed model, with weights, compiled as the original was."""
        model = self._model(self.channels.model)
        for _, layer in self.channels.trace.layers:
            if not keras_graph.is_model(layer) and isinstance(layer, keras.layers.Layer):
                self._copy(layer, self._made[id(layer)])
        for twin, key, initializer in self._restore:
            setattr(twin, key, initializer)
        _compile_like(self.channels.model, model, self.notes)
        return model

    def _model(self, model: Any) -> Any:
        if id(model) in self._made:
            return self._made[id(model)]
        given = self.channels.trace.inputs[id(model)]
        fresh = [
            self._input(layer, symbol, label)
            for layer, symbol, label in zip(
                keras_graph.input_layers(model), keras_graph.inputs(model), given, strict=True
            )
        ]
        if isinstance(model, keras.Sequential):
            made = self._sequential(model, fresh)
        else:
            made = self._functional(model, fresh)
        if not model.trainable:
            made.trainable = False
        self._made[id(model)] = made
        return made

    def _input(self, layer: Any, symbol: Any, label: Label) -> Any:
        shape = list(symbol.shape)
        for axis, ids in enumerate(label):
            if ids is not None:
                shape[axis] = int(self.channels.mask(ids, self.alive).sum())
        return keras.Input(batch_shape=tuple(shape), dtype=symbol.dtype, name=layer.name)

    def _sequential(self, model: Any, fresh: list[Any]) -> Any:
        parts = [self._operation(layer) for layer in model.layers]
        return type(model)([fresh[0], *parts], name=model.name)

    def _functional(self, model: Any, fresh: list[Any]) -> Any:
        known = {id(s): x for s, x in zip(keras_graph.inputs(model), fresh, strict=True)}
        for step in keras_graph.steps(model):
            operation = self._operation(step.operation)
            args, kwargs = step.filled(known)
            args, kwargs = self._edited_call(step, args, kwargs)
            found = tree.flatten(operation(*args, **kwargs))
            for symbol, value in zip(step.outputs, found, strict=True):
                known[id(symbol)] = value

        def twin(symbol: Any) -> Any:
            return known[id(symbol)]

        inputs = tree.map_structure(twin, keras_graph.input_structure(model))
        outputs = tree.map_structure(twin, keras_graph.output_structure(model))
        kind = type(model) if isinstance(model, keras.Model) else keras.Model
        try:
            return kind(inputs=inputs, outputs=outputs, name=model.name)
        except TypeError as error:
            raise CKRMError(
                f"model {model.name}",
                expected=f"a class that is made as {kind.__name__}(inputs=, outputs=, name=)",
                received=str(error),
            ) from error

    def _edited_call(self, step: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        for edit in self._edits.get(step.key, ()):
            if not edit.call or self._whole(edit):
                continue
            args, kwargs = _placed((args, kwargs), edit.path, self._value(edit))
        return args, kwargs

    def _whole(self, edit: Edit) -> bool:
        return bool(self.channels.mask(edit.ids, self.alive).all())

    def _value(self, edit: Edit) -> Any:
        return edit.value(self.channels.mask(edit.ids, self.alive))

    def _operation(self, operation: Any) -> Any:
        """The narrowed twin of a layer, op or nested model; a shared one has one twin."""
        if keras_graph.is_model(operation):
            return self._model(operation)
        if id(operation) not in self._made:
            self._made[id(operation)] = self._twin(operation)
        return self._made[id(operation)]

    def _twin(self, operation: Any) -> Any:
        if isinstance(operation, layers.Lambda):
            return _lambda(operation)
        if type(operation) is layers.TimeDistributed and type(operation.layer) in RULES:
            return layers.TimeDistributed(
                self._operation(operation.layer),
                name=operation.name,
                dtype=operation.dtype_policy,
                trainable=operation.trainable,
            )
        try:
            config = _config(operation)
        except NotImplementedError as error:
            if isinstance(operation, keras.layers.Layer):
                raise CKRMError(
                    f"layer {operation.name}",
                    expected=f"{type(operation).__name__}.get_config()",
                    received=str(error).strip().split("\n", maxsplit=1)[0],
                ) from error
            # An op without a config holds no weights: it can be called in both models.
            return operation
        for edit in self._edits.get(id(operation), ()):
            if not edit.call and not self._whole(edit):
                config = _placed(config, edit.path, self._value(edit))
        if isinstance(operation, keras.layers.Layer):
            return self._layer_twin(operation, config)
        return _made_from(operation, config)

    def _layer_twin(self, layer: Any, config: dict[str, Any]) -> Any:
        initializers = {
            key: getattr(layer, key)
            for key in config
            if key.endswith("_initializer") and isinstance(getattr(layer, key, None), Initializer)
        }
        # Weights are copied; drawing random ones first is time lost, and arrays have the old shape.
        zeros = dict.fromkeys(initializers, "zeros") if type(layer) in RULES else {}
        dropped = {key: None for key in config if self._outgrown(layer, key)}
        twin = _made_from(layer, {**config, **zeros, **dropped})
        for key in dropped:
            self.notes.append(f"{layer.name}: its {key} was made for the old shape and is left out")
        for key in zeros:
            if np.size(getattr(initializers[key], "value", 0)) > 1:
                self.notes.append(
                    f"{layer.name}: its {key} is an array of the old shape: zeros now"
                )
            else:
                self._restore.append((twin, key, initializers[key]))
        return twin

    def _outgrown(self, layer: Any, key: str) -> bool:
        """Whether a setting is a constraint of unknown kind on a weight that is narrowed."""
        constraint = getattr(layer, key, None) if key.endswith("_constraint") else None
        if constraint is None or type(constraint).__module__.startswith("keras."):
            return False
        return any(
            ids is not None and not self.channels.mask(ids, self.alive).all()
            for variable in layer.variables
            for ids in self.channels.trace.uses.get(id(variable), {}).values()
        )

    def _copy(self, old: Any, new: Any) -> None:
        if new is old:
            return
        before, after = list(old.variables), list(new.variables)
        if len(before) != len(after):
            raise CKRMError(
                f"layer {old.name}",
                expected=f"{len(before)} weights after it is built anew",
                received=len(after),
                hint="Weights that a layer makes outside its config are lost when it is copied.",
            )
        for source, target in zip(before, after, strict=True):
            value = self.values.get(id(source))
            value = keras.ops.convert_to_numpy(source.value) if value is None else value
            for axis, ids in self.channels.trace.uses.get(id(source), {}).items():
                if ids is not None:
                    value = np.compress(self.channels.mask(ids, self.alive), value, axis)
            if tuple(value.shape) != tuple(target.shape):
                raise CKRMError(
                    f"weight {source.path}",
                    expected=f"shape {tuple(target.shape)} in the narrowed layer",
                    received=tuple(value.shape),
                )
            target.assign(value)
        if isinstance(new, layers.Normalization):
            new.finalize_state()


def _placed(tree_: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of nested dicts, lists and tuples with one entry replaced."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(tree_, dict):
        return {**tree_, first: _placed(tree_[first], rest, value)}
    items = [
        _placed(item, rest, value) if place == first else item for place, item in enumerate(tree_)
    ]
    return type(tree_)(items)


def _config(operation: Any) -> dict[str, Any]:
    """An operation's settings, functions as they are.

    A function without a name that Keras knows, such as a lambda, cannot be read back.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The object being serialized includes a `lambda`")
        config: dict[str, Any] = operation.get_config()
    functions = {
        key: getattr(operation, key)
        for key, value in config.items()
        if isinstance(value, dict) and isinstance(getattr(operation, key, None), FunctionType)
    }
    return {**config, **functions}


def _made_from(operation: Any, config: dict[str, Any]) -> Any:
    """A layer or op of the same class with these settings.

    Raises:
        CKRMError: for a class of the user's own that cannot be made from its config.
    """
    try:
        with keras.saving.custom_object_scope(_unregistered(operation, config)):
            return type(operation).from_config(config)
    except (TypeError, ValueError, AttributeError) as error:
        raise CKRMError(
            f"layer {operation.name}",
            expected=f"{type(operation).__name__}.from_config(get_config()) to make it again",
            received=" ".join(str(error).split())[:120],
        ) from error


def _unregistered(operation: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of a layer's constraints, regularizers and the like, by the name in its config.

    The objects are here, so a class that was never registered can be used all the same.
    """
    return {
        value["registered_name"]: type(getattr(operation, key))
        for key, value in config.items()
        if isinstance(value, dict)
        and value.get("registered_name")
        and getattr(operation, key, None) is not None
    }


def _lambda(layer: Any) -> Any:
    """A Lambda around the same function: Keras refuses to read one back from a config."""
    return layers.Lambda(
        layer.function,
        output_shape=layer._output_shape,
        mask=layer.mask,
        arguments=layer.arguments,
        name=layer.name,
        dtype=layer.dtype_policy,
        trainable=layer.trainable,
    )


def _compile_like(old: Any, new: Any, notes: list[str]) -> None:
    """Compile with the same settings; the state of optimizer and metrics does not carry over."""
    if not getattr(old, "compiled", False):
        return
    if type(old).compile is not keras.Model.compile:
        notes.append("its class compiles in a way of its own: compile the narrowed model again")
        return

    def fresh(x: Any) -> Any:
        stateful = isinstance(x, keras.optimizers.Optimizer | keras.metrics.Metric)
        return type(x).from_config(x.get_config()) if stateful else x

    settings = old._compile_config.config
    try:
        new.compile(**{key: tree.map_structure(fresh, value) for key, value in settings.items()})
    except (TypeError, ValueError, NotImplementedError) as error:
        notes.append(f"compile the narrowed model again: {error}")

"""The graph of a Keras model as plain steps. All that is private in Keras is read here.

Names that Keras does not document and that this file leans on: `Function._nodes_by_depth`, the
`Node` fields `operation`, `arguments`, `outputs`, `is_input`, `Sequential._functional`,
`Functional._inputs_struct` and `_outputs_struct`, `Layer._layers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, tree

from ckrm_tf.errors import CKRMError

# Layers that leave a tensor as it is when a network is used.
IDLE = (
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.AlphaDropout,
)


@dataclass(frozen=True, eq=False)
class Step:
    """One call of one operation.

    Attributes:
        operation: the layer, op-layer or nested model called.
        args, kwargs: of the call, with symbolic tensors in place.
        inputs: the symbolic tensors among the arguments, in order.
        outputs: the symbolic tensors returned.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    @property
    def key(self) -> int:
        """What identifies the call: the `id` of its first output, which lives with the model."""
        return id(self.outputs[0])

    def filled(self, values: dict[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with each symbolic tensor replaced by `values[id(tensor)]`."""

        def value(x: Any) -> Any:
            return values[id(x)] if isinstance(x, keras.KerasTensor) else x

        return (
            tree.map_structure(value, self.args),
            tree.map_structure(value, self.kwargs),
        )

    def tensors(self, args: Any, kwargs: Any) -> list[Any]:
        """The values of `inputs`, in their order, among filled arguments.

        An array that the call was given as a constant is not among them.
        """
        symbols, given = tree.flatten((self.args, self.kwargs)), tree.flatten((args, kwargs))
        return [
            value
            for symbol, value in zip(symbols, given, strict=True)
            if isinstance(symbol, keras.KerasTensor)
        ]


def functional(model: Any) -> Any:
    """The functional graph of a model: itself, or what a built Sequential wraps.

    Raises:
        CKRMError: for a subclassed or an unbuilt model.
    """
    if isinstance(model, keras.Sequential):
        graph = getattr(model, "_functional", None)
        if graph is None:
            raise CKRMError(
                f"model {model.name}",
                expected="a built model",
                received="a Sequential without an input shape",
                hint="Add keras.Input(shape) as its first layer, or call model.build(shape).",
            )
        return graph
    subclassed = isinstance(model, keras.Model) and not hasattr(model, "_nodes_by_depth")
    if subclassed or not isinstance(model, keras.Model):
        kind = type(model).__name__
        raise CKRMError(
            f"model {model.name}" if subclassed else "model",
            expected="a Functional or Sequential Keras model",
            received=f"a subclassed model of class {kind}" if subclassed else kind,
            hint="Its layers are called in Python code that no graph records. Wrap the calls in a "
            "functional model: keras.Model(inputs, outputs)."
            if subclassed
            else None,
        )
    return model


def is_model(operation: Any) -> bool:
    """Whether a step calls a nested functional or sequential model."""
    return isinstance(operation, keras.Model) and (
        isinstance(operation, keras.Sequential) or hasattr(operation, "_nodes_by_depth")
    )


def steps(model: Any) -> list[Step]:
    """Every call in topological order, inputs left out."""
    graph = functional(model)
    found = []
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            if node.is_input or not node.operation:
                continue
            arguments = node.arguments
            found.append(
                Step(
                    node.operation,
                    tuple(arguments.args),
                    dict(arguments.kwargs),
                    tuple(arguments.keras_tensors),
                    tuple(node.outputs),
                )
            )
    return found


def inputs(model: Any) -> list[Any]:
    """The symbolic inputs, flat."""
    return list(functional(model).inputs)


def outputs(model: Any) -> list[Any]:
    """The symbolic outputs, flat."""
    return list(functional(model).outputs)


def input_names(model: Any) -> list[str]:
    """The key of each flat input where the model takes a dict, else its name.

    Keras flattens a dict by its sorted keys, in whatever order it was written.
    """
    structure = input_structure(model)
    if not isinstance(structure, dict):
        return [x.name for x in inputs(model)]
    keys = {id(symbol): key for key, symbol in structure.items()}
    return [keys[id(symbol)] for symbol in inputs(model)]


def input_structure(model: Any) -> Any:
    """The inputs as the model takes them: a tensor, a list or a dict."""
    return functional(model)._inputs_struct


def output_structure(model: Any) -> Any:
    """The outputs as the model returns them."""
    return functional(model)._outputs_struct


def input_layers(model: Any) -> list[Any]:
    """The InputLayer of each flat input."""
    return [tensor._keras_history.operation for tensor in inputs(model)]


def leaves(layer: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer with its path, in the order of the graph; nested models are entered."""
    for inner in model_layers(layer):
        path = f"{prefix}{inner.name}"
        if is_model(inner):
            yield from leaves(inner, f"{path}/")
        else:
            yield path, inner


def model_layers(model: Any) -> list[Any]:
    """The distinct operations of a model in topological order."""
    seen: dict[int, Any] = {}
    for step in steps(model):
        seen.setdefault(id(step.operation), step.operation)
    return list(seen.values())


def run(
    model: Any,
    values: list[Any],
    observe: Callable[[Step, tuple[Any, ...], dict[str, Any]], None] | None = None,
) -> list[Any]:
    """Call every operation in inference mode, nested models step by step.

    Args:
        model: the model.
        values: one tensor for each flat input.
        observe: sees each step of the innermost models, with its arguments, before it is called.

    Returns:
        One tensor for each flat output.
    """
    known = {id(symbol): value for symbol, value in zip(inputs(model), values, strict=True)}
    for step in steps(model):
        args, kwargs = step.filled(known)
        if is_model(step.operation):
            found = run(step.operation, tensors_among((args, kwargs), step.operation), observe)
        else:
            if observe is not None:
                observe(step, args, kwargs)
            found = call(step.operation, args, kwargs)
        for symbol, value in zip(step.outputs, found, strict=True):
            known[id(symbol)] = value
    return [known[id(symbol)] for symbol in outputs(model)]


def call(operation: Any, args: Any, kwargs: Any) -> list[Any]:
    """The flat outputs of an operation in inference mode."""
    if _takes_training(operation):
        kwargs = {**kwargs, "training": False}
    found: list[Any] = tree.flatten(operation(*args, **kwargs))
    return found


def tensors_among(arguments: Any, model: Any) -> list[Any]:
    """The tensors of a nested model's call, in the order of its inputs."""
    args, kwargs = arguments
    given = args[0] if args else kwargs.get("inputs")
    if isinstance(given, dict):
        return [given[name] for name in input_names(model)]
    flat = [x for x in tree.flatten(given) if hasattr(x, "shape")]
    return flat[: len(inputs(model))]


def _takes_training(operation: Any) -> bool:
    return bool(getattr(operation, "_call_has_training_arg", False))

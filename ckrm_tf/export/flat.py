"""Any Keras model as one function from named arrays to named arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ckrm_tf.errors import CKRMError

# Outputs in these types leave every file as float32: NumPy and most readers do not know them.
REDUCED = ("bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output: a name that every format allows, its shape and its type.

    A size that varies, such as the batch, is None in `shape`.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class FlatModel:
    """A built model whose inputs and outputs are lists, whatever structure they have in it.

    Attributes:
        model: functional or Sequential.
        inputs, outputs: in the order of `keras.tree.flatten`.
        examples: some hundred cases of every input, for formats that round.
    """

    model: keras.Model
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    examples: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, model: keras.Model) -> FlatModel:
        """The flat form of `model`.

        Raises:
            CKRMError: when it is not a built functional or Sequential model.
        """
        functional = _functional(model)
        ends = functional.output
        structured = functional.output_names
        if isinstance(ends, Mapping):
            structured = keras.tree.flatten({key: key for key in ends})
        named = {
            id(layer.output): layer.name
            for layer in functional.layers
            if isinstance(layer, keras.layers.InputLayer)
        }
        names = _allowed([*(named[id(end)] for end in functional.inputs), *structured])
        count = len(functional.inputs)
        inputs = _ports(names[:count], functional.inputs)
        outputs = _ports(names[count:], keras.tree.flatten(ends))
        return cls(functional, inputs, outputs)

    @property
    def batched(self) -> bool:
        """Whether any number of cases can be given at once."""
        return all(port.shape and port.shape[0] is None for port in (*self.inputs, *self.outputs))

    def __call__(self, *arrays: Any) -> dict[str, Any]:
        """Tensors by output name, in inference mode."""
        given = keras.tree.pack_sequence_as(self.model.input, list(arrays))
        tensors = keras.tree.flatten(self.model(given, training=False))
        return {
            port.name: keras.ops.cast(tensor, port.dtype)
            for port, tensor in zip(self.outputs, tensors, strict=True)
        }

    def function(self) -> Callable[..., dict[str, Any]]:
        """The same as a plain function, which is what TensorFlow traces."""

        def serve(*arrays: Any) -> dict[str, Any]:
            return self(*arrays)

        return serve

    def arrays(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs as NumPy arrays.

        On the CPU: an accelerator's convolutions may round to ten bits, and files are compared.
        """
        with keras.device("cpu:0"):
            found = self(*inputs)
        return [keras.ops.convert_to_numpy(found[port.name]) for port in self.outputs]


def specs(flat: FlatModel) -> list[Any]:
    """TensorFlow's description of each input."""
    import tensorflow as tf  # noqa: PLC0415 - heavy, and absent with another backend

    return [tf.TensorSpec(port.shape, port.dtype, name=port.name) for port in flat.inputs]


def traced(flat: FlatModel) -> Any:
    """A `tf.function` of `flat`, traced with every inner function unfolded.

    Keras wraps a grouped convolution in a function that XLA has to compile, which neither ONNX
    nor LiteRT knows; unfolded, it is the plain operation. TensorFlow on the CPU fails on that one
    once it is fused with what follows, so a SavedModel keeps the inner function.
    """
    import tensorflow as tf  # noqa: PLC0415 - heavy, and absent with another backend

    function = tf.function(flat.function(), input_signature=specs(flat), autograph=False)
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        function.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(before)
    return function


def _functional(model: keras.Model) -> keras.Model:
    if not isinstance(model, keras.Model) or not model.built or not hasattr(model, "inputs"):
        raise CKRMError(
            "model to export",
            expected="a built functional or Sequential Keras model",
            received=type(model).__name__,
            hint="Call it on keras.Input tensors and wrap the result: keras.Model(inputs, outputs)",
        )
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def _allowed(names: Iterable[str]) -> list[str]:
    """Names that differ and that every format takes: letters, digits and `_`."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if plain[:1].isalpha() else f"x{plain}"
        count = 1
        while (unique := plain if count == 1 else f"{plain}_{count}") in found:
            count += 1
        found.append(unique)
    return found


def _ports(names: Iterable[str], tensors: Iterable[Any]) -> tuple[Port, ...]:
    return tuple(
        Port(name, tuple(tensor.shape), "float32" if tensor.dtype in REDUCED else tensor.dtype)
        for name, tensor in zip(names, tensors, strict=True)
    )

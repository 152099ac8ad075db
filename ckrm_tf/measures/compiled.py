"""Compile a `keras.ops` function with XLA on whichever backend Keras runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import keras


@cache
def compiled(function: Callable[..., Any], signature: tuple[int, ...]) -> Callable[..., Any]:
    """`function` under `tf.function(jit_compile=True)`, `jax.jit`, or as it is.

    Args:
        function: takes and returns arrays or nests of them.
        signature: the sizes it will be called with. Each has a compiled function of its own:
            TensorFlow warns of "retracing" when one function meets several shapes.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

        # As a partial, because TensorFlow counts tracings by Python code, over all its functions.
        return tf.function(partial(function), jit_compile=True, autograph=False)
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415 - only this backend needs it

        return jax.jit(function)
    return function

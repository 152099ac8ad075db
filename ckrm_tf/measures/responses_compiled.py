"""A pass of a network, compiled with XLA where that pays and where XLA takes it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

XLA = "XLA"
SUMS = "the network as a graph, the sums with XLA"
PLAIN = "not compiled"


class CompiledNetwork:
    """A function that passes images through a network, compiled at its first call.

    With XLA as a whole on an accelerator and on JAX. On TensorFlow's CPU the network runs as a
    graph, because XLA's convolutions there take three and a half times as long
    (docs/responses.md), and so it does where XLA refuses the model; functions that it calls may be
    compiled with XLA themselves.

    Args:
        function: takes and returns nests of arrays; changes nothing.
        whole: on TensorFlow, whether XLA is tried for all of it; None for where it pays.

    Attributes:
        how: in words.
        reason: why XLA refused the whole; empty where it did not.
    """

    def __init__(self, function: Callable[..., Any], whole: bool | None = None) -> None:
        self.function, self.reason = function, ""
        self._run, self.how = function, PLAIN
        backend = keras.backend.backend()
        if backend == "tensorflow":
            if whole is None:
                whole = bool(keras.distribution.list_devices("gpu"))
            self._run, self.how = self._graph(jit=whole), XLA if whole else SUMS
        elif backend == "jax":
            import jax  # noqa: PLC0415 - only this backend needs it

            self._run, self.how = jax.jit(function), XLA

    def _graph(self, *, jit: bool) -> Callable[..., Any]:
        import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

        # As a partial, because TensorFlow counts tracings by Python code, over all its functions.
        run: Callable[..., Any] = tf.function(
            partial(self.function), jit_compile=jit, autograph=False
        )
        return run

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        if self.how != XLA or keras.backend.backend() != "tensorflow":
            return self._run(*arguments)
        import tensorflow as tf  # noqa: PLC0415 - as above

        try:
            return self._run(*arguments)
        except tf.errors.OpError as error:
            # An operation that XLA has no kernel for, or a shape that it must know.
            self.reason = " ".join(str(error.message).split())[:200]
            self._run, self.how = self._graph(jit=False), SUMS
            return self._run(*arguments)

"""Functions of arrays, compiled with XLA where that pays and where XLA takes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

XLA = "XLA"
SUMS = "the network as a graph, the sums with XLA"
PLAIN = "not compiled"


def compiled(function: Callable[..., Any], *, jit: bool = True) -> Callable[..., Any]:
    """A function of nests of arrays under `tf.function` or `jax.jit`; as it is on other backends.

    Args:
        function: changes nothing.
        jit: with XLA, on TensorFlow.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

        # As a partial, because TensorFlow counts tracings by Python code, over all its functions.
        found: Callable[..., Any] = tf.function(partial(function), jit_compile=jit, autograph=False)
        return found
    if backend == "jax":
        import jax  # noqa: PLC0415 - only this backend needs it

        return jax.jit(function)
    return function


class CompiledNetwork:
    """A pass of a network and sums of what is seen in it, compiled at the first call.

    With XLA as a whole on an accelerator and on JAX. On TensorFlow's CPU the network runs as a
    graph and only the sums with XLA, whose convolutions there take three and a half times as long
    (docs/responses.md); so too where XLA refuses the model.

    Args:
        network: called as `network(sums, *arguments)`.
        sums: takes and returns nests of arrays.

    Attributes:
        how: in words.
        reason: why XLA refused the whole; empty where it did not.
    """

    def __init__(self, network: Callable[..., Any], sums: Callable[..., Any]) -> None:
        self.network, self.sums, self.reason = network, sums, ""
        backend = keras.backend.backend()
        self.how = PLAIN if backend not in ("tensorflow", "jax") else XLA
        if backend == "tensorflow" and not keras.distribution.list_devices("gpu"):
            self._apart()
        else:
            self._run = compiled(partial(network, sums))

    def _apart(self) -> None:
        self.how = SUMS
        self._run = compiled(partial(self.network, compiled(self.sums)), jit=False)

    def __call__(self, *arguments: Any) -> Any:
        """What the network and the sums return."""
        if self.how != XLA or keras.backend.backend() != "tensorflow":
            return self._run(*arguments)
        import tensorflow as tf  # noqa: PLC0415 - as above

        try:
            return self._run(*arguments)
        except tf.errors.OpError as error:
            # An operation that XLA has no kernel for, or a shape that it must know.
            self.reason = " ".join(str(error.message).split())[:200]
            self._apart()
            return self._run(*arguments)

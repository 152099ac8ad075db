"""Adam whose update is one graph node per variable instead of some twenty."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ckrm_tf.registration import saved_class


@saved_class
class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, with TensorFlow's own fused kernel where there is one.

    The same arithmetic (Kingma & Ba 2015, epsilon outside the bias correction, as in Keras). On
    small data most of a training is tracing, and per-variable updates are most of the graph. On
    other backends, and with AMSGrad, this is Keras's Adam.
    """

    def apply(self, grads: Any, trainable_variables: Any = None) -> Any:
        """One update; see `keras.optimizers.Optimizer.apply`."""
        # Powers of beta are the same for every variable: made here once.
        step = ops.cast(self.iterations, "float32") + 1.0
        self._powers = (self.beta_1**step, self.beta_2**step)
        return super().apply(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        # One replica has nothing to sum. TensorFlow would register a gradient of the sum under a
        # name of its own, for good, and with it keep the graph of every training in memory.
        import tensorflow as tf  # noqa: PLC0415 - as below; only TensorFlow's optimizer calls this

        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync == 1:
            return grads_and_vars
        return super()._all_reduce_sum_gradients(grads_and_vars)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable; see `keras.optimizers.Optimizer.update_step`."""
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

        index = self._get_variable_index(variable)
        slots = (self._momentums[index], self._velocities[index])
        first, second = (slot.value.handle for slot in slots)
        # Keras hands over its own variable or, inside a strategy, TensorFlow's.
        target = variable.value if isinstance(variable, keras.Variable) else variable
        tf.raw_ops.ResourceApplyAdam(
            var=target.handle,
            m=first,
            v=second,
            beta1_power=self._powers[0],
            beta2_power=self._powers[1],
            lr=ops.cast(learning_rate, variable.dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )

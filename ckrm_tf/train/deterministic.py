"""Equal bits from equal seeds: what TensorFlow must be told before its first operation."""

from __future__ import annotations

import os

import keras

from ckrm_tf.errors import CKRMError


def prepare(wanted: bool, seed: int) -> None:
    """Make TensorFlow's operations deterministic, on one thread; nothing where not wanted.

    Sums of floats depend on their order, and threads finish in any order. It holds for the whole
    process. oneDNN must be off: on one thread TensorFlow 2.21 with it ends networks that have a
    strided transposed 1x1 convolution (`ckrm_tf.train.sampled` mends the others).

    Raises:
        CKRMError: another backend, oneDNN, or TensorFlow has computed something already.
    """
    if not wanted:
        return
    if keras.backend.backend() != "tensorflow":
        raise CKRMError(
            "--deterministic", expected="TensorFlow", received=f"Keras on {keras.backend.backend()}"
        )
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0":
        raise CKRMError(
            "--deterministic",
            expected="TensorFlow without oneDNN",
            received="TensorFlow with it",
            hint="Set TF_ENABLE_ONEDNN_OPTS=0 in the environment, or give the flag itself.",
        )
    import tensorflow as tf  # noqa: PLC0415 - the JAX backend must not need TensorFlow

    threads = tf.config.threading
    set_now = threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads()
    if set_now != (1, 1):
        try:
            threads.set_intra_op_parallelism_threads(1)
            threads.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise CKRMError(
                "--deterministic",
                expected="a process in which TensorFlow has computed nothing yet",
                received="one in which it has",
            ) from error
    tf.config.experimental.enable_op_determinism()
    # From here on TensorFlow refuses random numbers without a seed.
    keras.utils.set_random_seed(seed)

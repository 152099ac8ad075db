"""A time limit of one training: looked at after each batch."""

from __future__ import annotations

import time
from typing import Any

import keras

from ckrm_tf.errors import CKRMError


class TimedOutError(CKRMError):
    """A training took longer than it may.

    Attributes:
        limit: the seconds it may take.
    """

    limit: float = 0.0


class TimeLimit(keras.callbacks.Callback):
    """Ends a training that takes longer than `limit` seconds, counted from the start of `fit`.

    Args:
        limit: in seconds.
    """

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit
        self._started = time.perf_counter()

    def on_train_begin(self, logs: Any = None) -> None:
        """See Keras."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """See Keras.

        Raises:
            TimedOutError: the limit is over.
        """
        took = time.perf_counter() - self._started
        if took > self.limit:
            error = TimedOutError(
                "training time",
                expected=f"at most {self.limit:g} s (--training-timeout)",
                received=f"{took:.1f} s and no end",
            )
            error.limit = self.limit
            raise error

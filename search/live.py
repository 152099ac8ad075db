"""The line that shows how far the work is, on a terminal and off it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import keras
from rich.console import Console
from rich.status import Status

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.stats import macro_auc
from ckrm_tf.train.trainer import predict

# Between two plain lines; the first comes sooner.
PLAIN_SECONDS = 60
FIRST_SECONDS = 20
# Between two looks at the validation AUC; looking takes a twentieth of the time at most.
LOOK_SECONDS = 4
LOOK_SHARE = 0.05


class LiveLine:
    """One line about what goes on: replaced on a terminal, else now and then a plain line.

    Args:
        console: where to print.
        status: the line of a terminal, None elsewhere.
        indent: before a plain line.
    """

    def __init__(self, console: Console, status: Status | None, indent: str = "    ") -> None:
        self.console, self.status, self.indent = console, status, indent
        self._due = time.perf_counter() + FIRST_SECONDS

    def show(self, text: str, last: bool = False) -> None:
        """Show the text; `last` where a line of its own follows at once."""
        if self.status is not None:
            self.status.update(text)
        elif time.perf_counter() >= self._due and not last:
            self._due = time.perf_counter() + PLAIN_SECONDS
            self.console.print(f"{self.indent}{text}", highlight=False, soft_wrap=True)


class EpochLine(keras.callbacks.Callback):
    """Shows the epoch, the loss and the validation AUC of one training.

    Args:
        show: takes the text, and whether it is the last.
        name: of the training.
        epochs: how many there will be.
        data: its validation images are looked at now and then, None for no look.
    """

    def __init__(
        self, show: Callable[[str, bool], None], name: str, epochs: int, data: Dataset | None = None
    ) -> None:
        super().__init__()
        self._show, self._name, self._epochs, self._data = show, name, epochs, data
        self._auc = ""
        self._look = time.perf_counter() + LOOK_SECONDS

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Show the line; see `keras.callbacks.Callback`."""
        # A training that begins as a slice has fewer.
        epochs = (self.params or {}).get("epochs", self._epochs)
        last = epoch + 1 >= epochs
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            return
        if self._data is not None and time.perf_counter() >= self._look and not last:
            began = time.perf_counter()
            self._auc = f", AUC {self._looked(self._data):.3f}"
            took = time.perf_counter() - began
            self._look = began + took + max(LOOK_SECONDS, took / LOOK_SHARE)
        told = "" if loss is None else f", loss {float(loss):.3f}"
        self._show(f"{self._name}: epoch {epoch + 1}/{epochs}{told}{self._auc}", last)

    def _looked(self, data: Dataset) -> float:
        # From image to logits, whatever the network has beside them.
        model = keras.Model(self.model.inputs[0], self.model.outputs[0])
        return macro_auc(data.val.labels, predict(model, data.val, data.scale))

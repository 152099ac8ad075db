"""The search space: KerasTuner hyperparameters <-> Widths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import keras_tuner

from ckrm_tf.families.widths import Widths


def declare(hp: keras_tuner.HyperParameters, start: Widths, floor: int = 4) -> Widths:
    """Declare every width as an integer hyperparameter and return the widths `hp` holds.

    Widths range from `floor` to the starting network's on a logarithmic scale, blocks from 1;
    the default is the starting network.

    Args:
        hp: the hyperparameters of a trial.
        start: the widest network of the space.
        floor: smallest width.
    """
    items = {}
    for name, width in start.items():
        if name.endswith("/blocks"):
            items[name] = hp.Int(name, 1, width, default=width)
        else:
            items[name] = hp.Int(name, min(floor, width), width, default=width, sampling="log")
    return Widths.from_items(items)


class ResNetHyperModel(keras_tuner.HyperModel):
    """The networks of a search, for any KerasTuner tuner.

    Args:
        start: the widest network, and the default.
        build_network: makes the model of given widths.
        floor: smallest width.
    """

    def __init__(
        self, start: Widths, build_network: Callable[[Widths], keras.Model], floor: int = 4
    ) -> None:
        super().__init__(name="ckrm_resnet")
        self.start, self.build_network, self.floor = start, build_network, floor

    def build(self, hp: Any) -> keras.Model:
        """The model of the widths that `hp` holds."""
        return self.build_network(declare(hp, self.start, self.floor))

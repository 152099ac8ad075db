"""The search space: KerasTuner hyperparameters <-> designs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_tuner

from ckrm_tf.design.axes import Axis
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.bounds import bounds, design_in


def declare(hp: keras_tuner.HyperParameters, axes: Sequence[Axis], floor: int = 4) -> Design:
    """Declare every axis as an integer hyperparameter and return the design that `hp` holds.

    The ranges are those of `ckrm_tf.tuning.bounds`; the default is the starting network.

    Args:
        hp: the hyperparameters of a trial.
        axes: those of a family.
        floor: smallest width.
    """
    numbers = {}
    for axis in axes:
        found = bounds(axis, floor)
        options: dict[str, Any] = {"default": axis.size}
        if found.step > 1:
            options["step"] = found.step
        elif found.log:
            options["sampling"] = "log"
        numbers[axis.name] = hp.Int(axis.name, found.low, found.high, **options)
    return design_in(numbers, axes)


class FamilyHyperModel(keras_tuner.HyperModel):
    """The networks of a search, for any KerasTuner tuner.

    Args:
        family: its axes are the space, its starting network the default.
        build_network: makes the model of a design; the family's own by default.
        floor: smallest width.
    """

    def __init__(
        self,
        family: Family,
        build_network: Callable[[Design], keras.Model] | None = None,
        floor: int = 4,
    ) -> None:
        super().__init__(name=f"ckrm_{family.name}")
        self.family, self.floor = family, floor
        self.build_network = build_network or family.build

    def build(self, hp: Any) -> keras.Model:
        """The model of the design that `hp` holds."""
        return self.build_network(declare(hp, self.family.axes, self.floor))

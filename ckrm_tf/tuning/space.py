"""The search space: KerasTuner hyperparameters <-> designs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import keras_tuner

from ckrm_tf.design.axes import Axis, settled
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family


def declare(hp: keras_tuner.HyperParameters, axes: Sequence[Axis], floor: int = 4) -> Design:
    """Declare every axis as an integer hyperparameter and return the design that `hp` holds.

    Widths range from `floor` to the starting network's on a logarithmic scale, or by the multiples
    of their axis, depths from the least of theirs; the default is the starting network. What is
    drawn for the widths of a stage that is absent makes no difference, and one stage stays.

    Args:
        hp: the hyperparameters of a trial.
        axes: those of a family.
        floor: smallest width.
    """
    numbers = {}
    for axis in axes:
        options: dict[str, Any] = {"default": axis.size}
        if axis.multiple > 1:
            options["step"] = axis.multiple
        elif axis.kind == "width" and axis.size > 0:
            options["sampling"] = "log"
        numbers[axis.name] = hp.Int(axis.name, axis.least(floor), axis.size, **options)
    return design_in(numbers, axes)


def design_in(values: Mapping[str, Any], axes: Sequence[Axis]) -> Design:
    """The design among the values of a trial's hyperparameters."""
    return settled(values, axes, most={axis.name: axis.size for axis in axes})


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

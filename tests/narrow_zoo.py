"""The table of hand-made models: what each is, and what is expected of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers


@dataclass(frozen=True)
class Case:
    """A model of the table.

    Attributes:
        build: makes it.
        free: the number of its free groups.
        frozen: names of layers that are reported as having no rule.
        without: laws that cannot hold, by name.
        tolerance: of the masked equality.
        compiled: whether it runs under XLA alone.
        share: of every group that is kept.
    """

    build: Callable[[], keras.Model]
    free: int
    frozen: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    tolerance: float = 1e-5
    compiled: bool = False
    share: float = 0.5


ZOO: dict[str, Case] = {}


def case(free: int, **expected: Any) -> Callable[[Callable[[], keras.Model]], Any]:
    """Register a builder under its name."""

    def register(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
        ZOO[build.__name__] = Case(build, free, **expected)
        return build

    return register


def image(*shape: Any) -> Any:
    """An input of images, 16 x 16 x 3 unless given."""
    return keras.Input(shape or (16, 16, 3))


def block(x: Any, filters: int, size: int = 3, **settings: Any) -> Any:
    """Convolution, batch norm, ReLU."""
    x = layers.Conv2D(filters, size, padding="same", **settings)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def head(x: Any, classes: int = 3) -> Any:
    """Global average pooling and logits."""
    return layers.Dense(classes)(layers.GlobalAveragePooling2D()(x))

"""The widths of a model that somebody brought, as a family: any Keras 3 CNN can be searched."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ckrm_tf.design.axes import Axis
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family

if TYPE_CHECKING:
    import keras

    from ckrm_tf.measures.kernels import ConvolutionKernel
    from ckrm_tf.models.facts import ModelFacts
    from ckrm_tf.models.sent import SentModel

INNER = "model_as_given"


class ModelFamily(Family):
    """Slices of one trained classifier: every free width group is an axis.

    A network of the family starts from the mended slice of the model, or from fresh weights. The
    starting design is the model itself, which is not trained again.

    Args:
        model: a classifier of images, built.
        facts: its pixel range, classes and kind of output.
        input_shape: (height, width, channels) of an image of the data.
        images: some hundred images as the model takes them, to choose and to mend by.
        select: which channels stay, a key of `ckrm_tf.narrowing.SELECTORS`.
        fresh: train every network but the model itself from fresh weights.
        multiple: widths are multiples of so many channels.
        freeze: names of layers to leave alone.
        sent: the model's file, from which another process makes this family; without it the family
            stays in this one.
        order: the units of every free group, the most wanted first, where they are known.

    Raises:
        CKRMError: a model without a free width, or with several sigmoids.
    """

    name = "model"

    def __init__(
        self,
        model: keras.Model,
        facts: ModelFacts,
        input_shape: tuple[int, int, int],
        *,
        images: np.ndarray | None = None,
        select: str | None = None,
        fresh: bool = False,
        multiple: int = 1,
        freeze: Iterable[str] = (),
        sent: SentModel | None = None,
        order: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        from ckrm_tf.narrowing.narrower import Narrower  # noqa: PLC0415 - needs Keras

        if facts.output == "sigmoid" and facts.classes != 2:
            raise CKRMError(
                f"model {model.name}",
                expected="softmax or logits over exclusive classes, or one sigmoid",
                received=f"{facts.classes} sigmoids",
            )
        self.model, self.facts_, self.input_shape = model, facts, input_shape
        self.fresh, self.multiple, self.select = fresh, multiple, select
        self.freeze, self.sent = tuple(freeze), sent
        self.narrower = Narrower(model, images=images, freeze=self.freeze)
        self.channels = self.narrower.channels
        if order is not None:
            self.narrower.take_order(order, select)
        self.narrower.order(select)

    def __reduce__(self) -> tuple[Any, ...]:
        """The file and what was found on it: sums of floats may differ from process to process.

        Raises:
            CKRMError: a family that does not know the file of its model.
        """
        if self.sent is None:
            raise CKRMError(
                f"model {self.model.name}",
                expected="one whose file is known, for another process",
                received="one in memory",
            )
        options = {
            "images": self.narrower.evidence.images,
            "select": self.select,
            "fresh": self.fresh,
            "multiple": self.multiple,
            "freeze": self.freeze,
            "order": self.narrower.order(self.select),
        }
        return _received, (self.sent, self.facts_, self.input_shape, options)

    @cached_property
    def start(self) -> Design:
        """See `Family`."""
        return Design(self.channels.widths)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """See `Family`. A stage is what has maps of one size."""
        return tuple(
            Axis(
                group.name, group.width, "width", self._stage(group.layers[0]), 1, self._unit(group)
            )
            for group in self.channels.groups.free.values()
        )

    def _unit(self, group: Any) -> int:
        return math.lcm(self.multiple, group.step) // group.step

    def _stage(self, path: str) -> str:
        by_path = dict(self.channels.trace.layers)
        # Heads of attention have a path below their layer's.
        layer = by_path.get(path) or by_path.get(path.rpartition("/")[0])
        shape = self.channels.trace.first_shape.get(id(layer), ())
        sides = shape[1:-1]
        return "maps " + "x".join("?" if side is None else str(side) for side in sides)

    @cached_property
    def _counters(self) -> tuple[Any, Any, Any]:
        return (
            self.channels.counter(self.channels.params),
            self.channels.counter(self.channels.statistics),
            self.channels.counter(self.channels.trace.macs),
        )

    def cost(self, design: Design) -> Cost:
        """See `Family`."""
        params, statistics, macs = (count(design) for count in self._counters)
        return Cost(params=params, statistics=statistics, macs=macs)

    def given(self, design: Design) -> bool:
        """See `Family`: the model as it was brought needs no training."""
        return design == self.start

    def narrowed(self, design: Design) -> keras.Model:
        """The mended slice, with the input and output of the model as given."""
        return self.narrower.build(self.narrower.at(design, self.select))

    def build(self, design: Design, *, kernel_regularizer: Any = None) -> keras.Model:
        """See `Family`. The regulariser is not put on layers that somebody else configured."""
        from ckrm_tf.models.adapter import (  # noqa: PLC0415 - needs Keras
            fresh_weights,
            logits_from_unit_images,
        )

        network = logits_from_unit_images(
            self.narrowed(self.checked(design)), self.facts_, self.input_shape, name=INNER
        )
        fresh = self.fresh and not self.given(design)
        return fresh_weights(network) if fresh else network

    def kernels(self, model: keras.Model) -> Mapping[str, Sequence[ConvolutionKernel]]:
        """See `Family`."""
        from ckrm_tf.measures.kernels import comparable_kernels  # noqa: PLC0415

        prefix = f"{INNER}/"
        by_path = {k.name.removeprefix(prefix): k for k in comparable_kernels(model)}
        found = {}
        for group in self.channels.groups.free.values():
            paths = (*group.layers, *self._inner.get(group.name, ()))
            own = [by_path[path] for path in paths if path in by_path]
            # One filter count for all: only kernels of equally many filters speak together.
            own = [k for k in own if k.shape[-1] == own[0].shape[-1]]
            if own:
                found[group.name] = own
        return found

    @cached_property
    def _inner(self) -> Mapping[str, Sequence[str]]:
        """The convolutions inside layers, by the group whose channels they make in the trace."""
        from ckrm_tf.measures.kernels import inner_convolutions  # noqa: PLC0415

        found: dict[str, list[str]] = {}
        for path, layer in inner_convolutions(self.model):
            axes = self.channels.trace.uses.get(id(getattr(layer, "kernel", None)), {})
            ids = axes.get(max(axes)) if axes else None
            if ids is None:
                continue
            made = set(self.channels.units.of_atom[ids].tolist())
            for name, units in self.channels.units.members.items():
                if made & set(units.tolist()):
                    found.setdefault(name, []).append(path)
        return found

    def describe(self, design: Design) -> str:
        """See `Family`: the share of the widths, as there may be a hundred of them."""
        cost, whole = self.cost(design), self.cost(self.start)
        changed = sum(design[name] < width for name, width in self.start.items())
        return f"{changed} of {len(self.start)} widths lower, {cost.macs / whole.macs:.3f} of MACs"

    def facts(self) -> dict[str, Any]:
        """See `Family`."""
        return {
            "family": self.name,
            "model": self.model.name,
            "pixels": [self.facts_.low, self.facts_.high],
            "output": self.facts_.output,
            "select": self.select,
            "from": "scratch" if self.fresh else "slices",
        }


def _received(
    sent: SentModel,
    facts: ModelFacts,
    input_shape: tuple[int, int, int],
    options: Mapping[str, Any],
) -> ModelFamily:
    """The family that another process has sent."""
    return ModelFamily(sent.load(), facts, input_shape, sent=sent, **options)

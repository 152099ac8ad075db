"""One call of one operation, as a rule sees it, and what a rule notes down."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.atoms import Ids, Label

if TYPE_CHECKING:
    from ckrm_tf.narrowing.trace import Trace

Shape = tuple[int | None, ...]
Rule = Callable[["Call"], "list[Label] | None"]


class NoRuleError(Exception):
    """A rule meets a case that it does not understand; what enters the layer is frozen."""


@dataclass
class Edit:
    """A setting that follows the number of channels: `value(alive)` of the atoms `ids`."""

    call: bool
    path: tuple[Any, ...]
    ids: Ids
    value: Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Read:
    """A kernel that reads channels: axis `axis` of `variable` goes with axis `along` of an input.

    `prepare` makes what the kernel multiplies from the input, where that is not the input itself.
    `groups` is the number of equal blocks of channels that the kernel's axis stands for; `bias` is
    the variable that is added to what the kernel makes.
    """

    variable: Any
    axis: int
    ids: Ids
    index: int
    along: int
    groups: int = 1
    bias: Any = None
    prepare: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Term:
    """A product: `factor` times the number of living atoms of each entry of `ids`."""

    path: str
    factor: int
    ids: tuple[Ids, ...] = ()


class Call:
    """One call of one operation, as a rule sees it.

    Attributes:
        layer: the layer or op-layer called.
        path: its name, with those of the models around it.
        labels: per input tensor and axis, the atoms along it, or None.
        shapes, out_shapes: of the tensors, the batch axis first.
        step: the call itself, for its arguments.
    """

    def __init__(
        self, trace: Trace, step: keras_graph.Step, path: str, labels: list[Label]
    ) -> None:
        self.trace, self.step, self.path, self.labels = trace, step, path, labels
        self.layer = step.operation
        self.shapes = [trace.shapes.get(id(x), tuple(x.shape)) for x in step.inputs]
        self.out_shapes = [trace.shapes.get(id(x), tuple(x.shape)) for x in step.outputs]

    def channels(self, axis: int = -1, index: int = 0) -> Ids | None:
        """The atoms along one axis of one input; None where its channels are fixed."""
        return self.labels[index][axis]

    def new(self, count: int, tag: str = "") -> Ids:
        """The atoms of the channels that this layer makes; the same at every call."""
        return self.trace.born(self.layer, tag, count, self.path)

    def use(self, variable: Any, axis: int, ids: Ids | None) -> None:
        """Axis `axis` of a weight goes with these channels; a weight that is absent is passed."""
        if variable is not None:
            self.trace.use(variable, axis, ids)

    def read(
        self,
        variable: Any,
        axis: int,
        ids: Ids | None,
        *,
        index: int = 0,
        along: int = -1,
        groups: int = 1,
        bias: Any = None,
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        """Axis `axis` of a kernel reads these channels, along axis `along` of input `index`.

        With groups, the kernel's axis stands for positions within each of `groups` equal blocks.
        """
        self.use(variable, axis, ids if ids is None or groups == 1 else ids[: len(ids) // groups])
        if ids is None:
            return
        axis %= len(variable.shape)
        known = self.trace.reads.setdefault(self.step.key, [])
        # A nested model that is called twice is walked twice.
        if not any(r.variable is variable and r.index == index for r in known):
            known.append(Read(variable, axis, ids, index, along, groups, bias, prepare))

    def sets(
        self,
        setting: Any,
        ids: Ids | None,
        value: Callable[[np.ndarray], Any] | None = None,
        *,
        call: bool = False,
    ) -> None:
        """A setting follows the number of living channels among `ids`, or a function of them.

        Args:
            setting: a key of the layer's config, or a path into it such as `("target_shape", 2)`;
                with `call`, a path into `(args, kwargs)` of the call.
            ids: the channels it follows; None leaves it as it is.
            value: from a mask, True where the channel lives, to the new value; the count if absent.
            call: whether it is an argument of the call and not of the layer.
        """
        if ids is None:
            return
        path = setting if isinstance(setting, tuple) else (setting,)
        where = self.step.key if call else id(self.layer)
        place = (where, path)
        known = self.trace.edits.get(place)
        if known is not None:
            self.trace.both(known.ids, ids)
            return
        self.trace.edits[place] = Edit(call, path, ids, value or (lambda alive: int(alive.sum())))

    def tie(self, a: Ids, b: Ids) -> None:
        """a[i] and b[i] stay or go together."""
        self.trace.atoms.tie(a, b)

    def freeze(self, ids: Ids | None, reason: str) -> None:
        """These channels stay."""
        if ids is not None:
            self.trace.atoms.freeze(ids, f"{self.path}: {reason}")

    def only(self, axis: int, index: int = 0) -> Ids | None:
        """The atoms along one axis; what another axis carries is frozen."""
        label = self.labels[index]
        kept: Label = [None] * len(label)
        kept[axis] = label[axis]
        for ids, same in zip(label, kept, strict=True):
            if ids is not same:
                self.freeze(ids, "it mixes positions along the axis")
        self.labels[index] = kept
        return label[axis]

    def macs(self, *factors: Ids | int | None) -> None:
        """Count multiply-accumulates: the product of numbers and of the counts of living atoms."""
        fixed = math.prod(f for f in factors if isinstance(f, int))
        ids = tuple(f for f in factors if isinstance(f, np.ndarray))
        self.trace.macs.append(Term(self.path, fixed, ids))

    def result(self, ids: Ids | None, axis: int = -1, index: int = 0) -> list[Label]:
        """One output whose axis `axis` carries `ids`; its other axes are those of the input."""
        rank = len(self.out_shapes[0])
        label: Label = (
            list(self.labels[index]) if len(self.labels[index]) == rank else [None] * rank
        )
        label[axis] = ids
        return [label]

    def same(self) -> list[Label]:
        """Every output has the channels of the first input."""
        return [list(self.labels[0]) for _ in self.step.outputs]

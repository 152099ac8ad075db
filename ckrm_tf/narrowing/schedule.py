"""The calls of a model in an order in which all calls of a shared layer stand side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from ckrm_tf.narrowing import keras_graph


@dataclass(frozen=True, eq=False)
class Placed:
    """A call of one operation; a nested model that is called twice has two of each.

    Attributes:
        step: the call.
        inputs: the number of the tensor that stands for each symbolic tensor of the call, by `id`.
        outputs: the numbers of the tensors that it makes.
    """

    step: keras_graph.Step
    inputs: dict[int, int]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """The calls of a model, nested models unfolded.

    Attributes:
        inputs, outputs: the numbers of the model's own tensors.
        groups: calls of one operation that come together, in an order in which all can be made.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    groups: tuple[tuple[Placed, ...], ...]

    @classmethod
    def of(cls, model: Any) -> Schedule:
        """The schedule of a model.

        The calls of a layer with weights wait for each other. Only a layer that feeds itself has
        several groups.
        """
        numbers, placed = count(), list[Placed]()
        inputs = [next(numbers) for _ in keras_graph.inputs(model)]
        outputs = _unfold(model, inputs, numbers, placed)
        return cls(tuple(inputs), tuple(outputs), tuple(_grouped(placed, set(inputs))))

    @property
    def returning(self) -> set[int]:
        """By `id`, the operations that feed themselves: some of their calls wait for others."""
        kinds = (group[0].step.operation for group in self.groups)
        found = Counter(id(one) for one in kinds if getattr(one, "weights", ()))
        return {key for key, groups in found.items() if groups > 1}

    def uses(self) -> Counter[int]:
        """How often each tensor is read; an output of the model once more."""
        found = Counter(n for group in self.groups for one in group for n in one.inputs.values())
        found.update(self.outputs)
        return found


def _unfold(
    model: Any, given: list[int], numbers: Iterator[int], placed: list[Placed]
) -> list[int]:
    known = {id(x): n for x, n in zip(keras_graph.inputs(model), given, strict=True)}
    for step in keras_graph.steps(model):
        if keras_graph.is_model(step.operation):
            inner = keras_graph.tensors_among((step.args, step.kwargs), step.operation)
            found = _unfold(step.operation, [known[id(x)] for x in inner], numbers, placed)
        else:
            found = [next(numbers) for _ in step.outputs]
            placed.append(Placed(step, {id(x): known[id(x)] for x in step.inputs}, tuple(found)))
        known |= {id(x): n for x, n in zip(step.outputs, found, strict=True)}
    return [known[id(x)] for x in keras_graph.outputs(model)]


def _grouped(placed: list[Placed], known: set[int]) -> Iterator[tuple[Placed, ...]]:
    """Calls as they become possible, with those of a shared layer together."""
    waiting: dict[int, list[Placed]] = {}
    for number, one in enumerate(placed):
        weighty = bool(getattr(one.step.operation, "weights", ()))
        waiting.setdefault(id(one.step.operation) if weighty else -1 - number, []).append(one)
    while waiting:
        partly: tuple[int, list[Placed]] | None = None
        made = False
        for key, calls in list(waiting.items()):
            ready = [one for one in calls if known.issuperset(one.inputs.values())]
            if len(ready) == len(calls):
                made = True
                yield tuple(waiting.pop(key))
                known.update(n for one in ready for n in one.outputs)
            elif ready and partly is None:
                partly = key, ready
        if not made and partly is not None:
            key, ready = partly
            waiting[key] = [one for one in waiting[key] if one not in ready]
            yield tuple(ready)
            known.update(n for one in ready for n in one.outputs)

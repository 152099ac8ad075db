"""The strategies that propose from a history, by name: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ckrm_tf.errors import unknown_name
from ckrm_tf.tuning.from_signals import propose_from_signals
from ckrm_tf.tuning.noise import NoisyPropose
from ckrm_tf.tuning.propose import propose, propose_by_scores
from ckrm_tf.tuning.rule import Strategy
from ckrm_tf.tuning.uniform import propose_uniform


@dataclass(frozen=True, slots=True)
class Kind:
    """What a strategy is made from.

    Attributes:
        make: makes it from the seed of the search.
        scored: it asks for scores of slices, so some training images are kept apart for them.
        dealt: the scores of a request are dealt out at random among its designs.
    """

    make: Callable[[int], Strategy]
    scored: bool = False
    dealt: bool = False


STRATEGIES: dict[str, Kind] = {
    "ckrm": Kind(lambda seed: propose, scored=True),
    "scores": Kind(lambda seed: propose_by_scores, scored=True),
    "signals": Kind(lambda seed: propose_from_signals),
    "uniform": Kind(lambda seed: propose_uniform),
    "noise": Kind(NoisyPropose, scored=True, dealt=True),
}


def kind(name: str) -> Kind:
    """The kind of strategy of that name.

    Raises:
        CKRMError: an unknown name, with the nearest known one.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    return STRATEGIES[name]


def strategy(name: str, seed: int) -> Strategy:
    """The strategy of that name, made from the seed of a search.

    Raises:
        CKRMError: an unknown name, with the nearest known one.
    """
    return kind(name).make(seed)

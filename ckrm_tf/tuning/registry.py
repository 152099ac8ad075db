"""The strategies that propose from a history, by name: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable

from ckrm_tf.errors import unknown_name
from ckrm_tf.tuning.noise import NoisyPropose
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Strategy
from ckrm_tf.tuning.uniform import propose_uniform

# Each is made from the seed of the search.
STRATEGIES: dict[str, Callable[[int], Strategy]] = {
    "ckrm": lambda seed: propose,
    "uniform": lambda seed: propose_uniform,
    "noise": NoisyPropose,
}


def strategy(name: str, seed: int) -> Strategy:
    """The strategy of that name.

    Raises:
        CKRMError: an unknown name, with the nearest known one.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    return STRATEGIES[name](seed)

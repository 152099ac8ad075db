"""The criteria by name: a new one is a file of its own and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from ckrm_tf.criteria import eigenvalues
from ckrm_tf.criteria.base import Criterion, Signal
from ckrm_tf.criteria.ckrm import ckrm_signal
from ckrm_tf.criteria.response import NAME as RESPONSE
from ckrm_tf.criteria.response import response_signals
from ckrm_tf.criteria.signals import width_signals
from ckrm_tf.criteria.slices import slice_signal
from ckrm_tf.errors import unknown_name
from ckrm_tf.families.base import Family

T = TypeVar("T")

SignalRule = Callable[[Any, Family, Any], dict[str, Signal]]
"""From (model, family, images as the model takes them) to the signal of each width."""

CRITERIA: dict[str, Criterion] = {
    "ckrm": ckrm_signal,
    **{name: partial(slice_signal, criterion=name) for name in eigenvalues.CRITERIA},
}


def _of_kernels(rule: Criterion) -> SignalRule:
    return lambda model, family, images: width_signals(model, family, rule)


# What a search may be steered by. Responses are taken as they are, without their null: widths
# follow what is needed, and networks are compared with each other.
SIGNALS: dict[str, SignalRule] = {
    RESPONSE: partial(response_signals, nulls=0),
    **{name: _of_kernels(rule) for name, rule in CRITERIA.items()},
}


def signal_rule(name: str) -> SignalRule:
    """What makes the signals of a search.

    Raises:
        CKRMError: an unknown name, with the nearest known one.
    """
    return _named(name, SIGNALS)


def criterion(name: str) -> Criterion:
    """The criterion on kernels of that name.

    Raises:
        CKRMError: an unknown name, with the nearest known one.
    """
    return _named(name, CRITERIA)


def _named(name: str, table: Mapping[str, T]) -> T:
    if name not in table:
        raise unknown_name("criterion", name, table)
    return table[name]

"""The criteria by name: a new one is a file of its own and a line here."""

from __future__ import annotations

from functools import partial

from ckrm_tf.criteria import eigenvalues
from ckrm_tf.criteria.base import Criterion
from ckrm_tf.criteria.ckrm import ckrm_signal
from ckrm_tf.criteria.slices import slice_signal
from ckrm_tf.errors import unknown_name

CRITERIA: dict[str, Criterion] = {
    "ckrm": ckrm_signal,
    **{name: partial(slice_signal, criterion=name) for name in eigenvalues.CRITERIA},
}


def criterion(name: str) -> Criterion:
    """The criterion of that name.

    Raises:
        CKRMError: an unknown name, with the nearest known one.
    """
    if name not in CRITERIA:
        raise unknown_name("criterion", name, CRITERIA)
    return CRITERIA[name]

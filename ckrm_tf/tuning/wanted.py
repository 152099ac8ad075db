"""One training that is asked for."""

from __future__ import annotations

from typing import NamedTuple

from ckrm_tf.design.design import Design
from ckrm_tf.store.record import Key
from ckrm_tf.train.way import PLAIN, Way


class Wanted(NamedTuple):
    """A training: which network, and how it is trained.

    Attributes:
        design: the network.
        seed: of the training; it says which fold is seen.
        epochs: of this training, as its way has them.
        way: what is taken over from the start.
    """

    design: Design
    seed: int
    epochs: int
    way: Way = PLAIN

    @property
    def key(self) -> Key:
        """Of its record."""
        return self.design, self.seed, self.epochs, self.way.how

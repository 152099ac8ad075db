"""What a runner asks of a pool of workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from ckrm_tf.tuning.wanted import Wanted

if TYPE_CHECKING:
    from ckrm_tf.tuning.runner import Runner


class Pool(Protocol):
    """What trains elsewhere, several at once: `ckrm_tf.cluster.pool.WorkerPool`."""

    def train(self, runner: Runner, wanted: Wanted) -> None:
        """Train and hand the outcome to `Runner.take`; returns when that is done."""

    def expect(self, runner: Runner, wanted: Iterable[Wanted]) -> None:
        """Begin trainings that will be asked for, as soon as there is room."""

    @property
    def room(self) -> bool:
        """Whether more trainings could be begun soon than are known of."""

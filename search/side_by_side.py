"""Several searches of a comparison at once, on the workers of one pool.

Each runs in a thread of its own, and one thread at a time is at work: the turn passes while a
search waits for a training, which is nearly all of the time. So nothing of Keras or KerasTuner is
used by two threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ckrm_tf.cluster.pool import WorkerPool

Name = TypeVar("Name")
Found = TypeVar("Found")


def side_by_side(
    pool: WorkerPool, searches: Iterable[tuple[Name, Callable[[], Found]]]
) -> dict[Name, Found]:
    """What each search comes to, by its name.

    Raises:
        Exception: the first that one of them dies of; the others end then.
    """

    def in_turn(search: Callable[[], Found]) -> Found:
        with pool.turn:
            return search()

    named = dict(searches)
    with ThreadPoolExecutor(len(named), "search") as threads:
        found = {name: threads.submit(in_turn, search) for name, search in named.items()}
        try:
            done, _ = wait(found.values(), return_when=FIRST_EXCEPTION)
            for one in done:
                one.result()
        except BaseException:
            # They notice when they next ask for a training.
            pool.closed = True
            raise
    return {name: one.result() for name, one in found.items()}

"""The workers of a pool: made, found dead, made again, as many as there is room for."""

from __future__ import annotations

import itertools
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ckrm_tf.cluster.causes import cause
from ckrm_tf.cluster.share import Share
from ckrm_tf.cluster.worker import Worker
from ckrm_tf.errors import CKRMError
from ckrm_tf.versions import difference, versions

# Seconds between two looks at how many there is room for.
LOOK = 5.0
# Starts in a row that may fail before one worker is ready.
MOST_DEAD = 5
# Seconds without a single worker after which it is said.
ALONE = 60.0


@dataclass
class Slot:
    """A worker.

    Attributes:
        number: from 1; a worker that takes the place of a dead one has its own.
        place: from 0, the lowest that was free.
        actor: Ray's handle.
        starting: the answer that says it is ready, None once it is.
        where: the machine and process, once it is ready.
        job: what it trains, None while it is idle.
        answer: what will come of that.
        since: when it was given the job (`time.monotonic`).
        began: when the first step of the job began, None where that is not known.
        epoch: epochs that the job has behind it, as far as is known.
        asked: the answer to how far it is now.
    """

    number: int
    place: int
    actor: Any
    starting: Any
    where: str = ""
    job: Any = None
    answer: Any = None
    since: float = 0.0
    began: float | None = None
    epoch: int = 0
    asked: Any = None


@dataclass
class Failures:
    """Starts of workers that came to nothing, one after the other.

    Workers that die together are one failure: a node that is lost while eight of them start on it.

    >>> found = Failures()
    >>> for number in range(1, 9):
    ...     found.died(number, newest=8)
    >>> found.died(9, newest=16)
    >>> found.count
    2

    Attributes:
        count: how many there were.
    """

    count: int = 0
    _newest: int = 0

    def died(self, number: int, newest: int) -> None:
        """A worker died before it was ready.

        Args:
            number: of the worker.
            newest: the highest number of a worker so far.
        """
        if number > self._newest:
            self.count += 1
            self._newest = max(number, newest)


@dataclass
class Crew:
    """The workers.

    Args:
        ray: the module, connected.
        share: what each takes of a machine.
        most: how many there may be; None: as many as the cluster has room for at present.
        deterministic: as for `Worker`.
        note: told in a sentence what a user should know.

    Attributes:
        looks: whether a worker can be asked how far it is while it trains.
    """

    ray: Any
    share: Share
    most: int | None = None
    deterministic: int | None = None
    note: Callable[[str], None] = print
    slots: list[Slot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._looked, self._room = float("-inf"), 1
        # Ray's client (ray://) names no group of calls.
        self.looks = not self.ray.util.client.ray.is_connected()
        self._began, self._failed, self._told = time.monotonic(), Failures(), False
        self._make = self.ray.remote(
            num_cpus=self.share.cpus,
            num_gpus=self.share.gpus,
            max_restarts=0,
            concurrency_groups={"looks": 1},
        )(Worker)

    def __iter__(self) -> Iterator[Slot]:
        return iter(self.slots)

    def idle(self) -> list[Slot]:
        """The workers that are ready and have nothing to do."""
        return [slot for slot in self.slots if slot.starting is None and slot.job is None]

    def answers(self) -> list[Any]:
        """What is waited for: workers that start, trainings."""
        found = [s.starting if s.starting is not None else s.answer for s in self.slots]
        return [answer for answer in found if answer is not None]

    def fill(self) -> None:
        """Make the workers that are missing."""
        size = self.size()
        while len(self.slots) < size:
            taken = {slot.place for slot in self.slots}
            place = next(place for place in itertools.count() if place not in taken)
            actor = self._make.remote(
                self.share.environment(),
                self.deterministic,
                self.share.cores(place, size),
                spins=not self.share.crowded,
            )
            self.slots.append(Slot(next(self._numbers), place, actor, actor.ready.remote()))

    def size(self) -> int:
        """How many workers there should be now; at least one, so that a cluster may grow."""
        if self.most is not None:
            return self.most
        if time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            nodes = [n["Resources"] for n in self.ray.nodes() if n["Alive"]]
            self._room = max(1, sum(self.share.fit(resources) for resources in nodes))
        return self._room

    def welcome(self) -> None:
        """Take in the workers that have become ready.

        Raises:
            CKRMError: other versions there, or none become ready.
        """
        starting = {slot.starting: slot for slot in self.slots if slot.starting is not None}
        if starting:
            done, _ = self.ray.wait(list(starting), num_returns=len(starting), timeout=0)
            for answer in done:
                self._welcome(starting[answer], answer)
        if len(starting) < len(self.slots):
            self._began = time.monotonic()
        elif not self._told and time.monotonic() - self._began > ALONE:
            self._told = True
            self.note(
                f"no worker is ready yet: a training takes {self.share.cpus:g} CPU and "
                f"{self.share.gpus:g} GPU, the cluster has {self._offer()} free"
            )

    def _welcome(self, slot: Slot, answer: Any) -> None:
        try:
            slot.where, found = self.ray.get(answer)
        except self.ray.exceptions.RayActorError as error:
            self.drop(slot)
            self._failed.died(slot.number, max((s.number for s in self.slots), default=0))
            if self._failed.count >= MOST_DEAD:
                raise CKRMError(
                    "workers",
                    expected="one that starts",
                    received=f"{self._failed.count} in a row that died: {cause(error)}",
                ) from error
            return
        except self.ray.exceptions.RayError as error:
            raise CKRMError(
                "workers",
                expected="the package ckrm-tf and what it needs on every machine of the cluster",
                received=cause(error),
            ) from error
        other = difference(versions(), found)
        if other is not None:
            name, own, theirs = other
            raise CKRMError(
                f"worker {slot.where}: {name}",
                expected=f"{own}, as here",
                received=theirs,
                hint="All machines of a search need the same versions.",
            )
        slot.starting, self._failed = None, Failures()

    def drop(self, slot: Slot, hangs: bool = False) -> None:
        """Take a worker out that is dead or must not live on.

        Args:
            slot: the worker.
            hangs: it may not hear that it shall end; on this machine it is killed.
        """
        self.slots.remove(slot)
        self.ray.kill(slot.actor, no_restart=True)
        machine, _, number = slot.where.rpartition("/")
        if hangs and machine == platform.node():
            with suppress(ProcessLookupError):
                os.kill(int(number), signal.SIGKILL)

    def look(self, slot: Slot) -> None:
        """Take in how far a worker is, once it has answered, and ask again."""
        if not self.looks:
            return
        if slot.asked is not None:
            done, _ = self.ray.wait([slot.asked], timeout=0)
            if not done:
                return
            with suppress(self.ray.exceptions.RayError):
                slot.epoch, seconds = self.ray.get(slot.asked)
                if seconds is not None and slot.began is None:
                    slot.began = time.monotonic() - seconds
        slot.asked = slot.actor.progress.options(concurrency_group="looks").remote()

    def close(self) -> None:
        """End all workers."""
        for slot in list(self.slots):
            self.drop(slot)

    def _offer(self) -> str:
        free = self.ray.available_resources()
        return f"{free.get('CPU', 0):g} CPU and {free.get('GPU', 0):g} GPU"

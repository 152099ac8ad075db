"""Trainings on many workers: who gets which, what comes of them, what becomes of those lost.

The process of the search holds oracle, journal, weights and scores. A worker gets a network, a seed
and a number of epochs and sends back the record and the bytes of its weights, which are written
here as those of a training of this process are. So a search can be killed and gone on with as ever:
what is recorded is a fact, what was under way is trained again.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ckrm_tf.cluster.causes import cause
from ckrm_tf.cluster.crew import Crew, Slot
from ckrm_tf.cluster.jobs import Job, Jobs
from ckrm_tf.errors import CKRMError
from ckrm_tf.store.failures import ROOM, WORKER
from ckrm_tf.store.lines import append_line
from ckrm_tf.store.record import Training
from ckrm_tf.train.limit import TimedOutError
from ckrm_tf.tuning.attempt import failure
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.setup import Setup
from ckrm_tf.tuning.wanted import Wanted

# Workers that one training may cost; then it is recorded as failed, and tried by the next start.
MOST_LOST = 5
# Seconds beyond its limit after which a training that does not end itself is ended from outside.
GRACE = 60.0
# Seconds more for what comes before its first step: data that travel, a network that is built.
PATIENCE = 600.0
# Seconds between two looks at the workers while nothing comes.
POLL = 0.5
# The file of lost workers, in the folder of the journal.
LOST = "lost_workers.jsonl"
# Setups that stay in Ray's object store: of one search, or of the folds that are under way.
MOST_SETUPS = 4
# Starts whose weights stay there, for the trainings that take over from them.
MOST_STARTS = 16


class LostWorkerError(CKRMError):
    """The workers that had a training died."""


class WorkerPool:
    """Trains for runners (`Runner.pool`), several at once.

    Args:
        crew: the workers.
        note: told in a sentence what is trained again, and why.
        show: called with the workers now and then.
        grace: seconds beyond the limit of a training before its worker is ended.
        patience: seconds more where the worker has not said that the training began.
        most_lost: workers that one training may cost.

    Attributes:
        turn: where several searches share the pool, each in a thread, the lock that the one which
            is at work holds; it is free while all of them wait.
        finished, received: trainings that came back, and the bytes of their weights.
        begun_ahead: trainings that were begun on a guess of what will be asked for.
        lost: workers that died with a training.
    """

    def __init__(
        self,
        crew: Crew,
        *,
        note: Callable[[str], None] = print,
        show: Callable[[Sequence[Slot]], None] | None = None,
        grace: float = GRACE,
        patience: float = PATIENCE,
        most_lost: int = MOST_LOST,
    ) -> None:
        self.crew, self.ray, self.note, self.show = crew, crew.ray, note, show
        self.grace, self.patience, self.most_lost = grace, patience, most_lost
        self.jobs, self.turn = Jobs(), threading.Lock()
        self.finished = self.received = self.begun_ahead = self.lost = 0
        self.closed = False
        self._setups: OrderedDict[int, tuple[Setup, str, Any]] = OrderedDict()
        self._starts: OrderedDict[tuple[Path, int], Any] = OrderedDict()
        self._number, self._shown = 0, 0.0

    def __enter__(self) -> WorkerPool:
        self.crew.fill()
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True
        # Of a cluster that is gone nothing needs an end.
        with suppress(Exception):
            self.crew.close()

    def train(self, runner: Runner, wanted: Wanted) -> None:
        """See `ckrm_tf.tuning.pool.Pool`.

        Raises:
            CKRMError: the workers cannot be used, or the disk is full.
        """
        job = self.jobs.ask(runner, wanted)
        self.jobs.waiting.append(runner)
        try:
            while True:
                self._step()
                if job.done:
                    return
                self._pause()
        finally:
            self.jobs.waiting.remove(runner)

    def expect(self, runner: Runner, wanted: Iterable[Wanted]) -> None:
        """See `ckrm_tf.tuning.pool.Pool`."""
        self.jobs.expect(runner, wanted)
        self._step()

    @property
    def room(self) -> bool:
        """Whether a worker has nothing to do, or will have after its present training."""
        return len(self.jobs.queue) < self.crew.size()

    def _step(self) -> None:
        """Whatever can be done now."""
        if self.closed:
            raise CKRMError("workers", expected="a pool that is open", received="a closed one")
        self.crew.welcome()
        self._collect()
        self._end_late()
        self.crew.fill()
        self._assign()
        self._look()

    def _pause(self) -> None:
        """Wait until something comes, or a moment."""
        held = self.turn.locked()
        if held:
            self.turn.release()
        try:
            answers = self.crew.answers()
            if answers:
                self.ray.wait(answers, num_returns=1, timeout=POLL)
            else:
                time.sleep(POLL)
        finally:
            if held:
                self.turn.acquire()

    def _assign(self) -> None:
        for slot in self.crew.idle():
            job = self.jobs.next()
            if job is None:
                return
            self._begin(slot, job)

    def _begin(self, slot: Slot, job: Job) -> None:
        """Hand a training out, or record why it cannot begin."""
        try:
            start = self._handed_on(job)
        except CKRMError as error:
            self._keep(job, failure(job.runner, job.wanted, error), None)
            return
        self.begun_ahead += job.ahead and not job.causes
        key, reference = self._sent(job.runner)
        keep = job.runner.weights_dir is not None
        slot.job, slot.since, slot.began = job, time.monotonic(), None
        slot.epoch, slot.asked = 0, None
        slot.answer = slot.actor.train.remote(key, (reference, keep), job.wanted, start)

    def _handed_on(self, job: Job) -> tuple[int | None, list[Any]] | None:
        """For a training that takes something over: who hands on, and where its weights lie.

        Raises:
            CKRMError: the start is not trained, or its weights are gone.
        """
        heritage, seed = job.runner.heritage, job.wanted.seed
        if not job.wanted.way.inherits:
            return None
        if heritage.start_of(seed) is None:
            return heritage.first, []
        path = heritage.start_weights(seed)
        # Weights that were trained again are other weights.
        key = path, path.stat().st_mtime_ns
        if key not in self._starts:
            self._starts[key] = self._put(path.read_bytes())
        self._starts.move_to_end(key)
        while len(self._starts) > MOST_STARTS:
            self._starts.popitem(last=False)
        return heritage.first, [self._starts[key]]

    def _sent(self, runner: Runner) -> tuple[str, Any]:
        """The key of a runner's setup, and where it lies in the object store."""
        setup = runner.setup
        if setup is None:
            raise CKRMError(
                "runner", expected="one that a Setup made, for a pool", received="another"
            )
        if id(setup) not in self._setups:
            self._number += 1
            reference = self._put(setup.without_test())
            self._setups[id(setup)] = (setup, str(self._number), reference)
        self._setups.move_to_end(id(setup))
        while len(self._setups) > MOST_SETUPS:
            self._setups.popitem(last=False)
        return self._setups[id(setup)][1:]

    def _put(self, value: Any) -> Any:
        """Where a value lies in the object store from now on."""
        try:
            return self.ray.put(value)
        except self.ray.exceptions.RayError as error:
            raise CKRMError(
                "data",
                expected="room in Ray's object store, or on the disk it spills to",
                received=cause(error),
            ) from error

    def _collect(self) -> None:
        busy = {slot.answer: slot for slot in self.crew if slot.answer is not None}
        if not busy:
            return
        done, _ = self.ray.wait(list(busy), num_returns=len(busy), timeout=0, fetch_local=False)
        for answer in done:
            self._settle(busy[answer], answer)

    def _settle(self, slot: Slot, answer: Any) -> None:
        job: Job = slot.job
        try:
            training, weights = self.ray.get(answer)
        except self.ray.exceptions.RayTaskError as error:
            # The worker lives; what it died of lies outside the training.
            slot.job = slot.answer = None
            self._lose(job, slot, cause(error))
            return
        except self.ray.exceptions.RayError as error:
            self.crew.drop(slot)
            self._lose(job, slot, cause(error))
            return
        slot.job = slot.answer = None
        why = _unsound(training, weights)
        if why is not None:
            self._lose(job, slot, why)
            return
        self.finished += 1
        self.received += len(weights or b"")
        self._keep(job, training, weights)

    def _keep(self, job: Job, training: Training, weights: bytes | None) -> None:
        job.runner.take(training, weights, job.asked)
        self.jobs.end(job)

    def _lose(self, job: Job, slot: Slot, why: str) -> None:
        """Record the loss, and have the training done again."""
        self.lost += 1
        job.causes.append(why)
        append_line(
            job.runner.journal.path.parent / LOST,
            {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "worker": slot.where,
                "design": job.wanted.design.to_dict(),
                "seed": job.wanted.seed,
                "epochs": job.wanted.epochs,
                "how": job.wanted.way.how,
                "cause": why,
            },
        )
        if len(job.causes) < self.most_lost:
            self.note(f"{job} is trained again: worker {slot.where} was lost ({LOST})")
            self.jobs.again(job)
            return
        error = LostWorkerError(
            "workers",
            expected="one that lives",
            received=f"{len(job.causes)} lost, the last: {why}",
        )
        failed = failure(job.runner, job.wanted, error)
        self._keep(job, replace(failed, retryable=WORKER), None)

    def _end_late(self) -> None:
        """End the workers whose training does not end itself.

        Its time counts from where the worker says that it began, as its own clock does.
        """
        for slot in [slot for slot in self.crew if slot.job is not None]:
            job, limit = slot.job, slot.job.runner.limit
            begun = slot.began is not None
            took = time.monotonic() - (slot.since if slot.began is None else slot.began)
            if limit is None or took <= limit + self.grace + (0.0 if begun else self.patience):
                continue
            self.crew.drop(slot, hangs=True)
            error = TimedOutError(
                "training time",
                expected=f"at most {limit:g} s (--training-timeout)",
                received=f"{took:.1f} s {'' if begun else 'before it began, '}without an answer; "
                "its worker was ended",
            )
            error.limit = limit
            self._keep(job, failure(job.runner, job.wanted, error), None)

    def _look(self) -> None:
        """Ask how far the trainings are, where that counts, and show it."""
        busy = [slot for slot in self.crew if slot.job is not None]
        limited = any(slot.job.runner.limit is not None for slot in busy)
        now = time.monotonic()
        if not (self.show or limited) or now - self._shown < max(1.0, len(self.crew.slots) / 50):
            return
        self._shown = now
        for slot in busy:
            self.crew.look(slot)
        if self.show is not None:
            self.show(self.crew.slots)


def _unsound(training: Training, weights: bytes | None) -> str | None:
    """Why an answer cannot be kept; None where it can."""
    if training.retryable == ROOM:
        return f"on the worker: {training.reason}"
    kept = training.weights is not None and weights is not None
    if kept and hashlib.sha256(weights or b"").hexdigest() != training.weights:
        return "the weights that came are not those that were sent"
    return None

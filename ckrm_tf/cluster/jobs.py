"""The trainings that a pool has to do: each once, those that are waited for first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ckrm_tf.errors import CKRMError
from ckrm_tf.store.record import Key as TrainingKey
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.wanted import Wanted

Key = tuple[int, TrainingKey]

# Guesses that are kept while the start that they take over from is trained.
MOST_KEPT = 8


@dataclass(eq=False)
class Job:
    """One training.

    Attributes:
        runner: it is recorded by.
        wanted: the training.
        ahead: it was begun on a guess.
        asked: somebody waits for it.
        causes: of the deaths of the workers that had it.
        done: it is recorded.
    """

    runner: Runner
    wanted: Wanted
    ahead: bool = False
    asked: bool = False
    causes: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def key(self) -> Key:
        """Two runners with one journal share their trainings."""
        return id(self.runner.journal), self.wanted.key

    @property
    def start(self) -> Job | None:
        """The training of the start that must be recorded before; None where none is missing."""
        if not self.wanted.way.inherits or self.runner.heritage.ready(self.wanted.seed):
            return None
        wanted = self.runner.heritage.start_of(self.wanted.seed)
        return None if wanted is None else Job(self.runner, wanted, ahead=True)

    def __str__(self) -> str:
        design, seed = self.wanted.design, self.wanted.seed
        return f"{self.runner.family.describe(design)}, seed {seed}"


class _Hints(Iterator[Wanted]):
    """Guesses, of which those that were looked at may be put back."""

    def __init__(self, hints: Iterator[Wanted]) -> None:
        self._hints = hints
        self._back: deque[Wanted] = deque()

    def __next__(self) -> Wanted:
        return self._back.popleft() if self._back else next(self._hints)

    def put_back(self, kept: Sequence[Wanted]) -> None:
        """They come next, in this order."""
        self._back.extendleft(reversed(kept))


class Jobs:
    """Which trainings are under way, which wait, and which are begun where nothing waits."""

    def __init__(self) -> None:
        self.all: dict[Key, Job] = {}
        self.queue: list[Job] = []
        self.waiting: list[Runner] = []

    def ask(self, runner: Runner, wanted: Wanted) -> Job:
        """The job of a training that somebody waits for: the first of the queue, unless it runs."""
        job = self._job(runner, wanted)
        job.asked = True
        if job in self.queue:
            self.queue.remove(job)
            self.queue.insert(0, job)
        return job

    def expect(self, runner: Runner, wanted: Iterable[Wanted]) -> None:
        """Put trainings that nobody has recorded yet at the end of the queue."""
        for one in wanted:
            if self._is_free(Job(runner, one)):
                self._job(runner, one)

    def next(self) -> Job | None:
        """The next to begin: of the queue, or what those who wait may ask for later."""
        for job in list(self.queue):
            found = self._beginning(job)
            if found is None:
                continue
            if found in self.queue:
                self.queue.remove(found)
            return found
        for runner in self.waiting:
            try:
                found = self._guessed(runner)
            except CKRMError:
                # A guess that leads nowhere; the search itself will say what is wrong, if it is.
                continue
            if found is not None:
                return found
        return None

    def again(self, job: Job) -> None:
        """Begin a job once more, before all others."""
        self.queue.insert(0, job)

    def end(self, job: Job) -> None:
        """The training is recorded."""
        job.done = True
        del self.all[job.key]

    def _job(self, runner: Runner, wanted: Wanted) -> Job:
        job = Job(runner, wanted)
        if job.key not in self.all:
            self.all[job.key] = job
            self.queue.append(job)
        return self.all[job.key]

    def _beginning(self, job: Job) -> Job | None:
        """What is to begin for a job: itself, or its start; None while that is trained.

        A job that somebody waits for begins in any case: the pool records why it cannot.
        """
        start = job.start
        if start is None:
            return job
        under_way = self.all.get(start.key)
        if under_way is not None:
            return under_way if under_way in self.queue else None
        if self._is_free(start):
            self.all[start.key] = start
            return start
        if job.asked:
            return job
        # Its start has failed: whoever asks will be told.
        self.queue.remove(job)
        del self.all[job.key]
        return None

    def _guessed(self, runner: Runner) -> Job | None:
        """The first guess that can begin, or the start that one takes over from."""
        kept: list[Wanted] = []
        found = None
        if not isinstance(runner.hints, _Hints):
            runner.hints = _Hints(runner.hints)
        for wanted in self._guesses(runner):
            job = Job(runner, wanted, ahead=True)
            start = job.start
            if start is None:
                found = job
                break
            if start.key not in self.all and not self._is_free(start):
                continue
            kept.append(wanted)
            if start.key not in self.all:
                found = start
                break
            if len(kept) == MOST_KEPT:
                break
        runner.hints.put_back(kept)
        if found is not None:
            self.all[found.key] = found
        return found

    def _guesses(self, runner: Runner) -> Iterator[Wanted]:
        return (w for w in runner.hints if self._is_free(Job(runner, w)))

    def _is_free(self, job: Job) -> bool:
        """Whether a training is neither recorded nor under way, nor to be had without."""
        runner, key = job.runner, job.wanted.key
        return (
            job.key not in self.all
            and runner.journal.find(*key) is None
            and runner.ahead.find(*key) is None
            and (runner.earlier is None or not runner.earlier.has(runner, *key))
            and not runner.family.given(job.wanted.design)
        )

"""The trainings that a pool has to do: each once, those that are waited for first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.tuning.runner import Runner, Wanted

Key = tuple[int, Design, int, int]


@dataclass(eq=False)
class Job:
    """One training.

    Attributes:
        runner: it is recorded by.
        design, seed, epochs: of the training.
        ahead: it was begun on a guess.
        asked: somebody waits for it.
        causes: of the deaths of the workers that had it.
        done: it is recorded.
    """

    runner: Runner
    design: Design
    seed: int
    epochs: int
    ahead: bool = False
    asked: bool = False
    causes: list[str] = field(default_factory=list)
    done: bool = False

    @property
    def key(self) -> Key:
        """Two runners with one journal share their trainings."""
        return id(self.runner.journal), self.design, self.seed, self.epochs

    def __str__(self) -> str:
        return f"{self.runner.family.describe(self.design)}, seed {self.seed}"


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
            if self._is_free(runner, one):
                self._job(runner, one)

    def next(self) -> Job | None:
        """The next to begin: of the queue, or what those who wait may ask for later."""
        if self.queue:
            return self.queue.pop(0)
        for runner in self.waiting:
            try:
                found = next((w for w in runner.hints if self._is_free(runner, w)), None)
            except CKRMError:
                # A guess that leads nowhere; the search itself will say what is wrong, if it is.
                continue
            if found is not None:
                job = Job(runner, *found, ahead=True)
                self.all[job.key] = job
                return job
        return None

    def again(self, job: Job) -> None:
        """Begin a job once more, before all others."""
        self.queue.insert(0, job)

    def end(self, job: Job) -> None:
        """The training is recorded."""
        job.done = True
        del self.all[job.key]

    def _job(self, runner: Runner, wanted: Wanted) -> Job:
        job = Job(runner, *wanted)
        if job.key not in self.all:
            self.all[job.key] = job
            self.queue.append(job)
        return self.all[job.key]

    def _is_free(self, runner: Runner, wanted: Wanted) -> bool:
        earlier = runner.earlier
        return (
            Job(runner, *wanted).key not in self.all
            and runner.journal.find(*wanted) is None
            and runner.ahead.find(*wanted) is None
            and (earlier is None or not earlier.has(runner, *wanted))
            and not runner.family.given(wanted[0])
        )

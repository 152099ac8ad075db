"""What a search shows on screen: one line per training, a status line where it is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
from rich.console import Console
from rich.table import Table

from ckrm_tf.data import Dataset, load_dataset
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.stats import spread
from ckrm_tf.store.record import FAILED, Training
from ckrm_tf.train.way import PLAIN_NAME
from ckrm_tf.tuning.answers import Score
from ckrm_tf.tuning.history import Outcome
from search.live import EpochLine, LiveLine
from search.settings import Settings

if TYPE_CHECKING:
    from ckrm_tf.cluster.crew import Slot

# Workers that a plain line names.
MOST_TOLD = 8


def duration(seconds: float) -> str:
    """Seconds as people say them: 45 s, 12 min, 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def count(number: float) -> str:
    """Large counts with three digits and a unit: 128 k, 23.5 M, 1.20 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        # From where three digits round up to it.
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def show_data(console: Console, data: Dataset) -> None:
    """The data set: images per split and class, and what was assumed of them."""
    console.print(f"data      {data.name}: {'x'.join(map(str, data.input_shape))} pixels")
    for name, split in data.splits().items():
        counts = ", ".join(
            f"{(split.labels == i).sum()} {label}" for i, label in enumerate(data.class_names)
        )
        console.print(f"          {name:<5} {len(split):>5} images: {counts}", highlight=False)
    for note in data.notes:
        console.print(f"          {note}", highlight=False, markup=False, soft_wrap=True)


def read_data(console: Console, settings: Settings) -> Dataset:
    """The data set that the settings name."""
    return read_images(
        console,
        settings.data,
        image_size=settings.image_size,
        seed=settings.seed,
        **settings.data_options,
    )


def read_images(console: Console, source: str, **options: Any) -> Dataset:
    """A data set, with progress where there are many images; see `load_dataset`."""
    with console.status("reading the data") as status:
        line = LiveLine(console, status if console.is_terminal else None, indent="")

        def show(done: int, total: int) -> None:
            line.show(f"reading images: {done}/{total}", last=done >= total)

        return load_dataset(source, progress=show, **options)


class Progress:
    """Prints a line per training and keeps the estimate of the time left.

    Args:
        console: where to print.
        trials: how many the search will make, or None where that is not known beforehand.
        margin: what counts as an acceptable AUC.
        seeds: trainings of a trial.
        label: before each line, where several searches share the screen.
        live: keep a status line, where it is a terminal; one `Progress` of several at once may.
    """

    def __init__(
        self,
        console: Console,
        trials: int | None,
        margin: float,
        seeds: int = 1,
        label: str = "",
        live: bool = True,
    ) -> None:
        self.label = label
        self.console, self.trials, self.margin, self.seeds = console, trials, margin, seeds
        self.describe: Callable[[Design], str] = str
        self.done = 0
        self.trainings: list[Training] = []
        self.new_seconds: list[float] = []
        self.status = console.status("preparing") if console.is_terminal and live else None
        self._confirming = False
        self.scored = 0
        self._scores = LiveLine(console, self.status)
        self._workers = LiveLine(console, self.status)

    def __enter__(self) -> Progress:
        if self.status is not None:
            self.status.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.status is not None:
            self.status.stop()

    @contextmanager
    def confirming(self) -> Iterator[None]:
        """Within it no training is a trial of the search: further seeds of what was found."""
        self._confirming = True
        try:
            yield
        finally:
            self._confirming = False

    def on_training(self, training: Training, new: bool) -> None:
        """Print one training; see `Runner`."""
        if new and training.taken_from is None:
            self.new_seconds.append(training.seconds)
        # A start that others were taught by may be asked for by the search too.
        if not self._confirming and all(t.key != training.key for t in self.trainings):
            self.trainings.append(training)
            # A trial begins with the first of its seeds.
            self.done += (training.seed - self.trainings[0].seed) % self.seeds == 0
        self.console.print(self._line(training, new), highlight=False, soft_wrap=True)
        if self.status is not None:
            self.status.update(", ".join(p for p in (self._number(), self._left()) if p))

    def note(self, text: str) -> None:
        """Print a sentence about a training; see `Runner`."""
        self.console.print(f"    {text}", highlight=False, markup=False, soft_wrap=True)

    def epochs(
        self, design: Design, seed: int, epochs: int, data: Dataset | None = None
    ) -> keras.callbacks.Callback:
        """A callback that shows how far one training is, and its AUC on the validation images."""
        line = LiveLine(self.console, self.status)
        return EpochLine(line.show, f"seed {seed} {self.describe(design)}", epochs, data)

    def on_score(self, asked: Score, scores: list[float]) -> None:
        """Show how many slices were scored."""
        self.scored += len(scores)
        self._scores.show(
            f"scoring slices of {self.describe(asked.bases[0])}: {self.scored} so far"
        )

    def workers(self, slots: Sequence[Slot]) -> None:
        """Show what each worker does."""
        works = [work_of(slot) for slot in slots]
        if self.status is not None:
            head = ", ".join(p for p in (self._number(), self._left()) if p)
            self._workers.show("\n".join([head, *works]))
        else:
            self._workers.show(f"{len(works)} workers: {'; '.join(works[:MOST_TOLD])}")

    def _left(self) -> str:
        """The time left, or nothing where it cannot be told.

        Trials shrink as the search goes on, so the last few tell more than the mean. What the
        journal already had took no time and tells nothing.
        """
        recent = self.new_seconds[-3:]
        if not recent or self._confirming or self.trials is None or self.done >= self.trials:
            return ""
        per_trial = sum(recent) / len(recent) * len(self.trainings) / self.done
        return f"about {duration(per_trial * (self.trials - self.done))} left"

    def _number(self) -> str:
        """Which trial it is, of how many where that is known."""
        if self._confirming:
            return "confirming"
        known = self.trials is not None and self.done <= self.trials
        return f"{self.done:>3}/{self.trials}" if known else f"{self.done:>3}"

    def _line(self, t: Training, new: bool) -> str:
        head = f"{self.label}{self._number()} seed {t.seed} {self.describe(t.design)}  "
        head += f"{count(t.params):>7} params"
        if t.status == FAILED:
            return f"{head}  failed: {t.reason}"
        worst = max(t.lam, key=lambda name: t.lam[name], default="")
        lam = f"max λ {t.lam[worst]:.2f} ({worst})" if worst and t.lam[worst] > 0 else "λ 0"
        here = new and t.taken_from is None
        took = duration(t.seconds) if here else f"from {t.taken_from or 'the journal'}"
        took += "" if t.how == PLAIN_NAME else f", {t.how}"
        left = self._left() if new else ""
        said = f"{took}, {left}" if left else took
        return f"{head} {count(t.macs):>7} MACs  AUC {t.val_auc:.3f}  {lam}  {said}"


def work_of(slot: Slot) -> str:
    """What a worker does, in a few words."""
    if slot.starting is not None:
        return f"worker {slot.number} starts"
    if slot.job is None:
        return f"worker {slot.number} is idle"
    ahead = ", ahead" if slot.job.ahead else ""
    return f"worker {slot.number}: {slot.job}, epoch {slot.epoch}/{slot.job.wanted.epochs}{ahead}"


def show_trials(
    console: Console,
    outcomes: list[Outcome],
    family: Family,
    recommended: Design | None,
) -> None:
    """The table of all networks; a star marks the recommended one."""
    table = Table(title=None, box=None, pad_edge=False)
    for name in ("", "network", "params", "MACs", "val AUC"):
        table.add_column(name, justify="left" if name == "network" else "right", no_wrap=True)
    for number, outcome in enumerate(outcomes):
        auc = "failed"
        if not outcome.failed:
            found = spread(outcome.aucs)
            auc = f"{found.mean:.3f}" + (f" ± {found.sd:.3f}" if found.sd is not None else "")
        star = "*" if outcome.design == recommended else ""
        macs = count(family.cost(outcome.design).macs)
        table.add_row(
            f"{star}{number}", family.describe(outcome.design), f"{outcome.params:,}", macs, auc
        )
    console.print(table)

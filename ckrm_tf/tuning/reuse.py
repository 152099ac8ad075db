"""Trainings of earlier runs: looked up before one is done again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, Training
from ckrm_tf.store.weights import WEIGHTS, as_recorded
from ckrm_tf.train.way import PLAIN_NAME

if TYPE_CHECKING:
    from ckrm_tf.tuning.runner import Runner


@dataclass(frozen=True)
class Earlier:
    """Journals whose trainings saw the same images, by the same recipe.

    Who makes it has compared their settings (`search.reuse`).

    Attributes:
        journals: of the run folders; their weights lie beside them.
    """

    journals: Sequence[Journal]

    def take(self, runner: Runner, *key: Any) -> Training | None:
        """The record of a training, once record and weights are the runner's own; None without.

        Weights that are not those of the record are not taken, nor is a training that took
        something over from the starting network of its run.

        Args:
            runner: keeps them.
            key: of the training, `Training.key`.
        """
        for journal, found in self._fitting(runner, *key):
            path = runner.weights_path(*key)
            weights = None
            if path is not None:
                source = journal.path.parent / WEIGHTS / path.name
                if found.weights is None or not as_recorded(source, found):
                    runner.note(
                        f"{runner.family.describe(found.design)}, seed {found.seed}, is not taken "
                        f"over from {journal.path.parent}: its weights are not those recorded"
                    )
                    continue
                weights = source.read_bytes()
            taken = replace(found, taken_from=str(journal.path.parent))
            runner.take(taken, weights)
            return taken
        return None

    def has(self, runner: Runner, *key: Any) -> bool:
        """Whether a training is recorded; its weights, which are not read here, may be others."""
        return any(self._fitting(runner, *key))

    def _fitting(self, runner: Runner, *key: Any) -> Iterator[tuple[Journal, Training]]:
        for journal in self.journals:
            found = journal.find(*key)
            if found is None or found.status != COMPLETED or found.how != PLAIN_NAME:
                continue
            if found.fold == runner.fold_of(found.seed):
                yield journal, found

    def __len__(self) -> int:
        """Trainings that may be taken."""
        return sum(
            t.status == COMPLETED and t.how == PLAIN_NAME
            for j in self.journals
            for t in j.current()
        )


def earlier_places(folder: Path) -> list[Path]:
    """The places of a run folder that have a journal: its own, and those of its final trainings."""
    within = sorted(folder.glob("folds*/fold*"), key=lambda p: (len(str(p)), str(p)))
    return [p for p in (folder, folder / "final", *within) if (p / "trials.jsonl").is_file()]

"""What a search will ask for next, guessed while a training runs: work for idle workers. Pure.

A search is a chain: what is trained next hangs on what came of the last training. So the outcome of
the training that runs is imagined, and the strategy is asked what it would want then; what it wants
is imagined in turn. Nothing else changes: the search itself asks for one network after the other,
from what was really trained, and so proposes the same with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.answers import Train
from ckrm_tf.tuning.history import History, Outcome, Scores, merged
from ckrm_tf.tuning.rule import Rule, Strategy

# How far below the starting network an AUC is imagined, in margins, the likeliest first: holds by
# some, is lost beyond doubt, holds fully, is lost by what may be chance.
GUESSES = (0.5, 3.0, 0.0, 1.5)


@dataclass(frozen=True)
class Search:
    """What a strategy is asked with.

    Attributes:
        strategy: it.
        rule: its settings.
        family: what may change, and what a network costs.
        scores: of slices, None where there are none.
    """

    strategy: Strategy
    rule: Rule
    family: Family
    scores: Scores | None = None

    def next(self, history: Sequence[Outcome]) -> Design | None:
        """The network wanted after this history; None where that is scores, or nothing."""
        found = self.strategy(History(history, self.scores), self.rule, self.family, ())
        if isinstance(found, Train):
            return found.design
        return found if isinstance(found, Design) else None


def ahead(
    search: Search,
    history: Sequence[Outcome],
    running: Design,
    depth: int,
    folds: Sequence[int | None] = (None,),
) -> Iterator[list[tuple[Design, int]]]:
    """Networks that may be wanted after the one that is being trained, the likeliest first.

    Args:
        search: the strategy and what it is asked with.
        history: one outcome per network that was trained, the starting network's first.
        running: the network that is being trained, perhaps with a further seed.
        depth: how many trainings to look ahead.
        folds: that the trainings see, in turn.

    Yields:
        For each step ahead, the networks and how many trainings each has by then, all different.
    """
    if not history or history[0].failed:
        return
    told: set[tuple[Design, int]] = set()
    now = [(list(history), running)]
    for _ in range(depth):
        step: list[tuple[Design, int]] = []
        later = []
        # All networks that the likeliest guess leads to come before those of the second one.
        for guess in GUESSES:
            for before, design in now:
                after = merged([*before, imagined(search, before, design, guess, folds)])
                wanted = search.next(after)
                if wanted is None:
                    continue
                tries = next((o.tries for o in after if o.design == wanted), 0)
                if (wanted, tries) not in told:
                    told.add((wanted, tries))
                    step.append((wanted, tries))
                    later.append((after, wanted))
        if not step:
            return
        yield step
        now = later


def imagined(
    search: Search,
    history: Sequence[Outcome],
    design: Design,
    guess: float,
    folds: Sequence[int | None],
) -> Outcome:
    """The outcome of a training that lies `guess` margins below the starting network's."""
    start = history[0]
    before = next((o for o in history if o.design == design), None)
    # A network has the signals that it had, or those of the last one that had any.
    known = before or next((o for o in reversed(history) if o.signals), start)
    fold = folds[(before.tries if before else 0) % len(folds)]
    level = start.auc if fold is None or fold not in start.folds else start.auc_on(fold)
    return Outcome(
        design,
        (level - guess * search.rule.margin,),
        search.family.cost(design).params,
        known.signals,
        folds=() if fold is None else (fold,),
    )

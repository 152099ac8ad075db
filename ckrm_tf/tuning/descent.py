"""The way down from a trained network by the scores of its mended slices. Pure.

Again and again every width may go a step lower, each alone, and the slice is scored: the AUC of
the trained network with those channels gone and their consumers mended by ridge regression, on
images kept apart. Every depth is halved alike, and a stage goes where that costs little. Steps that
cost next to nothing are taken together; else the one that loses least for the parameters it saves.
Scores are asked for where they are missing, so the same scores always give the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family
from ckrm_tf.tuning.answers import Score
from ckrm_tf.tuning.history import Scores
from ckrm_tf.tuning.moves import adapt
from ckrm_tf.tuning.rule import Rule

# One width is lowered by this factor at a time.
STEP = 0.65
# The way ends where the score has fallen so far: such slices say nothing more.
FALL = 0.1
# A step that loses no more than this share of the margin is taken together with others like it.
HARMLESS = 0.2
# A stage goes where that loses no more than this share of the margin. A network trained anew makes
# up for narrow widths better than its slice does, for a stage that it lacks no better.
WHOLE_STAGE = 0.5
# Cut from a slice of its own once its multiply-adds are down to this share: scores cost less then.
REBASE = 0.5
# With more widths than this, those of a stage are tried together.
MOST_MOVES = 16
# Steps of one way; twice as many as from a ResNet-50 of 23.5 M parameters to one of 10 k.
LONGEST = 80


@dataclass(frozen=True)
class Slice:
    """A place on the way down.

    Attributes:
        design: its numbers.
        params: trainable parameters.
        score: AUC of the mended slice on the images kept apart.
    """

    design: Design
    params: int
    score: float


@dataclass(frozen=True)
class _Move:
    """Axes that go a step lower, and depths of stages that go altogether."""

    lower: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def __or__(self, other: _Move) -> _Move:
        return _Move(self.lower | other.lower, self.gone | other.gone)


@dataclass(frozen=True)
class Way:
    """The way down as far as the scores lead.

    Attributes:
        slices: from the trained network on, each smaller than the one before.
        wanted: the scores without which it does not go on; None at its end.
    """

    slices: tuple[Slice, ...]
    wanted: Score | None


def descend(
    root: Design,
    scores: Scores,
    rule: Rule,
    family: Family,
    shapes: Sequence[Design] = (),
) -> Way:
    """The way down from a trained network.

    Args:
        root: the network whose slices are scored.
        scores: what is known so far.
        rule: its `floor` and `margin` count.
        family: what may change, and what a network costs.
        shapes: networks to go on from where their slices hold, the most promising first; what the
            measure says is needed.
    """
    return _Descent(root, scores, rule, family).go(shapes)


class _Descent:
    def __init__(self, root: Design, scores: Scores, rule: Rule, family: Family) -> None:
        self.scores, self.rule, self.family = scores, rule, family
        self.bases: tuple[Design, ...] = (root,)
        stages = family.bypasses(root)
        # The least depth of each that may change.
        self.depths = {axis.name: axis.floor for axis in family.axes if axis.name in stages}
        self.known: dict[Design, int] = {}
        self.slices: list[Slice] = []
        # What each move lost when it was scored last.
        self.loss: dict[_Move, float] = {}
        self.harmless = HARMLESS * rule.margin

    def go(self, shapes: Sequence[Design]) -> Way:
        root = self.bases[0]
        wanted = self._ask([root])
        if wanted is None:
            self._put(root)
            for shape in shapes:
                wanted = self._ask([shape])
                held = wanted is None and self.score(shape) >= self.score(root) - self.rule.margin
                if wanted is not None or held:
                    break
            else:
                shape = root
            if wanted is None and shape != root:
                self._put(shape)
                self._rebase()
        while wanted is None and len(self.slices) < LONGEST:
            if self.slices[-1].score < self.slices[0].score - FALL:
                break
            found = self._next()
            if isinstance(found, Score):
                wanted = found
            elif found is None:
                break
            else:
                self._put(found)
                self._rebase()
        return Way(tuple(self.slices), wanted)

    def _put(self, design: Design) -> None:
        self.slices.append(Slice(design, self.params(design), self.score(design)))

    def _next(self) -> Design | Score | None:
        """The next place, the scores it takes to tell, or None at the end.

        What a move loses changes little from one place to the next. So the losses seen last rank
        the moves, and only those in front are scored again before one is taken.
        """
        now = self.slices[-1].design
        moves = dict(self._moves(now))
        fresh: set[_Move] = set()

        def seen(these: Iterable[_Move]) -> Score | None:
            """Score these moves, once at this place."""
            new = [move for move in these if move not in fresh]
            wanted = self._ask(moves[move] for move in new)
            if wanted is None:
                here = self.score(now)
                self.loss |= {move: here - self.score(moves[move]) for move in new}
                fresh.update(new)
            return wanted

        every = self.rule.front is None
        wanted = seen(move for move in moves if every or move not in self.loss)
        if wanted is not None:
            return wanted
        together = self._together(now, moves, seen)
        if together is not None:
            return together
        while moves:
            front = sorted(moves, key=lambda move: self._price(move, now, moves[move]))[
                : self.rule.front
            ]
            stale = [move for move in front if move not in fresh]
            if not stale:
                if not self._dear(front[0]):
                    return moves[front[0]]
                del moves[front[0]]
            elif (wanted := seen(stale)) is not None:
                return wanted
        return None

    def _together(
        self,
        now: Design,
        moves: Mapping[_Move, Design],
        seen: Callable[[Iterable[_Move]], Score | None],
    ) -> Design | Score | None:
        """All moves that cost next to nothing at once, where that costs next to nothing."""
        before: list[_Move] = []
        for _ in range(2):
            free = [move for move in moves if self.loss[move] <= self.harmless]
            if len(free) < 2 or free == before:
                return None
            place = self._lowered(now, reduce(or_, free))
            wanted = self._ask([place])
            if wanted is not None:
                return wanted
            if self.score(now) - self.score(place) <= 2 * self.harmless:
                return place
            wanted = seen(free)
            if wanted is not None:
                return wanted
            before = free
        return None

    def _price(self, move: _Move, now: Design, lower: Design) -> tuple[bool, float, float]:
        """What a move loses for the parameters it saves, in the order in which moves are taken."""
        saved = math.log(self.params(now) / self.params(lower))
        # What seems to gain is chance: among those the one that saves most.
        return self._dear(move), max(self.loss[move], 0.0) / saved, -saved

    def _dear(self, move: _Move) -> bool:
        """Whether a move takes a stage away that its slice lacks."""
        return bool(move.gone) and self.loss[move] > WHOLE_STAGE * self.rule.margin

    def _moves(self, now: Design) -> Iterator[tuple[_Move, Design]]:
        """Every width a step lower, alone or with those of its stage; every depth halved or 0."""
        widths = [axis for axis in self.family.axes if axis.kind == "width"]
        places: dict[str, set[str]] = {}
        for axis in widths:
            place = axis.name if len(widths) <= MOST_MOVES else axis.group
            places.setdefault(place, set()).add(axis.name)
        moves = [_Move(frozenset(names)) for names in places.values()]
        if self.rule.depth:
            for name, least in self.depths.items():
                if now[name] > 1:
                    moves.append(_Move(frozenset({name})))
                if least == 0 < now[name]:
                    moves.append(_Move(gone=frozenset({name})))
        whole = self.params(now)
        for move in moves:
            design = self._lowered(now, move)
            if design != now and self.params(design) < whole:
                yield move, design

    def _lowered(self, now: Design, move: _Move) -> Design:
        steps = {axis.name: axis.multiple for axis in self.family.axes if axis.multiple > 1}

        def new(name: str, number: int) -> float:
            if name in move.gone:
                return 0
            if name not in move.lower:
                return number
            if name in self.depths:
                return max(1, number // 2)
            # A step of less than half a multiple would come back to where it began.
            return min(number * STEP, number - steps.get(name, 0))

        return adapt(now, self.family.axes, self.rule, new)

    def _rebase(self) -> None:
        """Cut from the present slice from now on, when that is so much cheaper."""
        now = self.slices[-1].design
        if self.family.cost(now).macs <= REBASE * self.family.cost(self.bases[-1]).macs:
            self.bases = (*self.bases, now)

    def score(self, design: Design) -> float:
        return self.scores[self.bases[0], design]

    def params(self, design: Design) -> int:
        if design not in self.known:
            self.known[design] = self.family.cost(design).params
        return self.known[design]

    def _ask(self, designs: Iterable[Design]) -> Score | None:
        missing = [d for d in designs if (self.bases[0], d) not in self.scores]
        return Score(self.bases, tuple(dict.fromkeys(missing))) if missing else None

"""Scores of slices during a search: the host of `ckrm_tf.narrowing.scorer`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from ckrm_tf.data.dataset import Dataset, Split
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.narrowing.axis_groups import AxisGroups, axis_groups
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.narrowing.scorer import Scorer
from ckrm_tf.narrowing.widths import Widths
from ckrm_tf.store.failures import passing
from ckrm_tf.store.scores import ScoreBook
from ckrm_tf.train.batches import scaled
from ckrm_tf.tuning.answers import NotScorableError, Score
from ckrm_tf.tuning.heritage import FIT
from ckrm_tf.tuning.history import Scores
from ckrm_tf.tuning.runner import Runner


class SliceScorer:
    """Scores slices of trained networks of a search, each once.

    Args:
        runner: has the weights of the trained networks.
        data: its training images mend.
        judge: images and labels that no training sees; their macro AUC is the score.
        book: what is known, and where it is recorded.
        on_score: called with each request and its scores, new ones only.
        first: the least seed of a training whose weights are sliced.
        dealt: a seed to deal out the scores of a request by, among its designs; None leaves them.
    """

    def __init__(
        self,
        runner: Runner,
        data: Dataset,
        judge: Split,
        book: ScoreBook,
        on_score: Callable[[Score, list[float]], None] | None = None,
        first: int = 0,
        dealt: int | None = None,
    ) -> None:
        self.first = first
        self.runner, self.book, self.on_score, self.dealt = runner, book, on_score, dealt
        self.fit = scaled(evenly(data.train.images, FIT), data.scale)
        self.judge, self.labels = scaled(judge.images, data.scale), judge.labels
        self._bases: tuple[Design, ...] = ()
        self._scorer: Scorer | None = None
        self._groups: AxisGroups | None = None

    @property
    def known(self) -> Scores:
        """Every score so far."""
        return self.book.known

    def __call__(self, asked: Score) -> None:
        """Score what is asked for and record it.

        Raises:
            NotScorableError: a network whose slices are no masks of it, as where a norm goes over
                channels; or weights that are gone.
        """
        began = time.process_time()
        try:
            scorer, groups = self._at(asked.bases)
            scores = [self._score(scorer, groups, design) for design in asked.designs]
        except Exception as error:
            # Want of memory passes too, and the search need not end for it.
            if not isinstance(error, CKRMError) and passing(error) is None:
                raise
            raise NotScorableError(
                f"slices cannot be scored, so signals decide: {error}"
            ) from error
        if self.dealt is not None:
            kinds = _kinds(self.runner.family, asked.designs)
            scores = dealt_out(scores, len(self.book.known), self.dealt, kinds)
        self.book.add(asked, scores, round(time.process_time() - began, 3))
        if self.on_score is not None:
            self.on_score(asked, scores)

    def release(self) -> None:
        """Forget the network in memory."""
        self._bases, self._scorer, self._groups = (), None, None

    def _score(self, scorer: Scorer, groups: AxisGroups, design: Design) -> float:
        depths = {axis: design[axis] for axis in self.runner.family.bypasses(groups.design)}
        return scorer.score(self._widths(groups, design), depths)

    def _widths(self, groups: AxisGroups, design: Design) -> Widths:
        """The widths of a design in a network that is as deep as the root.

        A stage that is gone keeps the width that it has in the model that is cut from.
        """
        family, root = self.runner.family, groups.design
        stages = family.bypasses(root)
        gone = {name: bypass for name, bypass in stages.items() if design[name] == 0}
        within = [axis.name for axis in family.axes if axis.within in gone]
        widths = groups.widths(design.replace({n: root[n] for n in (*within, *stages)}))
        for axis in within:
            for name in groups[axis]:
                del widths[name]
        inner = [axis for bypass in gone.values() for axis in bypass.inner]
        return widths | {name: 1 for axis in inner for name in groups[axis]}

    def _at(self, bases: tuple[Design, ...]) -> tuple[Scorer, AxisGroups]:
        """The scorer that cuts from the last of these bases, and the groups of its axes."""
        if self._scorer is None or self._groups is None or self._bases != bases[: len(self._bases)]:
            self.release()
            model = self._trained(bases[0])
            self._groups = axis_groups(self.runner.family, model, bases[0])
            self._scorer = Scorer(
                model,
                self.fit,
                self.judge,
                self.labels,
                bypasses=self.runner.family.bypasses(bases[0]),
            )
            self._bases = bases[:1]
        for base in bases[len(self._bases) :]:
            self._scorer.rebase(self._widths(self._groups, base))
            self._bases = (*self._bases, base)
        return self._scorer, self._groups

    def _trained(self, design: Design) -> keras.Model:
        """The network as the first of its trainings left it."""
        runner = self.runner
        model = runner.build(design)
        if runner.family.given(design):
            return model
        known = [
            t
            for t in runner.journal.current()
            if t.design == design
            and t.val_auc is not None
            and t.seed >= self.first
            and runner.is_whole(t)
        ]
        # As the search trains it, first: a search that goes on after its end scores slices of the
        # network that it scored before, whatever was trained plainly to confirm it.
        known.sort(key=lambda t: (t.how != runner.way_of(design).how, t.seed))
        paths = [runner.weights_of(t) for t in known]
        path = next((p for p in paths if p is not None and p.exists()), None)
        if path is None:
            raise CKRMError(
                "weights",
                expected=f"those of {runner.family.describe(design)}, whose slices are scored",
                received="none",
                hint="Were they moved out of the run folder?",
            )
        model.load_weights(path)
        return model


def dealt_out(
    scores: list[float], number: int, seed: int, kinds: list[str] | None = None
) -> list[float]:
    """The same scores in another order: for the ablation that knows no width.

    Args:
        scores: of one request.
        number: of the request; another number, another order.
        seed: of the order.
        kinds: of each score; scores are dealt out among those of one kind.
    """
    rng, found = np.random.default_rng((seed, number)), list(scores)
    kinds = kinds or [""] * len(scores)
    for kind in dict.fromkeys(kinds):
        places = [place for place, own in enumerate(kinds) if own == kind]
        for place, other in zip(places, rng.permutation(places), strict=True):
            found[place] = scores[other]
    return found


def _kinds(family: Family, designs: Sequence[Design]) -> list[str]:
    """Whether each design lacks a stage that others have, or blocks, or widths alone."""
    depths = [axis.name for axis in family.axes if axis.kind == "depth"]
    most = {name: max(design[name] for design in designs) for name in depths}

    def kind(design: Design) -> str:
        lower = [name for name in depths if design[name] < most[name]]
        if any(design[name] == 0 for name in lower):
            return "stage"
        return "blocks" if lower else "widths"

    return [kind(design) for design in designs]

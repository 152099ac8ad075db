"""A KerasTuner tuner that trains a trial's seeds, measures and records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import TrialStatus
from keras_tuner.errors import FailedTrialError

from ckrm_tf.design.design import Design
from ckrm_tf.files import first_unused
from ckrm_tf.judge.select import smallest_acceptable
from ckrm_tf.store.record import FAILED, Training
from ckrm_tf.tuning.ahead import Search, ahead
from ckrm_tf.tuning.alone import check_alone
from ckrm_tf.tuning.bounds import design_in
from ckrm_tf.tuning.history import Outcome, outcomes
from ckrm_tf.tuning.metrics import trial_metrics
from ckrm_tf.tuning.oracle import REPEAT, CKRMOracle
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.space import FamilyHyperModel
from ckrm_tf.tuning.wanted import Wanted

# Trainings that are looked ahead, one after the other.
DEPTH = 3


class CKRMTuner(keras_tuner.engine.base_tuner.BaseTuner):
    """Runs the trials of any KerasTuner oracle over the networks of a family.

    A search resumes by being run again: the oracle proposes what it proposed, and the runner
    finds those trainings in its journal. KerasTuner's own files are written beside, into a new
    folder each time: its reload is not needed. The commands remove those of earlier starts.

    Args:
        oracle: a `CKRMOracle`, or any other.
        runner: trains, measures, keeps the journal.
        seeds: the seeds each trial is trained with, at least one; a network tried again gets those
            that follow.
        directory: where KerasTuner's files go.
        penalty: weight of the redundancy in the score.
        hopeless: after the first seed, skip the others when its AUC is further than this below
            that of the first trial; None trains them all.
        extra_metrics: adds metrics of its own, for oracles with another objective.
        confirm: the seeds that the recommended network will be trained with.

    Raises:
        CKRMError: KerasTuner's variables for a search over several processes are set.

    Example:
        >>> from pathlib import Path
        >>> from tempfile import TemporaryDirectory
        >>> from ckrm_tf import CKRMOracle, CKRMTuner, ResNetFamily, Stage, Widths, load_dataset
        >>> from ckrm_tf.store.journal import Journal
        >>> from ckrm_tf.train.recipe import Recipe
        >>> from ckrm_tf.tuning.rule import Rule
        >>> from ckrm_tf.tuning.runner import Runner
        >>> data = load_dataset("phantom", n=(24, 12, 12), image_size=16)
        >>> family = ResNetFamily(Widths(8, (Stage(1, 8, 16),)), data.input_shape)
        >>> with TemporaryDirectory() as folder:
        ...     journal = Journal(Path(folder) / "trials.jsonl", family)
        ...     runner = Runner(data, Recipe(epochs=1), journal, family)
        ...     oracle = CKRMOracle(family, Rule(margin=1.0, repeats=1), max_trials=2, seed=1)
        ...     CKRMTuner(oracle, runner, seeds=(1,), directory=Path(folder) / "kt").search()
        ...     [outcome.params for outcome in oracle.history()]
        [1507, 531]
    """

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        runner: Runner,
        *,
        seeds: Sequence[int],
        directory: Path,
        floor: int = 4,
        penalty: float = 0.0,
        hopeless: float | None = None,
        extra_metrics: Callable[[dict[str, float]], dict[str, float]] | None = None,
        confirm: Sequence[int] = (),
    ) -> None:
        check_alone()
        self.confirm = tuple(confirm)
        self.runner, self.seeds, self.penalty = runner, tuple(seeds), penalty
        self.hopeless, self.extra_metrics = hopeless, extra_metrics
        self._bar: float | None = None
        super().__init__(
            oracle,
            FamilyHyperModel(runner.family, runner.build, floor),
            directory=str(directory),
            project_name=first_unused(directory, lambda n: f"session{n}").name,
        )
        self.oracle.verbose = 0

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Train the trial's network with each seed; see `keras_tuner.Tuner.run_trial`.

        Raises:
            FailedTrialError: when no seed could be trained; the reasons are in the journal.
        """
        values = trial.hyperparameters.values
        design = design_in(values, self.runner.family.axes)
        epochs = values.get("tuner/epochs")
        trainings: list[Training] = []
        seeds = self._seeds_of(values)
        self.runner.hints = self._hints(design, seeds, epochs or self.runner.recipe.epochs)
        for seed in seeds:
            trainings.append(self.runner.run(design, seed, epochs, self.runner.way_of(design)))
            if self._is_hopeless(trainings[-1]):
                break
        self.runner.release()
        done = [t for t in trainings if t.status != FAILED]
        if not done:
            raise FailedTrialError(trainings[0].reason or "training failed")
        if isinstance(self.oracle, CKRMOracle):
            self.oracle.observe(trial.trial_id, *outcomes(done))
        metrics = trial_metrics(done, self.penalty)
        if self._bar is None and self.hopeless is not None:
            self._bar = metrics["val_auc"] - self.hopeless
        return metrics | (self.extra_metrics(metrics) if self.extra_metrics else {})

    def _try_run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        """KerasTuner's, which prints a traceback for each failed trial: the journal has why."""
        try:
            self._run_and_update_trial(trial, *args, **kwargs)
            trial.status = TrialStatus.COMPLETED
        except FailedTrialError as error:
            trial.status, trial.message = TrialStatus.FAILED, str(error)

    def _hints(self, design: Design, seeds: Sequence[int], epochs: int) -> Iterator[Wanted]:
        """Trainings that may be asked for after the first of this trial, the likeliest first.

        Its other seeds; what the oracle may want next; the seeds that confirm the network which
        would be recommended now; what the oracle may want later; a second seed of the start.
        """
        yield from (self._wanted(design, seed, epochs) for seed in seeds[1:])
        if not isinstance(self.oracle, CKRMOracle):
            return
        full, history = self.runner.recipe.epochs, self.oracle.history()
        rule, family = self.oracle.rule, self.oracle.family
        scores = None if self.oracle.scoring is None else self.oracle.scoring.known
        folds = [self.runner.fold_of(seed) for seed in range(1, len(self.runner.folds) + 1)]
        left = min(DEPTH, (self.oracle.max_trials or DEPTH) - len(self.oracle.trials))
        search = Search(self.oracle.strategy, rule, family, scores)
        for number, step in enumerate(ahead(search, history, design, left, folds or (None,))):
            for other, tries in step:
                times = tries // len(self.seeds)
                yield from (self._wanted(other, seed, full) for seed in self._seeds(times))
            if not number:
                yield from (
                    Wanted(parent, s, full) for parent in self._best(history) for s in self.confirm
                )
        yield from (Wanted(family.start, s, full) for s in self.confirm[:2])

    def _wanted(self, design: Design, seed: int, epochs: int) -> Wanted:
        """A training as the search asks for it."""
        return self.runner.wanted(design, seed, self.runner.way_of(design), epochs)

    def _best(self, history: Sequence[Outcome]) -> list[Design]:
        """The network that would be recommended now, where there is one."""
        if not history or history[0].failed:
            return []
        found = smallest_acceptable(history, self.oracle.rule.margin)
        return [] if found is history[0] else [found.design]

    def _seeds_of(self, values: dict[str, Any]) -> list[int]:
        """The trial's seeds: a network tried again gets those that follow."""
        return self._seeds(values.get(REPEAT, 0))

    def _seeds(self, times: int) -> list[int]:
        """The seeds of a network that was tried so many times."""
        later = times * (max(self.seeds) - min(self.seeds) + 1)
        return [seed + later for seed in self.seeds]

    def _is_hopeless(self, training: Training) -> bool:
        return self._bar is not None and (training.val_auc or 0.0) < self._bar

    def save_model(self, trial_id: str, model: Any, step: int = 0) -> None:
        """Nothing: the runner keeps the weights."""

    def load_model(self, trial: Any) -> Any:
        """The trial's network with the weights of its first seed.

        Raises:
            FileNotFoundError: when the runner keeps no weights.
        """
        values = trial.hyperparameters.values
        design = design_in(values, self.runner.family.axes)
        model = self.runner.build(design)
        way = self.runner.way_of(design)
        epochs = way.epochs(values.get("tuner/epochs") or self.runner.recipe.epochs)
        path = self.runner.weights_path(design, self._seeds_of(values)[0], epochs, way.how)
        if path is None:
            raise FileNotFoundError("this search kept no weights: give the runner a weights_dir")
        model.load_weights(path)
        return model

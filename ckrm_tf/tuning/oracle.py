"""A KerasTuner oracle that reads lambda and validation AUC and proposes the next widths."""

from __future__ import annotations

from typing import Any

import keras_tuner

from ckrm_tf.criteria.base import SIGNAL_PARTS, Signal
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.widths import Widths
from ckrm_tf.tuning.history import Outcome, merged
from ckrm_tf.tuning.metrics import OBJECTIVE
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.rule import Rule, Strategy

# How often the network of a trial was tried before; named as KerasTuner's own "tuner/epochs".
REPEAT = "tuner/repeat"


class CKRMOracle(keras_tuner.Oracle):
    """Proposes widths from the history of a search; works in any KerasTuner tuner.

    A trial's hyperparameters are those of `ckrm_tf.tuning.space.declare`, its metrics those of
    `ckrm_tf.tuning.metrics.trial_metrics`. Trial 0 is the starting network. The objective is
    `score`: validation AUC minus a weighted CKRM penalty. A network that is proposed again asks for
    other seeds: its hyperparameters then hold how often it was tried before, as `REPEAT`.

    Args:
        start: the starting network.
        rule: settings of the proposal.
        strategy: the pure function that proposes; `propose` by default.
        layout, input_shape, classes: what the parameter count of a network depends on.
        kwargs: KerasTuner's own, `max_trials` above all.
    """

    def __init__(
        self,
        start: Widths,
        rule: Rule | None = None,
        strategy: Strategy = propose,
        *,
        layout: Layout | None = None,
        input_shape: tuple[int, int, int] = (224, 224, 1),
        classes: int = 3,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("objective", keras_tuner.Objective(OBJECTIVE, "max"))
        super().__init__(**kwargs)
        self.start, self.rule, self.strategy = start, rule or Rule(), strategy
        self.layout, self.input_shape, self.classes = layout, input_shape, classes

    def history(self) -> list[Outcome]:
        """The networks of the finished trials, oldest first; trials of one network are merged."""
        done = sorted(t for t in self.trials if self.trials[t].status in ("COMPLETED", "FAILED"))
        return merged(self._outcome(self.trials[t]) for t in done)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """The next widths as hyperparameter values; see `keras_tuner.Oracle`."""
        history = self.history()
        running = [
            Widths.from_items(t.hyperparameters.values)
            for t in self.trials.values()
            if t.status == "RUNNING"
        ]
        if not history:
            widths = None if running else self.start
            status = "IDLE" if running else "RUNNING"
        else:
            widths = self.strategy(history, self.rule, running)
            status = "RUNNING" if widths else "STOPPED"
        return {"status": status, "values": self._values(widths) if widths else None}

    def _values(self, widths: Widths) -> dict[str, int]:
        """The hyperparameters of the next trial, with REPEAT when the network was tried before."""
        before = [Widths.from_items(t.hyperparameters.values) for t in self.trials.values()]
        times = before.count(widths)
        return dict(widths.items()) | ({REPEAT: times} if times else {})

    def _outcome(self, trial: keras_tuner.engine.trial.Trial) -> Outcome:
        widths = Widths.from_items(trial.hyperparameters.values)
        params = widths.params(self.input_shape, self.classes, self.layout)
        if trial.status != "COMPLETED":
            return Outcome(widths, (), params)
        metrics = {name: trial.metrics.get_last_value(name) for name in trial.metrics.metrics}
        aucs = tuple(metrics[n] for n in sorted(metrics) if n.startswith("val_auc/"))
        return Outcome(widths, aucs, params, _signals(metrics))


def _signals(metrics: dict[str, float]) -> dict[str, Signal]:
    widths = {n.removeprefix("signal/").rpartition("/")[0] for n in metrics if "signal/" in n}
    return {
        width: Signal(*(metrics[f"signal/{width}/{part}"] for part in SIGNAL_PARTS))
        for width in sorted(widths)
    }

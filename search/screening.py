"""One-epoch screening: many networks for one epoch each, then the best of them in full."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keras_tuner.oracles import RandomSearchOracle

from search.from_start import FromStart

# The part of what is left after the starting network that goes into screening.
SHARE = 0.25
EPOCHS = "tuner/epochs"


@dataclass(frozen=True, slots=True)
class Screened:
    """A network after one epoch: its hyperparameters, parameters and validation AUC."""

    values: Mapping[str, int]
    params: float
    auc: float


def in_order(screened: list[Screened]) -> list[Screened]:
    """The order in which screened networks are finished.

    First the front, on which no network that is at most as large was better, the smallest of it
    first; then the front of the others, and so on.
    """
    left = sorted(screened, key=lambda s: (s.params, -s.auc))
    found: list[Screened] = []
    while left:
        best = -math.inf
        front: list[Screened] = []
        others: list[Screened] = []
        for network in left:
            (front if network.auc > best else others).append(network)
            best = max(best, network.auc)
        found += front
        left = others
    return found


class FromStartScreening(FromStart, RandomSearchOracle):
    """Random networks for one epoch, and those on the front of size and AUC trained in full.

    A quarter of the epochs that the starting network leaves goes into screening. Each full training
    begins anew, as Hyperband's do.
    """

    max_epochs: int
    epoch_budget: int

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """See `keras_tuner.Oracle`."""
        left = self.epoch_budget - self.max_epochs
        number = len(self.trials) - 1
        if 0 <= number < int(SHARE * left):
            response: dict[str, Any] = super().populate_space(trial_id)
            if response.get("values"):
                response["values"] |= {EPOCHS: 1}
            return response
        if number < 0:
            return super().populate_space(trial_id)
        trials = list(self.trials.values())[1:]
        short = [t for t in trials if EPOCHS in t.hyperparameters.values]
        full = len(trials) - len(short)
        done = [_screened(t) for t in short if t.status == "COMPLETED"]
        if full * self.max_epochs + len(short) >= left or full >= len(done):
            return {"status": "STOPPED"}
        return {"status": "RUNNING", "values": dict(in_order(done)[full].values)}


def _screened(trial: Any) -> Screened:
    values = {k: v for k, v in trial.hyperparameters.values.items() if k != EPOCHS}
    params, auc = (trial.metrics.get_best_value(name) for name in ("params", "val_auc"))
    return Screened(values, params, auc)

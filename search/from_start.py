"""What KerasTuner's own oracles need to stand beside the guided ones."""

from __future__ import annotations

from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError


class FromStart:
    """Mixed into KerasTuner's oracles: trial 0 is the starting network, as for the guided ones.

    It also keeps widths within the space: a Gaussian process's optimum at the upper bound of an
    integer comes out of KerasTuner as that bound plus one.
    """

    start: Design

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """See `keras_tuner.Oracle`.

        Raises:
            CKRMError: when the starting network could not be trained.
        """
        first = next(iter(self.trials.values()), None)  # type: ignore[attr-defined]
        if first is None:
            return {"status": "RUNNING", "values": self.start.to_dict()}
        if first.status == "FAILED":
            raise CKRMError("starting network", expected="a finished training", received="none")
        response: dict[str, Any] = super().populate_space(trial_id)  # type: ignore[misc]
        if response.get("values"):
            most = self.start
            values = response["values"]
            response["values"] = {k: min(v, most[k]) if k in most else v for k, v in values.items()}
        return response

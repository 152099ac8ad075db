"""What is kept with the trials of an Optuna study for a search, and read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

# User attributes of a trial, which a dashboard shows: what was proposed, and what came of it.
PROPOSED, OUTCOME = "ckrm_proposed", "ckrm_outcome"


@dataclass(frozen=True, slots=True)
class Proposed:
    """What a trial was given, as it is kept with the trial.

    Attributes:
        design: the network.
        repeat: how many earlier trials of the study have it: each asks for a seed of its own.
        why: the reason, in a few words.
        spare: nothing new was left to propose while other trials were running.
    """

    design: Design
    repeat: int
    why: str
    spare: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "design": self.design.to_dict(),
            "repeat": self.repeat,
            "why": self.why,
            "spare": self.spare,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Proposed:
        """The inverse of `to_dict`."""
        return cls(Design.from_dict(data["design"]), data["repeat"], data["why"], data["spare"])


def no_optuna(what: str, error: ModuleNotFoundError) -> CKRMError:
    """The error where Optuna is not installed, for who wants `what`."""
    return CKRMError(
        what,
        expected="Optuna",
        received=f"no module {error.name}",
        hint="pip install 'ckrm-tf[optuna]'",
    )


def proposed(trial: FrozenTrial) -> Proposed | None:
    """What a trial was given, None where nothing yet."""
    data = trial.user_attrs.get(PROPOSED)
    return None if data is None else Proposed.from_dict(data)


def running_in(trials: Sequence[FrozenTrial]) -> list[Proposed]:
    """What is being trained, or will be again, but for spare seeds, which decide nothing."""
    found = [proposed(t) for t in trials if not t.state.is_finished()]
    return [one for one in found if one is not None and not one.spare]


def age(trial: FrozenTrial) -> float:
    """Seconds since a trial began; storages keep local time without a zone."""
    began = trial.datetime_start
    return 0.0 if began is None else (datetime.now() - began).total_seconds()

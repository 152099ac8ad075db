"""The trainings of a search as trials of an Optuna study, whose dashboard shows them live."""

from __future__ import annotations

import json
import re
import uuid
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family
from ckrm_tf.files import write_atomically
from ckrm_tf.store.record import FAILED, Training
from ckrm_tf.tuning.history import outcomes
from ckrm_tf.tuning.optuna_trials import no_optuna

try:
    import optuna

    from ckrm_tf.tuning.optuna_sampler import distribution_of
except ModuleNotFoundError as error:
    raise no_optuna("--optuna-storage", error) from error

# Which study is a run folder's.
FILE = "optuna.json"
# The user attribute by which a training is known again.
KEY = "ckrm_training"
OBJECTIVES = ["validation AUC", "parameters"]


class StudyLog:
    """Writes each training once, as a trial of the run folder's own study.

    The study maximises validation AUC and minimises parameters. Nothing is read from it but which
    trainings it has.

    Args:
        storage: a URL as Optuna takes it, or the path of an SQLite file.
        folder: the run folder; it remembers the name of its study.
        family: its axes are the parameters.
        note: told why nothing is written any more, where the storage fails.

    Attributes:
        name: of the study.

    Raises:
        CKRMError: a storage that cannot be opened.
    """

    def __init__(
        self,
        storage: str,
        folder: Path,
        family: Family,
        note: Callable[[str], None] = warnings.warn,
    ) -> None:
        self.family, self.note = family, note
        # Numbers below the floor of a search are in no search, but in a journal they may be.
        self.space = {axis.name: distribution_of(axis, 1) for axis in family.axes}
        self.name = _name_of(folder)
        try:
            study = optuna.create_study(
                storage=storage if "://" in storage else f"sqlite:///{Path(storage).absolute()}",
                study_name=self.name,
                directions=["maximize", "minimize"],
                load_if_exists=True,
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names(OBJECTIVES)
            known = [t.user_attrs.get(KEY) for t in study.get_trials(deepcopy=False)]
        except Exception as error:  # each driver of a data base has errors of its own
            raise CKRMError(
                "--optuna-storage",
                expected="the URL of a data base, or the path of an SQLite file",
                received=f"{shown(storage)} ({type(error).__name__})",
            ) from error
        self._study: optuna.Study | None = study
        self._known = {json.dumps(key) for key in known}

    def __call__(self, training: Training, new: bool) -> None:
        """Write a training, unless the study has it."""
        key = _key(training)
        if self._study is None or json.dumps(key) in self._known:
            return
        try:
            self._study.add_trial(self._trial(training, key))
        except Exception as error:  # as above; a search does not end for a picture of it
            self.note(f"trainings are written to no Optuna study any more: {type(error).__name__}")
            self._study = None
            return
        self._known.add(json.dumps(key))

    def _trial(self, training: Training, key: list[Any]) -> optuna.trial.FrozenTrial:
        failed = training.status == FAILED
        (outcome,) = outcomes([training])
        told = {
            KEY: key,
            "seed": training.seed,
            "fold": training.fold,
            "how": training.how,
            "epochs": training.epochs,
            "macs": training.macs,
            "redundancy": outcome.redundancy,
            "seconds": round(training.seconds, 3),
            "reason": training.reason,
        }
        trial = optuna.create_trial(
            state=optuna.trial.TrialState.FAIL if failed else optuna.trial.TrialState.COMPLETE,
            values=None if failed else [training.val_auc or 0.0, training.params],
            # The widths of an absent stage are 0, which no distribution holds.
            params={name: max(training.design[name], d.low) for name, d in self.space.items()},
            distributions={**self.space},
            user_attrs={name: value for name, value in told.items() if value is not None},
        )
        if training.finished:
            ended = datetime.fromisoformat(training.finished).astimezone().replace(tzinfo=None)
            trial.datetime_start = ended - timedelta(seconds=training.seconds)
            trial.datetime_complete = ended
        return trial


def quiet() -> None:
    """Have Optuna say no more than its warnings, in this process."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def shown(storage: str) -> str:
    """A storage without the name and password that its URL may hold.

    >>> shown("mysql://me:secret@host/studies")
    'mysql://...@host/studies'
    """
    return re.sub(r"://[^/]*@", "://...@", storage)


def _key(training: Training) -> list[Any]:
    """What no two trainings of a journal share."""
    return [*training.key[1:], training.design.to_json(), training.finished]


def _name_of(folder: Path) -> str:
    """The name of the folder's study, made once: folders of one name share no study."""
    path = folder / FILE
    try:
        found = json.loads(path.read_bytes())["study"]
    except FileNotFoundError:
        found = f"{folder.absolute().name} {uuid.uuid4().hex[:8]}"
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"study": found}) + "\n")
    except (ValueError, TypeError, KeyError) as error:
        raise CKRMError(
            str(path), expected='{"study": "NAME"}', received="something else"
        ) from error
    return str(found)

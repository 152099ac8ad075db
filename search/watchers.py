"""What hears of each training of a command, beside the lines on screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ckrm_tf.families.base import Family
from ckrm_tf.store.record import Training
from search.settings import Settings

Listener = Callable[[Training, bool], None]
"""Told each training, and whether it is new."""


def told(
    first: Listener | None,
    settings: Settings,
    folder: Path,
    family: Family,
    note: Callable[[str], None],
) -> Listener | None:
    """One listener that tells `first` and all that the settings ask for; None where there is none.

    Args:
        first: what prints.
        settings: of the command.
        folder: the run folder.
        family: of the networks.
        note: told what a user should know.

    Raises:
        CKRMError: an Optuna storage that cannot be opened, or no Optuna.
    """
    found = [] if first is None else [first]
    if settings.tensorboard:
        from ckrm_tf.tuning.hparams import HParamsLog  # noqa: PLC0415 - only for who wants it

        found.append(HParamsLog(folder / "tensorboard", family, settings.penalty))
    if settings.optuna_storage:
        found.append(_study(settings.optuna_storage, folder, family, note))
    if not found:
        return None

    def tell(training: Training, new: bool) -> None:
        for one in found:
            one(training, new)

    return tell


def _study(storage: str, folder: Path, family: Family, note: Callable[[str], None]) -> Listener:
    from ckrm_tf.tuning.optuna_log import StudyLog, quiet, shown  # noqa: PLC0415 - as above

    # A line about each trial stands on the screen already.
    quiet()
    log = StudyLog(storage, folder, family, note)
    note(
        f"trainings are trials of the Optuna study {log.name!r}: optuna-dashboard {shown(storage)}"
    )
    return log

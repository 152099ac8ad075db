"""The options of the data sources as flags of the commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ckrm_tf.data import options, source_of
from ckrm_tf.data.options import Option

# Options whose flag has another name: a recipe of the commands is that of the training.
RENAMED = {"recipe": "frame"}

# Options that say where files lie, not which they are.
PLACES = ("images", "cache_dir")


def data_flags() -> dict[str, Option]:
    """Every option of every source, by its flag."""
    return {
        RENAMED.get(name, name): replace(option, name=RENAMED.get(name, name))
        for name, option in options().items()
    }


def loader_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values by flag as values by the loader's keyword."""
    names = {flag: name for name, flag in RENAMED.items()}
    return {names.get(flag, flag): value for flag, value in given.items()}


def check_data_flags(data: str, given: Mapping[str, Any]) -> None:
    """Raise the error for a flag that does not belong to the source that `data` names.

    Raises:
        CKRMError: that, or a source that is none, where there are flags at all.
    """
    if given:
        source_of(data).check(loader_options(given))

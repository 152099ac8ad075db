"""The options of the data sources as flags of the commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ckrm_tf.data import options, source_of
from ckrm_tf.data.limits import brief
from ckrm_tf.data.options import Option
from ckrm_tf.errors import unknown_name

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
    if not given:
        return
    known = [RENAMED.get(option.name, option.name) for option in source_of(data).options]
    for name in given:
        if name not in known:
            raise unknown_name(f"option of the data {brief(data, 60)}", name, known)

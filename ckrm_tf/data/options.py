"""What a source of data is: how it is named, what loads it, and its options, declared once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import numpy as np

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.data.limits import brief
from ckrm_tf.errors import CKRMError, unknown_name


def path_of(text: str) -> Path:
    """The path that a user typed; a "~" of nobody stays as it is."""
    return Path(os.path.expanduser(text))


@dataclass(frozen=True)
class Option:
    """One option of a source, as a keyword of its loader and as a flag of the commands.

    Attributes:
        name: the keyword, "cache_dir"; the flag is --cache-dir.
        type: of its values: `int`, `float | None`, `str`, `bool`, `tuple[int, ...]`.
        default: what holds when it is not given.
        help: one line, lower case, without a full stop.
        choices: the values that a text may take; empty where any may.
    """

    name: str
    type: Any
    default: Any
    help: str
    choices: tuple[str, ...] = ()

    def check(self, value: object) -> None:
        """Raise the error for a value of another type."""
        kinds = get_args(self.type) if isinstance(self.type, UnionType) else (self.type,)
        if not any(_is_a(value, kind) for kind in kinds):
            raise CKRMError(
                self.name,
                expected=" or ".join(_KINDS[get_origin(kind) or kind][1] for kind in kinds),
                received=brief(repr(value), 60),
            )


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    int: ((int, np.integer), "a whole number"),
    float: ((int, float, np.integer, np.floating), "a number"),
    str: ((str, os.PathLike), "a text"),
    bool: ((bool,), "true or false"),
    tuple: ((int, Sequence), "whole numbers"),
    NoneType: ((NoneType,), "nothing"),
}


def _is_a(value: object, kind: Any) -> bool:
    kind = get_origin(kind) or kind
    if isinstance(value, bool) and kind is not bool:
        return False
    return isinstance(value, _KINDS[kind][0]) and not (kind is tuple and isinstance(value, str))


@dataclass(frozen=True)
class Source:
    """One kind of data.

    Attributes:
        name: of its loader.
        form: how a user names it, as the error for an unknown source says.
        matches: whether a text names this source.
        load: takes the text and, by keyword, `image_size` (None for the source's own), `seed`,
            `progress` (None for none) and the options.
        options: what the source takes besides image size and seed.
    """

    name: str
    form: str
    matches: Callable[[str], bool]
    load: Callable[..., Dataset]
    options: tuple[Option, ...] = ()

    def check(self, given: Mapping[str, Any]) -> None:
        """Raise the error for an option that this source does not have, with the nearest known.

        Raises:
            CKRMError: that, or a value of another type than the option's.
        """
        known = {option.name: option for option in self.options}
        for name, value in given.items():
            if name not in known:
                raise unknown_name(f"option of {self.name}", name, known)
            known[name].check(value)

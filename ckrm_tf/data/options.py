"""What a source of data is: how it is named, what loads it, and its options, declared once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.errors import unknown_name


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
        """Raise the error for an option that this source does not have, with the nearest known."""
        known = [option.name for option in self.options]
        for name in given:
            if name not in known:
                raise unknown_name(f"option of {self.name}", name, known)

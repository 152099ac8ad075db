"""The model of the user's own that a run is about, as the flags of a later command name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Given:
    """Where the model lies, and what it takes to read it.

    Attributes:
        model: its file; None where the run tells.
        custom: a Python file that defines its own layers.
        unsafe: whether code inside the file may run.
    """

    model: str | None = None
    custom: str | None = None
    unsafe: bool = False


NOBODY = Given()

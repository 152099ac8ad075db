"""What a check is, and what it answers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ckrm_tf.reporting.record import Record

State = Literal["warns", "quiet", "cannot tell"]


@dataclass(frozen=True)
class Answer:
    """What a check found.

    Attributes:
        state: "cannot tell" where the run lacks what the check needs.
        text: the figures that it rests on, in a sentence, and the next step where it warns.
    """

    state: State
    text: str


@dataclass(frozen=True)
class Check:
    """One check of a record.

    Attributes:
        code: its number for good, which names its page in docs/checks.
        title: what is wrong where it warns.
        judge: reads the record, changes nothing.
    """

    code: str
    title: str
    judge: Callable[[Record], Answer]

    @property
    def page(self) -> str:
        """Where it is explained, in the repository."""
        return f"docs/checks/{self.code.lower()}.md"


def warns(text: str) -> Answer:
    """The check warns."""
    return Answer("warns", text)


def quiet(text: str) -> Answer:
    """The check has looked and has nothing to say."""
    return Answer("quiet", text)


def cannot_tell(text: str) -> Answer:
    """The run lacks what the check needs."""
    return Answer("cannot tell", text)

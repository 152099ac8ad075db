"""The words of a command line by the parameter that each is for; types come later."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ckrm_tf.data.options import Option
from ckrm_tf.errors import CKRMError, unknown_name
from search.values import is_bool, kinds_of

Flags = Callable[[], Mapping[str, Option]]
"""The flags that a command takes beside its parameters: `**flags: Annotated[Any, Flags]`."""


@dataclass(frozen=True)
class Arguments:
    """What a command takes.

    Attributes:
        positional: names that a word without a flag may be for, in order.
        required: names without a default.
        own: the parameters of the function, by name.
        more: the flags beside them, by name.
    """

    positional: tuple[str, ...]
    required: tuple[str, ...]
    own: Mapping[str, Option]
    more: Mapping[str, Option]

    @property
    def all(self) -> dict[str, Option]:
        """Every flag by name."""
        return {**self.own, **self.more}

    def texts(self, words: Sequence[str]) -> dict[str, str]:
        """The text that each name is given; a bare flag is true, a bare --noflag false.

        Raises:
            CKRMError: an unknown flag, with the nearest known one; a flag without its value; a word
                too many, or a missing one.
        """
        found: dict[str, str] = {}
        free = list(self.positional)
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if _is_flag(word):
                name, value = self._flag(word, rest, found)
                found[name] = value
                continue
            free = [name for name in free if name not in found]
            if not free:
                raise CKRMError("arguments", expected="no further one", received=repr(word))
            found[free[0]] = word
        for name in self.required:
            if name not in found:
                raise CKRMError(name, expected="a value", received="none", hint="See --help.")
        return found

    def _flag(self, word: str, rest: list[str], found: Mapping[str, str]) -> tuple[str, str]:
        """Name and text of one flag; its value is taken from `rest` where it stands there."""
        flag, equals, value = word.partition("=")
        name = flag.lstrip("-").replace("-", "_")
        known = self.all
        if not flag.startswith("--"):
            # The short form that --help shows of a parameter, where no other begins alike.
            full = [key for key in self.own if len(name) == 1 and key.startswith(name)]
            if len(full) != 1:
                raise unknown_name("flag", flag, known)
            name = full[0]
        if name not in known:
            off = name.removeprefix("no").removeprefix("_")
            if flag.startswith("--no") and _takes_bool(known.get(off)) and not equals:
                return off, "false"
            raise unknown_name("flag", name, known)
        if equals:
            return name, value
        if _takes_bool(known[name]):
            bare = not rest or rest[0].startswith("--")
            # A word after it that is neither true nor false may be what the command still needs.
            needs = any(key not in found for key in self.required)
            return name, "true" if bare or (needs and not is_bool(rest[0])) else rest.pop(0)
        if not rest or rest[0].startswith("--"):
            raise CKRMError(flag, expected="a value", received="none")
        return name, rest.pop(0)


def arguments_of(function: Callable[..., Any]) -> Arguments:
    """What a function takes as a command, from its signature."""
    hints = typing.get_type_hints(function, include_extras=True)
    own: dict[str, Option] = {}
    more: Mapping[str, Option] = {}
    positional, required = [], []
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints.get(name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            if typing.get_origin(hint) is Annotated:
                more = hint.__metadata__[0]()
            continue
        own[name] = Option(name, hint, parameter.default, "")
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positional.append(name)
        if parameter.default is parameter.empty:
            required.append(name)
    return Arguments(tuple(positional), tuple(required), own, more)


def _is_flag(word: str) -> bool:
    """Whether a word is one, and no negative number or lone hyphen."""
    return word.startswith("--") or (word[:1] == "-" and word[1:2].isalpha())


def _takes_bool(option: Option | None) -> bool:
    """Whether a bare flag says something."""
    kinds = [] if option is None else kinds_of(option.type)
    return [kind for kind in kinds if kind is not types.NoneType] == [bool]

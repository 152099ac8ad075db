"""One typed path: what was typed, read by the type of the setting or parameter it is for."""

from __future__ import annotations

import math
import os
import types
import typing
from typing import Any

from ckrm_tf.data.limits import brief
from ckrm_tf.data.options import Option
from ckrm_tf.errors import CKRMError, unknown_name
from search.bits import NO

WORDS_OF = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
}
BOOLS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(NO, False),
}


def typed(where: str, value: Any, kind: Any, choices: tuple[str, ...] = ()) -> Any:
    """`value` as `kind`: text is read, any other value is checked.

    Text stays as it was typed where `kind` is text; a list is `3,4,6` or `[3,4,6]`; `null` is
    None where None may be.

    Args:
        where: the flag, or the key and its file, as the error names it.
        value: text from a command line or a settings file, or a value of Python.
        kind: `int`, `float`, `bool`, `str`, `tuple[int, ...]`, a union of them with or without
            None, or `Any`, which takes everything.
        choices: the texts that are allowed; empty where all are.

    Raises:
        CKRMError: a value of another type, a number that is not finite, a text not among `choices`.

    >>> typed("--blocks", "[3,4]", tuple[int, ...]), typed("--level", "false", bool)
    ((3, 4), False)
    """
    kinds = kinds_of(kind)
    if Any in kinds:
        return value
    if types.NoneType in kinds and _is_null(value, text=str in kinds and not choices):
        return None
    kinds = [k for k in kinds if k is not types.NoneType]
    for one in kinds:
        try:
            found = _read(value, one)
        except (ValueError, OverflowError):
            continue
        if isinstance(found, float) and not math.isfinite(found):
            raise CKRMError(where, expected="a finite number", received=brief(value, 60))
        if choices and found not in choices:
            raise unknown_name(where, brief(found, 60), choices)
        return found
    raise CKRMError(
        where, expected=" or ".join(map(_words, kinds)), received=brief(repr(value), 100)
    )


def is_bool(text: str) -> bool:
    """Whether a text says true or false."""
    return text.strip().lower() in BOOLS


def read_option(where: str, value: Any, option: Option) -> Any:
    """`value` as an option takes it; see `typed`."""
    return typed(where, value, option.type, option.choices)


def kinds_of(kind: Any) -> list[Any]:
    """The members of a union, or `kind` alone."""
    union = isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union
    return list(typing.get_args(kind)) if union else [kind]


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        whole = typing.get_args(kind)[0] is int
        return "a list of whole numbers" if whole else "names and commas"
    return WORDS_OF.get(kind, str(kind))


def _is_null(value: Any, *, text: bool) -> bool:
    """Whether `value` stands for None; a text of its own right may be "none"."""
    if isinstance(value, str):
        return value == "null" or (not text and value.lower() in ("null", "none"))
    return value is None


def _read(value: Any, kind: Any) -> Any:
    """`value` as one type.

    Raises:
        ValueError: when it is none of that type.
    """
    if typing.get_origin(kind) is tuple:
        return _list(value, typing.get_args(kind)[0])
    if kind is str:
        return _text(value)
    if kind is bool:
        if isinstance(value, str) and is_bool(value):
            return BOOLS[value.strip().lower()]
        if isinstance(value, bool):
            return value
        raise ValueError(value)
    if kind not in (int, float):
        # A type that no text is read as: Python's own values pass.
        if isinstance(value, kind):
            return value
        raise ValueError(value)
    if not (isinstance(value, str) or type(value) is int or type(value) is kind):
        raise ValueError(value)
    return kind(value)


def _list(value: Any, kind: Any) -> tuple[Any, ...]:
    if isinstance(value, str):
        inner = value.strip()
        if inner[:1] + inner[-1:] in ("[]", "()") and len(inner) > 1:
            inner = inner[1:-1]
        value = [part.strip().strip("'\"") for part in inner.removesuffix(",").split(",")]
    if not isinstance(value, list | tuple) or not value or "" in value:
        raise ValueError(value)
    if kind is str and not all(isinstance(part, str) for part in value):
        raise ValueError(value)
    return tuple(_read(part, kind) for part in value)


def _text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    # A number of Python is as good as its text; no path holds a NUL.
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "\0" in str(value):
        raise ValueError(value)
    return str(value)

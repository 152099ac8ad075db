"""What every command does with a user's mistake: one line on stderr, exit status 2."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import fire

from ckrm_tf.errors import CKRMError, unknown_name

USER_ERROR = 2


def main(function: Callable[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Run `function` as a command through Fire.

    A flag that `function` does not take is refused with the nearest known one; a `CKRMError`
    becomes one line and exit status 2.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _check_flags(function, arguments)
        fire.Fire(function, command=list(arguments))
    except CKRMError as error:
        _end(error)


def refuse(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    """End with the error line of a misspelt option."""
    _end(unknown_name(kind, name, known))


def _end(error: CKRMError) -> NoReturn:
    sys.stderr.write(f"error: {error}\n")
    raise SystemExit(USER_ERROR) from None


def _check_flags(function: Callable[..., Any], arguments: Sequence[str]) -> None:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters]
    for argument in arguments:
        if argument == "--":
            return
        name = argument.removeprefix("--").partition("=")[0].replace("-", "_")
        if not argument.startswith("--") or name in ("help", *known):
            continue
        if name.removeprefix("no") not in known:
            raise unknown_name("flag", name, known)

"""What every command does with what was typed, and with a user's mistake: one line, exit 2."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import fire
from fire.helptext import HelpText

from ckrm_tf.data.limits import brief
from ckrm_tf.data.options import Option
from ckrm_tf.errors import CKRMError, unknown_name
from search.arguments import Arguments, arguments_of
from search.commands import stop_line
from search.stopping import stopping
from search.values import read_option

USER_ERROR = 2

# Characters of an error's line: the names of all flags, and what was given.
LONGEST = 1200


def main(function: Callable[..., Any], arguments: Sequence[str] | None = None) -> None:
    """Run `function` as a command through Fire.

    Each value reaches it by the type of its parameter, or of the flag among those that its
    `**flags: Annotated[Any, ...]` names. A `CKRMError`, and a file or folder that the system does
    not give, become one line and exit status 2; Ctrl-C and SIGTERM one line and 130 or 143.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    with stopping(stop_line(function.__name__)):
        try:
            _run(function, words)
        except CKRMError as error:
            _end(error)
        except OSError as error:
            place = "files" if error.filename is None else brief(error.filename)
            told = error.strerror or brief(error)
            _end(CKRMError(place, expected="to read and write it", received=told))


def refuse(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    """End with the error line of a misspelt option."""
    _end(unknown_name(kind, name, known))


def _end(error: CKRMError) -> NoReturn:
    # Whatever a file or a library has put into it: one line, and its end is seen.
    sys.stderr.write(f"error: {brief(error, LONGEST)}\n")
    raise SystemExit(USER_ERROR) from None


def _run(function: Callable[..., Any], words: Sequence[str]) -> None:
    known = arguments_of(function)
    if {"-h", "--help"} & set(words):
        sys.stdout.write(f"{HelpText(function)}\n{_more(known)}")
        return
    texts = known.texts(words)

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    # Each text is read by its type; Fire's own guess makes 1000.0 of "1e3" and "run" of "run#1".
    readers = {name: functools.partial(_read, known.all[name]) for name in texts}
    fire.decorators.SetParseFns(**readers)(command)
    fire.Fire(command, command=[f"{_flag(name)}={text}" for name, text in texts.items()])


def _read(option: Option, text: str) -> Any:
    return read_option(_flag(option.name), text, option)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _more(known: Arguments) -> str:
    """The flags that the function's signature does not show."""
    if not known.more:
        return ""
    width = max(map(len, known.more)) + 2
    lines = [
        f"    {_flag(name):<{width}}  {option.help}"
        + (f": {', '.join(option.choices)}" if option.choices else "")
        + f" [{_shown(option.default)}]"
        for name, option in known.more.items()
    ]
    return "\n".join(["\nMORE FLAGS, with their defaults", *lines, ""])


def _shown(default: Any) -> str:
    if isinstance(default, tuple | list):
        return ",".join(map(str, default))
    if default is None or isinstance(default, bool):
        return "null" if default is None else str(default).lower()
    return str(default)

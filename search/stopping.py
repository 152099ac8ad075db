"""Ctrl-C and SIGTERM: one line that says how to go on; a second one ends at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# Exit status of a process that a signal ended, as shells count it.
ENDED = 128

# Seconds after which the exception is raised again: Python drops one that falls into a destructor,
# such as those of a session that is being cleared.
AGAIN = 1.0


class Stopped(KeyboardInterrupt):
    """The user, or the machine, wants the process to end."""


def stop_at_once() -> None:
    """Let a signal end the process with a line: for the imports, which take seconds."""
    for number in _heard():
        signal.signal(number, _end)


@contextmanager
def stopping(line: str) -> Iterator[None]:
    """Within it the first signal raises `Stopped`; `line` is printed and the process ends.

    After `stop_at_once` it ends without a wait for its threads.

    Args:
        line: how to go on.

    Raises:
        SystemExit: of status 130 for Ctrl-C and 143 for SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = _Watch()
    watch.start()
    try:
        yield
    except BaseException:
        # Whatever became of the exception on its way up, the user wanted an end.
        if not watch.number:
            raise
        watch.rest()
        sys.stdout.flush()
        sys.stderr.write(f"{line}\n")
        if watch.own_process:
            # Python would wait for every thread that still reads, and hear no second signal.
            sys.stderr.flush()
            os._exit(ENDED + watch.number)
        raise SystemExit(ENDED + watch.number) from None
    finally:
        watch.end()


class _Watch:
    """The handlers, and the number of the signal that came, 0 before."""

    def __init__(self) -> None:
        self.number = 0
        self._before = {number: signal.getsignal(number) for number in _heard()}
        self._hook = sys.unraisablehook

    @property
    def own_process(self) -> bool:
        """Whether nothing but a command runs here: `stop_at_once` was called."""
        return _end in self._before.values()

    def start(self) -> None:
        for number in self._before:
            signal.signal(number, self._first)
        sys.unraisablehook = self._dropped

    def end(self) -> None:
        self.rest()
        sys.unraisablehook = self._hook
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def rest(self) -> None:
        """No more exceptions."""
        if self.number and hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _first(self, number: int, frame: FrameType | None) -> NoReturn:
        self.number = number
        stop_at_once()
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, self._again)
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        raise Stopped

    def _again(self, number: int, frame: FrameType | None) -> NoReturn:
        raise Stopped

    def _dropped(self, found: sys.UnraisableHookArgs) -> None:
        if not isinstance(found.exc_value, Stopped):
            self._hook(found)


def _heard() -> list[signal.Signals]:
    """The signals that are not ignored: a shell ignores Ctrl-C for jobs in the background."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def _end(number: int, frame: FrameType | None) -> NoReturn:
    os.write(2, b"stopped; the same command goes on, or begins anew\n")
    os._exit(ENDED + number)

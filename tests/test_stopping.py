"""Real processes that real signals stop; none of them needs TensorFlow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

START = """
import gc, signal, sys, time
from search.stopping import stopping
def ready():
    print("ready", flush=True)
"""
WORK = "with stopping('stopped; go on'):\n    ready()\n    while True: time.sleep(0.01)"
SWALLOWED = """
class Session:
    def __del__(self):
        ready()
        time.sleep(0.7)
with stopping("stopped; go on"):
    Session()
    while True: time.sleep(0.01)
"""
HIDDEN = """
with stopping("stopped; go on"):
    ready()
    try:
        while True: time.sleep(0.01)
    except BaseException as error:
        raise RuntimeError("the session is broken") from error
"""
SLOW = """
with stopping("stopped; go on"):
    try:
        ready()
        while True: time.sleep(0.01)
    finally:
        ready()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try: time.sleep(1)
            except BaseException: pass
"""
IGNORED = f"signal.signal(signal.SIGINT, signal.SIG_IGN)\n{WORK}"
STARTING = "from search.stopping import stop_at_once; stop_at_once(); ready(); time.sleep(60)"

BUSY = """
import threading
from search.stopping import stop_at_once
if OWN: stop_at_once()
with stopping("stopped; go on"):
    threading.Thread(target=time.sleep, args=(8,)).start()
    ready()
    time.sleep(60)
"""

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def begin(code: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", START + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen) -> tuple[int, str]:
    try:
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, error


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("code", [WORK, SWALLOWED, HIDDEN], ids=["work", "swallowed", "hidden"])
def test_a_signal_is_one_line_and_its_status(number, code):
    process = begin(code)
    time.sleep(0.2)
    process.send_signal(number)
    assert end(process) == (STATUS[number], "stopped; go on\n")


@pytest.mark.parametrize("number", STATUS)
def test_a_second_signal_ends_at_once(number):
    process = begin(SLOW)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    process.send_signal(number)
    status, error = end(process)
    assert status == STATUS[number]
    assert error.count("\n") == 1
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("own", [True, False])
def test_a_command_waits_for_no_thread(own):
    process = begin(BUSY.replace("OWN", str(own)))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "stopped; go on\n")
    # A caller's process is not cut short, so the look at the clock sees.
    assert (time.monotonic() - began < 6) is own


def test_a_signal_during_the_imports_is_one_line():
    process = begin(STARTING)
    process.send_signal(signal.SIGINT)
    status, error = end(process)
    assert status == 130
    assert error.startswith("stopped; the same command")
    assert error.count("\n") == 1


def test_what_a_shell_ignores_stays_ignored():
    process = begin(IGNORED)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert end(process) == (143, "stopped; go on\n")


def test_the_handlers_are_given_back():
    from search.stopping import stopping  # noqa: PLC0415 - in this process

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook
    with stopping("stopped"):
        assert signal.getsignal(signal.SIGINT) is not before[0]
    after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), sys.unraisablehook
    assert after == before
    with pytest.raises(ValueError, match="own"), stopping("stopped"):
        raise ValueError("own")

"""A written file called by a new Python process that has nothing of this package."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ckrm_tf.errors import CKRMError
from ckrm_tf.export.flat import FlatModel

TIMEOUT_SECONDS = 900

# Blocking the package's name proves that the file needs nothing of it. Standard input ends with the
# process that asks, and this one with it. `{reader}` defines `read(path)`, which returns a function
# from arrays by name to arrays by name.
PROCESS = """
import os, sys, threading
def follow():
    os.read(0, 1)
    os._exit(1)
threading.Thread(target=follow, daemon=True).start()
sys.modules["ckrm_tf"] = None
import numpy as np
{reader}
path, exchange, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
call = read(path)
for number in range(calls):
    given = np.load(f"{{exchange}}/in{{number}}.npz")
    np.savez(f"{{exchange}}/out{{number}}.npz", **call({{n: given[n] for n in given.files}}))
{more}
"""


def run_fresh(
    what: str,
    path: Path,
    flat: FlatModel,
    calls: Sequence[Sequence[np.ndarray]],
    reader: str,
    more: str = "",
    arguments: Sequence[str] = (),
) -> tuple[list[list[np.ndarray]], str]:
    """The outputs of a file for each of `calls`, and what the process printed.

    Args:
        what: is read, for the message.
        path: of the file.
        flat: the model that was written; gives the names and order of inputs and outputs.
        calls: the inputs of each call.
        reader: source that defines `read(path)`.
        more: source that runs afterwards.
        arguments: of the process, from `sys.argv[4]` on.

    Raises:
        CKRMError: when that process fails or takes more than 15 minutes.
    """
    # On the CPU: the process that asks usually holds the whole of an accelerator's memory.
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    names = [port.name for port in flat.inputs]
    with tempfile.TemporaryDirectory() as exchange:
        for number, arrays in enumerate(calls):
            given = {n: np.asarray(array) for n, array in zip(names, arrays, strict=True)}
            np.savez(Path(exchange, f"in{number}.npz"), **given)  # type: ignore[arg-type]
        code = PROCESS.format(reader=reader, more=more)
        command = [sys.executable, "-P", "-c", code, str(path), exchange, str(len(calls))]
        stdin, held = os.pipe()
        try:
            done = subprocess.run(
                [*command, *arguments],
                env=env,
                stdin=stdin,
                cwd=exchange,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CKRMError(
                f"reading {what} in a fresh process",
                expected=f"an answer within {TIMEOUT_SECONDS} s",
                received="none",
            ) from error
        finally:
            os.close(stdin)
            os.close(held)
        if done.returncode:
            raise CKRMError(
                f"reading {what} in a fresh process",
                expected="exit status 0",
                received=f"{done.returncode}: {done.stderr.strip()[-600:]}",
            )
        outputs = []
        for number in range(len(calls)):
            with np.load(Path(exchange, f"out{number}.npz")) as found:
                outputs.append([found[port.name] for port in flat.outputs])
        return outputs, done.stdout

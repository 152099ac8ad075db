"""A worker keeps to its cores, and its threads do not spin while they wait.

TensorFlow's threads spin for a moment before they sleep. Where workers have more threads than
cores, that is time which the others lack.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

TASKS = Path("/proc/self/task")


def keep_to(cores: Collection[int]) -> None:
    """Run all threads of this process, and those to come, on these cores.

    Args:
        cores: of this machine; none of them: wherever the system puts them, as on a system that
            places no threads.
    """
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    threads = [int(task.name) for task in TASKS.iterdir()] if TASKS.is_dir() else [0]
    for thread in threads:
        # One may have ended meanwhile; a container may forbid a core.
        with suppress(OSError):
            os.sched_setaffinity(thread, cores)


def without_spinning() -> None:
    """Have the threads of TensorFlow sleep at once when they wait; before it computes anything."""
    import tensorflow as tf  # noqa: PLC0415 - not in every process
    from tensorflow.python.eager import context  # noqa: PLC0415

    # No public call sets this. The public ones change other fields of the context, which its
    # configuration takes over.
    config = tf.compat.v1.ConfigProto()
    config.experimental.disable_thread_spinning = True
    context.context()._config = config

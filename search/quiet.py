"""TensorFlow's start-up notes, which no setting turns off, kept from the screen."""

from __future__ import annotations

import os
import sys
import tempfile
from importlib import import_module


def import_quietly(name: str = "tensorflow") -> None:
    """Import a package whose libraries write notes of their own; shown if the import fails.

    Its C++ libraries write to the file of standard error before their logging can be set.
    """
    if name in sys.modules or os.environ.get("KERAS_BACKEND", "tensorflow") != "tensorflow":
        return
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            import_module(name)
        except BaseException:
            notes.seek(0)
            os.write(screen, notes.read())
            raise
        finally:
            os.dup2(screen, 2)
            os.close(screen)

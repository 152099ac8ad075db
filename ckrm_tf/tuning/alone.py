"""A search is one process: KerasTuner's variables for several are refused."""

from __future__ import annotations

import os

from ckrm_tf.errors import CKRMError

# KerasTuner reads them wherever they are set, and makes a worker of a search, or a server.
VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


def check_alone() -> None:
    """Raise a `CKRMError` where KerasTuner would take this process for one of several."""
    for name in VARIABLES:
        if name in os.environ:
            raise CKRMError(
                f"environment variable {name}",
                expected="none: a search over several processes is not supported",
                received=repr(os.environ[name][:60]),
                hint=f"Unset it: env -u {name} ...",
            )

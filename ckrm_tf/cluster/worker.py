"""What trains in a process of its own, wherever Ray puts it."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ckrm_tf.design.design import Design
from ckrm_tf.store.record import Training
from ckrm_tf.versions import versions


class Worker:
    """An actor of Ray: trains one network at a time, for whoever asks.

    Args:
        environment: variables that are read when TensorFlow is imported, which is later.
        deterministic: the seed of a search that wants equal bits from equal seeds, or None.
    """

    def __init__(self, environment: Mapping[str, str], deterministic: int | None = None) -> None:
        os.environ.update(environment)
        self.deterministic = deterministic
        self._runner: tuple[str, Any] | None = None
        self._epoch = 0

    def ready(self) -> tuple[str, dict[str, str]]:
        """Import what training needs; the name of the machine, and the versions there."""
        from ckrm_tf.train.deterministic import prepare  # noqa: PLC0415 - after the environment

        prepare(self.deterministic is not None, self.deterministic or 0)
        return f"{platform.node()}/{os.getpid()}", versions()

    def epoch(self) -> int:
        """Epochs that the present training has behind it; asked while it runs."""
        return self._epoch

    def train(
        self, key: str, setup: Any, design: Design, seed: int, epochs: int
    ) -> tuple[Training, bytes | None]:
        """Train once: the record, and the bytes of the weights where they are kept.

        Args:
            key: of the setup: it is fetched once while it stays the same.
            setup: a list of one reference to a `ckrm_tf.tuning.setup.Setup`, and whether weights
                are kept.
            design, seed, epochs: as for `Runner.run`.
        """
        runner = self._runner_of(key, setup[0])
        self._epoch = 0
        with tempfile.TemporaryDirectory(prefix="ckrm-worker-") as folder:
            runner.weights_dir = Path(folder) if setup[1] else None
            training = runner.attempt(design, seed, epochs)
            path = runner.weights_path(design, seed, epochs)
            kept = path is not None and path.is_file()
            return training, path.read_bytes() if kept and training.weights else None

    def _runner_of(self, key: str, reference: Any) -> Any:
        if self._runner is None or self._runner[0] != key:
            import keras  # noqa: PLC0415 - after the environment
            import ray  # noqa: PLC0415 - an extra

            from ckrm_tf.store.journal import Journal  # noqa: PLC0415

            setup = ray.get(reference)

            def told(epoch: int, logs: Any) -> None:
                self._epoch = epoch + 1

            self._runner = (
                key,
                setup.runner(
                    # Nothing is recorded here: the record goes to whoever asked.
                    Journal(Path(os.devnull, "none"), setup.family),
                    callbacks=lambda design, seed: [
                        keras.callbacks.LambdaCallback(on_epoch_end=told)
                    ],
                ),
            )
        return self._runner[1]

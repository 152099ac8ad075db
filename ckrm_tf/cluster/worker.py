"""What trains in a process of its own, wherever Ray puts it."""

from __future__ import annotations

import functools
import os
import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ckrm_tf.cluster.cores import keep_to, without_spinning
from ckrm_tf.store.record import Training
from ckrm_tf.tuning.wanted import Wanted
from ckrm_tf.versions import versions


class Worker:
    """An actor of Ray: trains one network at a time, for whoever asks.

    Args:
        environment: variables that are read when TensorFlow is imported, which is later.
        deterministic: the seed of a search that wants equal bits from equal seeds, or None.
        cores: that it keeps to; none: wherever the system puts it.
        spins: whether its threads spin before they sleep.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        deterministic: int | None = None,
        cores: Sequence[int] = (),
        *,
        spins: bool = True,
    ) -> None:
        os.environ.update(environment)
        keep_to(cores)
        self.deterministic, self.spins = deterministic, spins
        self._runner: tuple[str, Any] | None = None
        self._epoch = 0
        self._began: float | None = None

    def ready(self) -> tuple[str, dict[str, str]]:
        """Import what training needs; the name of the machine, and the versions there."""
        from ckrm_tf.train.deterministic import prepare  # noqa: PLC0415 - after the environment

        prepare(self.deterministic is not None, self.deterministic or 0)
        if not self.spins:
            without_spinning()
        return f"{platform.node()}/{os.getpid()}", versions()

    def progress(self) -> tuple[int, float | None]:
        """How far the present training is; asked while it runs.

        Returns:
            The epochs that it has behind it, and the seconds since its first step began, None
            before that.
        """
        began = self._began
        return self._epoch, None if began is None else time.monotonic() - began

    def train(
        self,
        key: str,
        setup: Any,
        wanted: Wanted,
        start: tuple[int | None, Sequence[Any]] | None = None,
    ) -> tuple[Training, bytes | None]:
        """Train once: the record, and the bytes of the weights where they are kept.

        Args:
            key: of the setup: it is fetched once while it stays the same.
            setup: a list of one reference to a `ckrm_tf.tuning.setup.Setup`, and whether weights
                are kept.
            wanted: the training.
            start: for one that takes something over: the first seed of the search
                (`Heritage.first`), and a list of one reference to the bytes of the weights of the
                trained start; of none where the family has the start.
        """
        from ckrm_tf.tuning.attempt import attempt  # noqa: PLC0415 - after the environment

        runner = self._runner_of(key, setup[0])
        if start is not None:
            self._take_over(runner, wanted.seed, *start)
        try:
            with tempfile.TemporaryDirectory(prefix="ckrm-worker-") as folder:
                runner.weights_dir = Path(folder) if setup[1] else None
                training = attempt(runner, wanted)
                path = runner.weights_path(*wanted.key)
                kept = path is not None and path.is_file()
                return training, path.read_bytes() if kept and training.weights else None
        finally:
            self._epoch, self._began = 0, None

    @staticmethod
    def _take_over(runner: Any, seed: int, first: int | None, weights: Sequence[Any]) -> None:
        import ray  # noqa: PLC0415 - an extra

        runner.heritage.first = first
        for reference in weights:
            runner.heritage.receive(seed, functools.partial(ray.get, reference))

    def _runner_of(self, key: str, reference: Any) -> Any:
        if self._runner is None or self._runner[0] != key:
            import keras  # noqa: PLC0415 - after the environment
            import ray  # noqa: PLC0415 - an extra

            from ckrm_tf.store.journal import Journal  # noqa: PLC0415

            setup = ray.get(reference)

            def begun(logs: Any) -> None:
                self._began = time.monotonic()

            def told(epoch: int, logs: Any) -> None:
                self._epoch = epoch + 1

            self._runner = (
                key,
                setup.runner(
                    # Nothing is recorded here: the record goes to whoever asked.
                    Journal(Path(os.devnull, "none"), setup.family),
                    callbacks=lambda design, seed: [
                        keras.callbacks.LambdaCallback(on_train_begin=begun, on_epoch_end=told)
                    ],
                ),
            )
        return self._runner[1]

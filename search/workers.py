"""The workers of a command: `--workers`, `--cluster`, `--gpus-per-training`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

from ckrm_tf.errors import CKRMError
from ckrm_tf.tuning.runner import Runner
from search.console import Progress
from search.settings import Settings

if TYPE_CHECKING:
    from ckrm_tf.cluster.pool import WorkerPool


def check_workers(settings: Settings) -> None:
    """Refuse what no worker can do, before data are read.

    Raises:
        CKRMError: Ray is wanted and not installed; event files that other machines would write; a
            share of a GPU for workers that nobody asked for.
    """
    if not wanted(settings):
        if settings.gpus_per_training is not None:
            raise CKRMError(
                "--gpus-per-training",
                expected="--workers of at least 2, or --cluster, beside it",
                received=f"{settings.gpus_per_training:g} for one process",
                hint="One process uses the GPUs that TensorFlow sees.",
            )
        return
    from ckrm_tf.cluster.engine import check_ray  # noqa: PLC0415 - most commands need it not

    check_ray()
    if settings.cluster is not None and settings.tensorboard:
        raise CKRMError(
            "--tensorboard",
            expected="a search on this machine",
            received=f"--cluster {settings.cluster}",
            hint="The event files would lie on other machines; --workers writes them here.",
        )


@contextmanager
def hired(console: Console, settings: Settings) -> Iterator[WorkerPool | None]:
    """The workers that the settings ask for, ended in the end; None where one process does all."""
    if not wanted(settings):
        yield None
        return
    from ckrm_tf.cluster.crew import Crew  # noqa: PLC0415 - as above
    from ckrm_tf.cluster.engine import connected  # noqa: PLC0415
    from ckrm_tf.cluster.pool import WorkerPool  # noqa: PLC0415
    from ckrm_tf.cluster.share import cluster_share, local_share  # noqa: PLC0415

    workers, asked = settings.workers or 1, settings.gpus_per_training
    with connected(settings.cluster, workers) as ray:
        if settings.cluster is None:
            share = local_share(workers, ray.cluster_resources().get("GPU", 0), asked)
            where = f"{workers} on this machine"
        else:
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            share = cluster_share(nodes, asked)
            where = f"{settings.workers or 'as many as there is room for'} on {len(nodes)} node(s)"
        console.print(
            f"workers   {where}, each {share.threads} thread(s), {share.gpus:g} GPU",
            highlight=False,
        )
        fixed = settings.seed if settings.deterministic else None
        crew = Crew(ray, share, settings.workers, fixed)
        with WorkerPool(crew) as pool:
            yield pool
        if pool.begun_ahead:
            console.print(
                f"ahead     {pool.begun_ahead} trainings were begun on a guess by idle workers; "
                "what nobody asked for is in ahead.jsonl",
                highlight=False,
            )


def put_to_work(pool: WorkerPool | None, runner: Runner, progress: Progress) -> Runner:
    """Have the pool train for this runner and show what it does; the runner."""
    runner.pool = pool
    if pool is not None:
        pool.note = pool.crew.note = progress.note
        pool.show = progress.workers
    return runner


def wanted(settings: Settings) -> bool:
    """Whether trainings are handed to workers."""
    return settings.cluster is not None or (settings.workers or 1) > 1

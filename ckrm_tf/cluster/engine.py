"""Ray itself: started here for one command, or one that runs already."""

from __future__ import annotations

import importlib.util
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ckrm_tf.cluster import guard as guarding
from ckrm_tf.cluster.causes import cause
from ckrm_tf.errors import CKRMError

# Of a local Ray: nothing is told to anybody, nobody without the token gets in, workers run at the
# priority of the command, and a worker without a GPU of its own sees what the command saw.
LOCAL = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
TOKEN = "RAY_AUTH_TOKEN"
# Unix sockets below the folder have paths of at most 107 characters, most of which Ray takes.
LONGEST = 24
# Seconds for a cluster to take a connection.
ANSWER = 15.0
# Seconds for the guard to end what is left.
PATIENCE = 30.0


def check_ray() -> None:
    """Raise a `CKRMError` where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise CKRMError(
            "--workers and --cluster",
            expected="Ray",
            received="an environment without it",
            hint="Install the extra: pip install 'ckrm-tf[cluster]'.",
        )


def load_ray(local: bool = True) -> Any:
    """The module; the environment of a local Ray is set first, since importing reads it.

    Raises:
        CKRMError: it is not installed.
    """
    check_ray()
    if local and "ray" not in sys.modules:
        # Read again whenever Ray talks to itself, so they stay; what the user has set is kept.
        for name, value in {**LOCAL, TOKEN: secrets.token_hex(32)}.items():
            os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415 - an extra

    return ray


@contextmanager
def connected(cluster: str | None, workers: int = 1) -> Iterator[Any]:
    """Ray, ready for use; what was started here is ended in the end.

    Args:
        cluster: the address of a Ray that runs, as `ray.init` takes it; None starts one here.
        workers: of a local one, for how many it has room.

    Raises:
        CKRMError: Ray is not installed, does not start, or is not at the address.

    Example:
        >>> with connected(None, workers=2) as ray:  # doctest: +SKIP
        ...     ray.cluster_resources()["CPU"]
        2.0
    """
    ray = load_ray(local=cluster is None)
    if ray.is_initialized():
        # Whoever started it ends it.
        yield ray
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _started(ray, workers, quiet) if cluster is None else _joined(ray, cluster, quiet):
        yield ray


@contextmanager
def _joined(ray: Any, cluster: str, options: Mapping[str, Any]) -> Iterator[None]:
    try:
        _knock(cluster)
        _init(ray, address=cluster, **options)
    except Exception as error:  # whatever Ray says of an address: one line
        raise CKRMError(
            f"--cluster {cluster}",
            expected="the address of a Ray cluster that runs (auto, HOST:6379, ray://HOST:10001)",
            received=cause(error),
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _started(ray: Any, workers: int, options: Mapping[str, Any]) -> Iterator[None]:
    base = tempfile.gettempdir()
    folder = tempfile.mkdtemp(prefix="ckrm-", dir=base if len(base) <= LONGEST else "/tmp")
    mark = secrets.token_hex(16)
    guard = subprocess.Popen(
        [sys.executable, "-I", guarding.__file__, mark, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        try:
            # What a worker that is killed leaves goes with the folder.
            with _environment({guarding.MARK: mark, "TMPDIR": folder}):
                _init(
                    ray,
                    address="local",
                    num_cpus=workers,
                    include_dashboard=False,
                    _temp_dir=folder,
                    **options,
                )
        except Exception as error:  # whatever keeps Ray from starting: one line
            raise CKRMError(
                "--workers",
                expected="Ray to start",
                received=cause(error),
            ) from error
        yield
    finally:
        try:
            ray.shutdown()
        finally:
            if guard.stdin is not None:
                guard.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                guard.wait(PATIENCE)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Within it these variables are set; other processes that are started later lack them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _knock(cluster: str) -> None:
    """Raise an `OSError` where nobody listens at an address: Ray would try for minutes."""
    host, colon, port = cluster.removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), ANSWER).close()


def _init(ray: Any, **options: Any) -> None:
    """`ray.init`, which replaces signal handlers: they are put back."""
    # Ray prints what it knows of a dead worker, some dozen lines, over those of the search;
    # `lost_workers.jsonl` has the cause.
    ray._private.worker._worker_logs_enabled = False
    if threading.current_thread() is not threading.main_thread():
        ray.init(**options)
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(**options)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What a training takes of a machine, and how many there is room for."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import pytest

from ckrm_tf import CKRMError
from ckrm_tf.cluster.causes import LONGEST, cause
from ckrm_tf.cluster.crew import MOST_DEAD, Failures
from ckrm_tf.cluster.share import LEAST, UNITS, Share, check_gpus, cluster_share, local_share
from search.settings import load_settings
from search.workers import check_workers


@pytest.mark.parametrize(
    ("share", "resources", "room"),
    [
        (Share(), {"CPU": 8}, 8),
        (Share(cpus=3), {"CPU": 8}, 2),
        (Share(gpus=1), {"CPU": 8}, 0),
        (Share(gpus=1), {"CPU": 8, "GPU": 4}, 4),
        (Share(gpus=0.5), {"CPU": 8, "GPU": 2}, 4),
        # Two shares of .6 do not lie on one GPU.
        (Share(gpus=0.6), {"CPU": 8, "GPU": 2}, 2),
        (Share(gpus=2), {"CPU": 8, "GPU": 5}, 2),
        (Share(gpus=0.1), {"CPU": 3, "GPU": 1}, 3),
        # Neither .1 nor .2 is a whole part of 1 in floats, and 1 // .1 is 9.
        (Share(gpus=0.1), {"CPU": 99, "GPU": 2}, 20),
        (Share(gpus=0.2), {"CPU": 99, "GPU": 1}, 5),
        (Share(), {}, 0),
    ],
)
def test_the_room_on_a_machine(share, resources, room):
    assert share.fit(resources) == room


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 6, 7, 8, 49])
@pytest.mark.parametrize("gpus", [0, 1, 2, 8])
def test_the_workers_of_a_machine_fit_on_its_gpus(workers, gpus):
    share = local_share(workers, gpus, None)
    assert 0 <= share.gpus <= 1
    # Ray rounds a share to whole units, and gives none that lies on two GPUs.
    units = math.floor(share.gpus * UNITS + 0.5)
    assert not units or UNITS // units * gpus >= workers
    # As large as that allows.
    assert share.gpus == pytest.approx(gpus and 1 / math.ceil(workers / gpus), abs=1 / UNITS)
    assert share.threads >= 1
    assert local_share(workers, gpus, 0).gpus == 0


def test_more_gpus_than_there_are_and_parts_of_several_are_refused():
    with pytest.raises(CKRMError, match="--gpus-per-training: expected at most 1, received 2"):
        local_share(1, 1, 2)
    with pytest.raises(CKRMError, match=r"at most 0\.25 for 4 workers on 1 GPU, received 0"):
        local_share(4, 1, 0.5)
    assert local_share(4, 2, 0.5).gpus == 0.5
    for asked in (0, 0.5, 1, 2.0, None):
        check_gpus(asked)
    with pytest.raises(CKRMError, match=r"a part of one GPU, or whole ones, received 1\.5"):
        check_gpus(1.5)


@pytest.mark.parametrize("flags", [{}, {"workers": 1}])
def test_a_share_of_a_gpu_needs_workers(flags):
    settings = load_settings(None, {**flags, "gpus_per_training": 0.5})
    with pytest.raises(CKRMError, match=r"--gpus-per-training: .*received 0\.5 for one process"):
        check_workers(settings)
    check_workers(load_settings(None, flags))


def test_a_cluster_with_gpus_gives_one_to_each_training():
    assert cluster_share([{"CPU": 4}, {"CPU": 4, "GPU": 2}], None).gpus == 1
    assert cluster_share([{"CPU": 4}], None).gpus == 0
    assert cluster_share([{"CPU": 4, "GPU": 2}], 0.25).gpus == 0.25


def test_threads_are_those_of_the_share_and_never_one_within_an_operation(monkeypatch):
    """TensorFlow with oneDNN and one such thread dies of small networks."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    monkeypatch.setenv("SECRET", "1")
    few, many = Share(threads=1).environment(), Share(threads=8).environment()
    assert few["TF_NUM_INTRAOP_THREADS"] == str(LEAST)
    assert few["TF_NUM_INTEROP_THREADS"] == "1"
    assert many["TF_NUM_INTRAOP_THREADS"] == many["TF_NUM_INTEROP_THREADS"] == "8"
    assert few["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert "SECRET" not in few


def test_a_cause_is_one_short_line():
    class OuterError(Exception):
        cause = ValueError("a\n  b")

    assert cause(OuterError("outer")) == "ValueError: a b"
    assert cause(KeyError("x" * 10_000)).startswith("KeyError")
    assert len(cause(KeyError("x" * 10_000))) == LONGEST
    assert math.isfinite(LONGEST)


@pytest.mark.parametrize("size", [1, 2, 8])
def test_workers_that_die_together_are_one_failure(size):
    """A node that is lost while all workers start on it ends no search, five in a row do."""
    found, newest = Failures(), 0
    for round_ in range(1, MOST_DEAD + 1):
        started = range(newest + 1, newest + size + 1)
        newest += size
        for number in started:
            found.died(number, newest)
        assert found.count == round_
    # Each dies before the next is made.
    alone = Failures()
    for number in range(1, size + 1):
        alone.died(number, number)
    assert alone.count == size


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8, 11])
@pytest.mark.parametrize("own", [(0,), (0, 1), (2, 3, 5, 7, 11), tuple(range(8))])
def test_workers_divide_the_cores_among_them(workers, own):
    parts = [Share(own=own).cores(place, workers) for place in range(workers)]
    assert all(parts)
    assert {core for part in parts for core in part} == set(own)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    # None is given twice, unless there are fewer than workers.
    assert sum(sizes) == max(len(own), workers)
    assert Share().cores(0, workers) == ()


def test_workers_with_more_threads_than_cores_are_crowded():
    assert [Share(threads=n).crowded for n in range(1, LEAST + 2)] == [True] * (LEAST - 1) + [
        False
    ] * 2


@pytest.mark.parametrize("told", [True, False])
def test_threads_of_tensorflow_do_not_spin_where_they_are_told_so(told):
    """In a process of its own: TensorFlow reads it once."""
    code = f"""
from ckrm_tf.cluster.cores import without_spinning
if {told}:
    without_spinning()
import tensorflow as tf
from tensorflow.python.eager import context
tf.config.threading.set_intra_op_parallelism_threads(2)
tf.linalg.matmul(tf.ones((64, 64)), tf.ones((64, 64)))
config = context.context().config
print(config.experimental.disable_thread_spinning, config.intra_op_parallelism_threads)
"""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    # What public calls set stays.
    assert done.stdout.split() == [str(told), "2"]

"""Trainings on a real Ray of two nodes on this machine; workers and nodes that die for real."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from given_models import given_family
from processes import gone, parent

from ckrm_tf import ResNetFamily, Stage, Widths
from ckrm_tf.data.folds import folds, search_folds
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED
from ckrm_tf.store.weights import as_recorded
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.way import WEIGHT, Way
from ckrm_tf.tuning.attempt import failure
from ckrm_tf.tuning.oracle import CKRMOracle
from ckrm_tf.tuning.registry import strategy
from ckrm_tf.tuning.rule import Rule
from ckrm_tf.tuning.setup import Setup
from ckrm_tf.tuning.tuner import CKRMTuner
from ckrm_tf.tuning.wanted import Wanted
from search.final_folds import fold_comparison
from search.side_by_side import side_by_side

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="the extra `cluster` is not installed"),
    # What Ray's own modules do while they are imported and started.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

WIDTHS = Widths(8, (Stage(1, 8, 8),))
RECIPE = Recipe(epochs=1, batch_size=16)
BOTH = Way(distill=WEIGHT, slice=True, share=0.25)
# Bytes; the least that Ray takes is 75 MiB.
STORE = 80_000_000


class Machines:
    """A Ray of a head and one more node, one core each."""

    def __init__(self):
        from ckrm_tf.cluster.engine import load_ray  # noqa: PLC0415 - an extra

        self.ray = load_ray()
        from ray.cluster_utils import Cluster  # noqa: PLC0415

        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "object_store_memory": STORE,
                "include_dashboard": False,
            },
        )
        self.folder = self.cluster.head_node.get_session_dir_path()
        self.nodes = [self.add()]
        self.ray.init(address=self.cluster.address, log_to_driver=False)

    def add(self):
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE)

    def lose_a_node(self, slot):
        """The one that a worker is on, unless that is the head; another comes."""
        for node in self.nodes:
            raylet = node.all_processes["raylet"][0].process.pid
            if parent(process(slot)) == raylet:
                self.nodes.remove(node)
                self.cluster.remove_node(node, allow_graceful=False)
                self.nodes.append(self.add())
                return raylet
        return None

    def end(self):
        self.ray.shutdown()
        self.cluster.shutdown()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def machines():
    found = Machines()
    yield found
    found.end()


@pytest.fixture(scope="module")
def pool(machines):
    from ckrm_tf.cluster.crew import Crew  # noqa: PLC0415
    from ckrm_tf.cluster.pool import WorkerPool  # noqa: PLC0415
    from ckrm_tf.cluster.share import Share  # noqa: PLC0415

    notes, share = [], Share(own=tuple(sorted(os.sched_getaffinity(0))))
    with WorkerPool(Crew(machines.ray, share, 2, note=notes.append), note=notes.append) as found:
        found.notes = notes
        yield found


@pytest.fixture
def setup(tiny_data):
    family = ResNetFamily(WIDTHS, tiny_data.input_shape, tiny_data.classes)
    return Setup(tiny_data, RECIPE, family)


def runner_in(folder, setup, pool, said=None):
    runner = setup.runner(
        Journal(folder / "trials.jsonl", setup.family),
        folder / "weights",
        on_training=None if said is None else lambda t, new: said.append((t, new)),
    )
    runner.pool = pool
    return runner


def process(slot):
    return int(slot.where.rpartition("/")[2])


class Deaths:
    """Called now and then with the workers: the next thing happens to one that is at work.

    What cannot happen to that one waits for another.
    """

    def __init__(self, *plan, seed=1, every=0.0):
        self.plan, self.done, self.rng = list(plan), [], random.Random(seed)
        self.every, self.last = every, time.monotonic()

    def __call__(self, slots):
        busy = [slot for slot in slots if slot.job is not None]
        if self.plan and busy and time.monotonic() - self.last >= self.every:
            done = self.plan[0](self.rng.choice(busy))
            if done is not None:
                self.last = time.monotonic()
                self.done.append(done)
                del self.plan[0]


def kill(slot):
    os.kill(process(slot), signal.SIGKILL)
    return process(slot)


def check(folder, runner, wanted):
    """Every training is there once, whole, with the weights that it is recorded with."""
    lines = (folder / "trials.jsonl").read_bytes().splitlines()
    keys = [(t.design, t.seed) for t in Journal(folder / "trials.jsonl", runner.family).read()]
    assert keys == wanted
    assert len(lines) == len(wanted)
    for training in runner.journal.current():
        assert training.status == COMPLETED, training.reason
        assert as_recorded(runner.weights_path(training.design, training.seed), training)


def test_workers_and_a_node_that_die_cost_nothing_but_time(machines, pool, setup, tmp_path):
    """Deaths at work, each of which is one training that is done again."""
    said = []
    runner = runner_in(tmp_path, setup, pool, said)
    deaths = Deaths(kill, kill, machines.lose_a_node, kill)
    pool.show = deaths
    start = setup.family.start
    narrow = start.replace({"stem/filters": 4})
    wanted = [(design, seed) for seed in (1, 2, 3, 4) for design in (start, narrow)]
    finished = pool.finished
    runner.expect(wanted)
    trainings = [runner.run(*one) for one in wanted]
    pool.show = None
    assert not deaths.plan
    check(tmp_path, runner, wanted)
    # Each was finished once, whatever died.
    assert pool.finished - finished == len(wanted)
    assert [new for _, new in said] == [True] * len(wanted)
    lost = [json.loads(x) for x in (tmp_path / "lost_workers.jsonl").read_text().splitlines()]
    # One may have ended its training at the very moment.
    assert len(deaths.done) - 1 <= len(lost) == pool.lost <= len(deaths.done)
    assert all("died" in one["cause"] or "Error" in one["cause"] for one in lost)
    assert sum("is trained again" in note for note in pool.notes) == len(lost)
    # Two seeds of one network differ, so equal figures below mean something.
    assert len({t.weights for t in trainings}) == len(wanted)
    # A runner without a pool finds them all.
    heard = []
    alone = runner_in(tmp_path, setup, None, heard)
    assert [alone.run(*one) for one in wanted] == trainings
    assert not any(new for _, new in heard)


@pytest.mark.long
def test_a_hundred_deaths(machines, pool, setup, tmp_path, request):
    """Of workers and nodes, at random, one in fifteen seconds at most: an hour or more."""
    if "long" not in request.config.option.markexpr:
        pytest.skip("takes an hour: pytest -m long")
    rng = random.Random(7)
    runner = runner_in(tmp_path, setup, pool)
    lost, finished = pool.lost, pool.finished
    plan = [rng.choice([kill, kill, kill, machines.lose_a_node]) for _ in range(100)]
    pool.show, pool.most_lost = Deaths(*plan, every=15.0), 1000
    wanted = []
    while pool.show.plan:
        batch = [(setup.family.start, len(wanted) + n) for n in range(1, 9)]
        runner.expect(batch)
        for one in batch:
            runner.run(*one)
        wanted += batch
    pool.show, pool.most_lost = None, 5
    check(tmp_path, runner, wanted)
    assert pool.finished - finished == len(wanted)
    assert 95 <= pool.lost - lost <= 100


def test_what_comes_is_what_this_process_trains(pool, setup, tmp_path):
    there = runner_in(tmp_path / "there", setup, pool)
    here = runner_in(tmp_path / "here", setup, None)
    one, other = (runner.run(setup.family.start, 1) for runner in (there, here))
    assert (one.status, one.steps, one.params) == (other.status, other.steps, other.params)
    # Threads differ, and sums of floats with them.
    assert one.val_auc == pytest.approx(other.val_auc, abs=0.02)
    assert one.loss == pytest.approx(other.loss, rel=1e-3)
    assert one.signals.keys() == other.signals.keys()
    seed2 = there.run(setup.family.start, 2)
    assert abs(seed2.loss - one.loss) > 1e-3 * one.loss


def narrower(family):
    return family.start.replace({"stage1/mid": 4})


def test_slices_of_the_start_are_trained_there_as_here(pool, setup, tmp_path):
    """The journal is in the order of one process, whatever was begun first."""
    setup = replace(setup, folds=search_folds(setup.data, 2, 1), recipe=replace(RECIPE, epochs=4))
    design = narrower(setup.family)
    runners = [runner_in(tmp_path / name, setup, who) for name, who in (("a", pool), ("b", None))]
    before = len(pool._starts)
    for runner in runners:
        runner.heritage.first, runner.note = 1, lambda text: None
        # Both folds are begun at once, and the starts before.
        runner.expect([(design, seed) for seed in (3, 2, 1)], BOTH)
        for seed in (1, 2, 3):
            runner.run(design, seed, way=BOTH)
    there, here = (runner.journal.read() for runner in runners)
    assert [t.key for t in there] == [t.key for t in here]
    assert [(t.how, t.epochs, t.fold) for t in there] == [
        *[("plain", 4, 0), ("distilled slice", 1, 0), ("plain", 4, 1), ("distilled slice", 1, 1)],
        ("distilled slice", 1, 0),
    ]
    for one, other in zip(there, here, strict=True):
        assert one.status == COMPLETED, one.reason
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert as_recorded(runners[0].weights_of(one), one)
    # The start of the other fold hands on something else.
    assert abs(there[3].loss - there[1].loss) > 1e-3 * there[1].loss
    # The weights of each start were sent once.
    assert len(pool._starts) - before == 2


def test_without_its_start_a_training_fails_there_as_here(pool, setup, tmp_path):
    found = []
    for name, who in (("a", pool), ("b", None)):
        runner = runner_in(tmp_path / name, setup, who)
        failed = failure(runner, runner.wanted(setup.family.start, 1), ValueError("no"))
        runner.journal.append(failed)
        found.append(runner.run(narrower(setup.family), 1, way=Way(distill=WEIGHT)))
        assert len(runner.journal.read()) == 2
    plain = [replace(t, finished="", setup_seconds=0, cpu_seconds=0) for t in found]
    assert plain[0] == plain[1]
    assert "the starting network, seed 1" in found[0].reason
    assert found[0].how == "distilled"


def test_taught_networks_are_judged_by_folds_as_in_one_process(pool, setup, tmp_path):
    """The trainings of `search.final --distill`, without the command around them."""
    start, candidate = setup.family.start, narrower(setup.family)
    parts = list(folds(setup.data, 2, 1))

    def judged(name, who):
        runners = []
        for number, part in enumerate(parts):
            place = tmp_path / name / str(number)
            runners.append(runner_in(place, replace(setup, data=part), who))
            runners[-1].way, runners[-1].note = Way(distill=WEIGHT), lambda text: None
        report = fold_comparison(runners, start, candidate, (1,), 0.2)
        return report, [[t.key for t in runner.journal.read()] for runner in runners]

    (there, keys), (here, expected) = judged("a", pool), judged("b", None)
    assert keys == expected
    assert [[how for *_, how in one] for one in keys] == [["plain", "distilled"]] * 2
    assert (there["folds"], there["images"]) == (here["folds"], here["images"])
    for arm in ("start", "candidate"):
        value = here[arm]["macro_auc"]["value"]
        assert there[arm]["macro_auc"]["value"] == pytest.approx(value, abs=0.02)


def test_slices_of_a_given_model_are_trained_there_as_here(pool, setup, tmp_path):
    """Its file, and that of its own layers, are gone by then."""
    family = given_family(tmp_path, setup.data)
    setup = Setup(setup.data, RECIPE, family)
    design = family.start.replace({family.axes[0].name: 3})
    there, here = (
        runner_in(tmp_path / name, setup, who) for name, who in (("a", pool), ("b", None))
    )
    one, other = (runner.run(design, 1, way=Way(distill=WEIGHT)) for runner in (there, here))
    assert one.status == COMPLETED, one.reason
    assert (one.how, one.params, one.steps) == ("distilled", other.params, other.steps)
    assert one.loss == pytest.approx(other.loss, rel=1e-3)
    assert as_recorded(there.weights_of(one), one)
    # The start is judged here, and sent nowhere.
    finished = pool.finished
    assert there.run(family.start, 1).steps == 0
    assert pool.finished == finished


def test_trainings_that_nobody_asked_for_wait_apart(pool, setup, tmp_path):
    said = []
    runner = runner_in(tmp_path, setup, pool, said)
    start = setup.family.start
    while len(pool.crew.idle()) < 2:
        runner.expect(())
        time.sleep(0.1)
    runner.hints = iter([Wanted(start, seed, 1) for seed in (1, 2, 3)])
    runner.run(start, 1)
    # The second worker has begun seed 2 or 3 meanwhile; what is asked for is in the journal alone.
    assert [t.seed for t in runner.journal.current()] == [1]
    runner.run(start, 3)
    runner.run(start, 2)
    assert [t.seed for t in runner.journal.read()] == [1, 3, 2]
    assert [new for _, new in said] == [True] * 3
    ahead = [json.loads(x)["seed"] for x in (tmp_path / "ahead.jsonl").read_text().splitlines()]
    assert ahead
    assert 1 not in ahead
    check(tmp_path, runner, [(start, seed) for seed in (1, 3, 2)])


def test_a_worker_keeps_to_its_cores(pool, setup, tmp_path):
    runner_in(tmp_path, setup, pool).run(setup.family.start, 1)
    slots, own = pool.crew.slots, os.sched_getaffinity(0)
    assert sorted(slot.place for slot in slots) == [0, 1]
    for slot in [slot for slot in slots if slot.starting is None]:
        mine = set(pool.crew.share.cores(slot.place, 2))
        assert mine < own or len(own) == 1
        # All threads: those of TensorFlow came after the worker was told.
        for thread in os.listdir(f"/proc/{process(slot)}/task"):
            assert os.sched_getaffinity(int(thread)) == mine


def test_a_training_that_hangs_is_ended_and_recorded(pool, setup, tmp_path):
    """A process that is stopped answers nothing, not even its own clock."""
    long = replace(setup, recipe=replace(RECIPE, epochs=60))
    runner = runner_in(tmp_path, replace(long, limit=20.0), pool)
    stopped = []

    def stop(slots):
        for slot in slots:
            # Its clock runs from where the worker says that it began.
            if slot.began is not None and not stopped:
                os.kill(process(slot), signal.SIGSTOP)
                stopped.append(process(slot))

    pool.show, pool.grace = stop, 1.0
    training = runner.run(setup.family.start, 1)
    pool.show, pool.grace = None, 60.0
    assert training.status == FAILED
    assert training.limit == 20.0
    assert "s without an answer" in training.reason
    ends = time.monotonic() + 10
    while not gone(stopped[0]):
        assert time.monotonic() < ends
        time.sleep(0.05)
    # With more time it is trained: the next start tries again.
    more = runner_in(tmp_path, replace(long, limit=600.0), pool)
    with pytest.warns(UserWarning, match="it had 20 s"):
        assert more.run(setup.family.start, 1).status == COMPLETED


@pytest.mark.parametrize("patience", [600.0, 0.0])
def test_what_comes_before_the_first_step_does_not_count_as_training(
    pool, setup, tmp_path, patience
):
    """A minute of it by the clock of the pool; with no patience for that, the training is ended."""
    # What is to be ended must not come back meanwhile.
    recipe = RECIPE if patience else replace(RECIPE, epochs=200)
    runner = runner_in(tmp_path, replace(setup, recipe=recipe, limit=30.0), pool)
    # Long enough after the last look that the pool looks at once, before the first step.
    time.sleep(1.1)
    late = []

    def a_minute_ago(slots):
        for slot in slots:
            if slot.job is not None and slot.began is None and slot not in late:
                slot.since -= 61.0
                late.append(slot)

    pool.show, pool.grace, pool.patience = a_minute_ago, 30.0, patience
    training = runner.run(setup.family.start, 1)
    pool.show, pool.grace, pool.patience = None, 60.0, 600.0
    assert len(late) == 1
    assert training.status == (COMPLETED if patience else FAILED), training.reason
    assert patience or "s before it began, without an answer" in training.reason


def test_data_larger_than_the_object_store(pool, setup, tmp_path):
    region = np.zeros(STORE + 1, bool)
    data = replace(setup.data, train=replace(setup.data.train, region=region))
    runner = runner_in(tmp_path, replace(setup, data=data), pool)
    training = runner.run(setup.family.start, 1)
    assert training.status == COMPLETED, training.reason


def test_a_training_that_kills_every_worker_ends_as_a_failure_that_passes(pool, setup, tmp_path):
    runner = runner_in(tmp_path, setup, pool)
    pool.show, pool.most_lost = Deaths(kill), 1
    training = runner.run(setup.family.start, 1)
    pool.show, pool.most_lost = None, 5
    assert training.status == FAILED
    assert training.retryable == "workers that died"
    assert "1 lost" in training.reason
    again = runner_in(tmp_path, setup, pool)
    with pytest.warns(UserWarning, match="workers that died"):
        assert again.run(setup.family.start, 1).status == COMPLETED


def test_altered_weights_are_not_kept():
    from ckrm_tf.cluster.pool import _unsound  # noqa: PLC0415
    from ckrm_tf.store.record import Training  # noqa: PLC0415

    weights = b"weights"
    digest = hashlib.sha256(weights).hexdigest()
    family = ResNetFamily(WIDTHS, (16, 16, 1), 3)
    training = Training(family.start, 1, 1, COMPLETED, 1, 1, val_auc=0.5, weights=digest)
    assert _unsound(training, weights) is None
    assert "not those that were sent" in _unsound(training, b"weightz")


def test_searches_side_by_side_find_what_they_find_alone(pool, setup, tmp_path):
    """Two searches share a pool and a journal; each hears of its own trainings, in order."""
    steps = {"half": 0.5, "less": 0.7}
    shared = runner_in(tmp_path, setup, pool)

    def search(name, runner):
        said = []
        runner.on_training = lambda training, new: said.append(training)
        rule = Rule(margin=1.0, depth=False, floor=2, repeats=1, bold=steps[name])
        oracle = CKRMOracle(setup.family, rule, strategy("signals", 1), max_trials=3, seed=1)
        CKRMTuner(oracle, runner, seeds=(1,), directory=tmp_path / f"kt-{name}", floor=2).search()
        return said

    found = side_by_side(pool, [(n, lambda n=n: search(n, copy.copy(shared))) for n in steps])
    for name in steps:
        # What is in the journal is looked up, so alone it can only propose.
        alone = search(name, runner_in(tmp_path, setup, None))
        assert [t.key for t in found[name]] == [t.key for t in alone]
        assert len(alone) == 3
        assert all(a.params > b.params for a, b in pairwise(alone))
    keys = [t.key for t in shared.journal.read()]
    # The start is trained once for both.
    assert len(keys) == len(set(keys)) < 6
    assert [t.key for t in found["half"]] != [t.key for t in found["less"]]


def test_an_error_in_one_search_ends_all(pool, setup, tmp_path):
    runner = runner_in(tmp_path, setup, pool)

    def fails():
        raise ValueError("no")

    def trains():
        return [runner.run(setup.family.start, seed) for seed in range(1, 1000)]

    try:
        with pytest.raises(ValueError, match="no"):
            side_by_side(pool, [("trains", trains), ("fails", fails)])
        assert pool.closed
    finally:
        pool.closed = False
    assert len(runner.journal) < 5

"""`--reuse`: an equal training of an earlier run is taken over, any other is not."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from dataclasses import replace

import pytest
from rich.console import Console

from ckrm_tf.cluster.jobs import Jobs
from ckrm_tf.errors import CKRMError
from ckrm_tf.files import checksum
from ckrm_tf.stats import macro_auc
from ckrm_tf.store.folder import open_folder
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.train.trainer import predict
from ckrm_tf.train.way import PLAIN_NAME
from ckrm_tf.tuning.wanted import Wanted
from search.console import Progress
from search.session import data_fingerprint, held_out, make_runner
from search.settings import load_settings

FLAGS = {
    "filters": 8, "growth": 1.0, "blocks": (1, 1), "epochs": 1, "batch_size": 16, "floor": 2,
    "image_size": 16, "strategy": "signals", "confirm": 0, "margin": 0.99,
}  # fmt: skip


def settings_of(**changes):
    return load_settings(None, FLAGS | changes)


def family_of(settings, data):
    return settings.network(data.input_shape, data.classes)


def run_folder(place, settings, data, parts=None):
    """The folder of a run, as `search.run` begins it."""
    used, _ = held_out(settings, data)
    identity = settings.fingerprint() | {"pixels": data_fingerprint(data)}
    identity["folds"] = settings.fold_count(used)
    return open_folder(str(place), identity | (parts or {}), settings.free)


def put(place, settings, data, seed=1, **changes):
    """A training that the folder has, with weights of its own: never loaded, so any bytes do."""
    family = family_of(settings, data)
    runner = make_runner(settings, data, place)
    path = runner.weights_path(family.start, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights of seed %d in %s" % (seed, str(place).encode()))
    training = Training(
        family.start, seed, settings.epochs, COMPLETED, family.cost(family.start).params, 5000,
        val_auc=0.75, loss=0.5, weights=checksum(path), finished="2026-01-02T03:04:05+00:00",
        fold=runner.fold_of(seed),
    )  # fmt: skip
    Journal(place / "trials.jsonl", family).append(replace(training, **changes))
    return path


@pytest.fixture
def before(tmp_path, tiny_data):
    place = run_folder(tmp_path / "before", settings_of(), tiny_data)
    put(place, settings_of(), tiny_data)
    return place


def taken(place, data, said=None, /, **changes):
    """What a new run makes of the start with seed 1, without training it."""
    settings = settings_of(reuse=(str(place),), **changes)
    folder = run_folder(place.parent / "now", settings, data)
    with redirect_stdout(io.StringIO()) as out:
        runner = make_runner(settings, data, folder)
    if said is not None:
        said.append(out.getvalue())
    return runner, runner.known(runner.family.start, 1, settings.epochs, PLAIN_NAME)


def test_record_and_weights_become_the_runs_own(before, tiny_data):
    said = []
    runner, found = taken(before, tiny_data, said)
    assert said == [f"reuse     {before}: 1 training(s) fit, and are not done again\n"]
    assert found.val_auc == 0.75
    assert found.taken_from == str(before)
    path = runner.weights_path(found.design, 1)
    assert path.read_bytes() == (before / "weights" / path.name).read_bytes()
    # The next start has it in its own journal, and needs the other folder no more.
    again = make_runner(settings_of(), tiny_data, path.parent.parent)
    assert again.known(found.design, 1, 1, PLAIN_NAME) == found
    # What is not there is to be trained.
    assert runner.known(found.design, 2, 1, PLAIN_NAME) is None


def test_workers_are_not_given_what_an_earlier_run_has(before, tiny_data):
    """Neither as what will be asked for nor as a guess; other seeds are."""
    settings = settings_of(reuse=(str(before),))
    runner = make_runner(
        settings, tiny_data, run_folder(before.parent / "now", settings, tiny_data)
    )
    start, jobs = runner.family.start, Jobs()
    wanted = [Wanted(start, seed, 1) for seed in (1, 2)]
    jobs.expect(runner, wanted)
    assert [job.wanted.seed for job in jobs.queue] == [2]
    guessing = Jobs()
    runner.hints = iter(wanted)
    guessing.waiting.append(runner)
    assert guessing.next().wanted.seed == 2
    assert guessing.next() is None


# What steers a search changes no training: the start of the search may even be another.
@pytest.mark.parametrize(
    "changes",
    [
        {"margin": 0.01, "trials": 3, "confirm": 2, "seeds": 2, "penalty": 0.5, "level": False},
        {"strategy": "uniform"},
        # Nobody is dealt into parts here, so the first seed of a search says nothing.
        {"seed": 5},
    ],
)
def test_what_only_steers_may_differ(before, tiny_data, changes):
    _, found = taken(before, tiny_data, **changes)
    assert found is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"learning_rate": 0.5}, "it has another learning_rate 0.001, not 0.5"),
        ({"epochs": 2}, "it has another epochs 1, not 2"),
        ({"l1": 0.0, "shift": 0, "batch_size": 8}, "it has another batch_size 16, not 8; l1"),
        ({"conv": "slim"}, "it has another conv plain, not slim"),
        ({"family": "vgg"}, "it has another family resnet, not vgg"),
        ({"blocks": (1, 1, 1)}, "it has another blocks 2, not 3"),
        ({"criterion": "ckrm"}, "it has another criterion response, not ckrm"),
        ({"folds": 2}, "it has another folds 0, not 2"),
        # Images that score slices are kept from training.
        ({"strategy": "ckrm"}, "it has another score_share 0.0, not 0.2"),
        ({"deterministic": True}, "it has another deterministic False, not True"),
        # The same pixels, divided by another number.
        ({"data": "x.npz", "scale": 100.0}, "it has another scale None, not 100.0"),
    ],
)
def test_another_training_is_not_taken_and_the_line_says_why(before, tiny_data, changes, words):
    said = []
    runner, found = taken(before, tiny_data, said, **changes)
    assert found is None
    assert len(runner.earlier) == 0
    assert said[0].startswith(f"reuse     nothing of {before} can be taken over: {words}")


def test_gaze_maps_are_none_of_the_pixels(tmp_path, tiny_data):
    changes = {"ggcam": True, "data": "egd-cxr:x"}
    place = run_folder(tmp_path / "before", settings_of(**changes), tiny_data)
    put(place, settings_of(**changes), tiny_data)
    said = []
    assert taken(place, tiny_data, said, **changes, sigma=9.0)[1] is None
    assert "it has another sigma None, not 9.0" in said[0]
    (tmp_path / "now").rename(tmp_path / "first")
    assert taken(place, tiny_data, **changes)[1] is not None


def test_other_pixels_are_other_data(before, tiny_data):
    images = tiny_data.test.images.copy()
    images[0, 0, 0, 0] ^= 1
    said = []
    _, found = taken(before, replace(tiny_data, test=replace(tiny_data.test, images=images)), said)
    assert found is None
    assert "it has other data" in said[0]


@pytest.mark.parametrize("name", ["folds", "score_share"])
def test_who_is_dealt_into_parts_is_dealt_by_the_seed(tmp_path, tiny_data, name):
    changes = {"folds": 3} if name == "folds" else {"strategy": "ckrm"}
    place = run_folder(tmp_path / "before", settings_of(**changes), tiny_data)
    put(place, settings_of(**changes), tiny_data)
    assert taken(place, tiny_data, **changes)[1] is not None
    said = []
    place = place.rename(tmp_path / "moved")
    (tmp_path / "now").rename(tmp_path / "first")
    assert taken(place, tiny_data, said, **changes | {"seed": 2})[1] is None
    assert "it has another seed 1, not 2" in said[0]


def test_a_training_of_another_fold_is_none_of_this_one(tmp_path, tiny_data):
    settings = settings_of(folds=3)
    place = run_folder(tmp_path / "before", settings, tiny_data)
    put(place, settings, tiny_data, seed=1)
    put(place, settings, tiny_data, seed=2, fold=0)
    runner, found = taken(place, tiny_data, folds=3)
    assert found.fold == 0
    assert runner.known(found.design, 2, 1, PLAIN_NAME) is None


def test_folds_of_a_final_run_are_taken_by_folds_of_another(tmp_path, tiny_data):
    """As `search.final` makes them: a folder a fold, bound to the images of the fold alone."""
    place = run_folder(tmp_path / "before", settings_of(strategy="ckrm"), tiny_data)
    whole = replace(settings_of(strategy="ckrm"), score_share=0.0, folds=0)
    parts = [replace(tiny_data, val=tiny_data.test), replace(tiny_data, test=tiny_data.val)]
    for number, part in enumerate(parts, start=1):
        fold = open_folder(
            str(place / "folds2" / f"fold{number}"), {"pixels": data_fingerprint(part)}
        )
        put(fold, whole, part)
    for number, part in enumerate(parts, start=1):
        now = open_folder(
            str(tmp_path / "now" / f"fold{number}"), {"pixels": data_fingerprint(part)}
        )
        with redirect_stdout(io.StringIO()):
            runner = make_runner(replace(whole, reuse=(str(place),)), part, now)
        found = runner.known(runner.family.start, 1, 1, PLAIN_NAME)
        assert found.taken_from == str(place / "folds2" / f"fold{number}")


def test_weights_that_are_not_those_recorded_are_not_taken(before, tiny_data):
    (path,) = (before / "weights").iterdir()
    path.write_bytes(b"others")
    with pytest.warns(UserWarning, match="is not taken over from .*: its weights are not those"):
        _, found = taken(before, tiny_data)
    assert found is None


def test_a_failure_is_not_taken(tmp_path, tiny_data):
    place = run_folder(tmp_path / "before", settings_of(), tiny_data)
    put(place, settings_of(), tiny_data, status=FAILED, val_auc=None, reason="it died")
    said = []
    assert taken(place, tiny_data, said)[1] is None
    assert "nothing of" in said[0]
    assert "no training has ended there" in said[0]


def test_several_folders_are_looked_through(tmp_path, before, tiny_data):
    other = run_folder(tmp_path / "other", settings_of(epochs=2), tiny_data)
    put(other, settings_of(epochs=2), tiny_data)
    settings = settings_of(reuse=f"{other},{before}")
    with redirect_stdout(io.StringIO()) as said:
        runner = make_runner(settings, tiny_data, tmp_path / "now")
    assert [line.split(":")[0] for line in said.getvalue().splitlines()] == [
        f"reuse     nothing of {other} can be taken over",
        f"reuse     {before}",
    ]
    assert runner.known(runner.family.start, 1, 1, PLAIN_NAME).taken_from == str(before)


@pytest.mark.parametrize(
    ("folder", "words"), [("nowhere", "no folder"), ("empty", "no run.json in it")]
)
def test_what_is_no_run_is_refused(tmp_path, tiny_data, folder, words):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CKRMError, match=f"--reuse: expected the folder of an earlier run.*{words}"):
        make_runner(settings_of(reuse=(str(tmp_path / folder),)), tiny_data, tmp_path / "now")


def test_a_run_does_not_reuse_itself(before, tiny_data):
    with pytest.raises(CKRMError, match="this run's own folder"):
        make_runner(settings_of(reuse=(str(before),)), tiny_data, before)


def test_a_real_training_is_taken_over_whole(tmp_path, tiny_data):
    """Its AUC is that of the weights, wherever they lie."""
    settings = settings_of(blocks=(1,))
    first = run_folder(tmp_path / "first", settings, tiny_data)
    trained = make_runner(settings, tiny_data, first)
    before = trained.run(trained.family.start, 1)
    trained.release()
    second = run_folder(tmp_path / "second", settings, tiny_data)
    heard = []
    with redirect_stdout(io.StringIO()):
        runner = make_runner(replace(settings, reuse=(str(first),)), tiny_data, second)
    runner.on_training = lambda training, new: heard.append((training, new))
    after = runner.run(runner.family.start, 1)
    assert after == replace(before, taken_from=str(first))
    assert heard == [(after, False)]
    model = runner.build(after.design)
    model.load_weights(runner.weights_path(after.design, 1))
    found = predict(model, tiny_data.val, tiny_data.scale)
    assert macro_auc(tiny_data.val.labels, found) == pytest.approx(before.val_auc, abs=1e-6)


def test_the_line_of_a_training_says_where_it_is_from():
    said = io.StringIO()
    progress = Progress(Console(file=said, width=200), 3, 0.02)
    family = settings_of().network((16, 16, 1), 3)
    one = Training(family.start, 1, 1, COMPLETED, 10, 20, val_auc=0.9, taken_from="runs/before")
    progress.on_training(one, False)
    progress.on_training(replace(one, taken_from=None), False)
    first, second = said.getvalue().splitlines()
    assert first.endswith("from runs/before")
    assert second.endswith("from the journal")


def test_folders_are_read_from_a_flag():
    assert settings_of(reuse="runs/a,runs/b").reuse == ("runs/a", "runs/b")
    assert settings_of().reuse is None

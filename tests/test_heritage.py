"""What a candidate takes over from the trained start, and from which one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from ckrm_tf import CKRMError, Design, ResNetFamily, Stage, Widths, narrow
from ckrm_tf.data.folds import search_folds
from ckrm_tf.families.vgg import VGGFamily
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, Training
from ckrm_tf.train.batches import scaled
from ckrm_tf.train.distill import distilled_loss, softened, taught_trainer
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import predict
from ckrm_tf.train.way import HOWS, PLAIN, WEIGHT, Way
from ckrm_tf.tuning.heritage import FIT, Heritage, endowed
from ckrm_tf.tuning.history import speaking
from ckrm_tf.tuning.runner import Runner

WIDTHS = Widths(4, (Stage(2, 4, 6), Stage(1, 4, 8)))
RECIPE = Recipe(epochs=4, batch_size=16, learning_rate=5e-3)
BOTH = Way(distill=WEIGHT, slice=True, share=0.25)


@pytest.fixture(scope="module")
def runner(tmp_path_factory, tiny_data):
    """A search of two folds that has a start of each: weights drawn, not trained."""
    folder = tmp_path_factory.mktemp("heritage")
    family = ResNetFamily(WIDTHS, tiny_data.input_shape, tiny_data.classes)
    made = runner_of(tiny_data, family, folder)
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        path = made.weights_path(family.start, seed)
        path.parent.mkdir(exist_ok=True)
        family.build(family.start).save_weights(path)
        made.journal.append(record(family.start, epochs=RECIPE.epochs, seed=seed))
    return made


@pytest.fixture(scope="module")
def searched(tmp_path_factory, tiny_data):
    """A search: the start on one fold, a candidate on the other; and what it told."""
    folder, told = tmp_path_factory.mktemp("searched"), []
    family = VGGFamily((4, 6), (2, 1), tiny_data.input_shape, tiny_data.classes)
    made = runner_of(tiny_data, family, folder, told)
    made.run(family.start, 1)
    quiet = list(told)
    made.run(family.start.replace({"stage1/filters": 2}), 2, way=BOTH)
    return made, quiet, told


def runner_of(data, family, folder, told=None):
    return Runner(
        data,
        RECIPE,
        Journal(folder / "trials.jsonl", family),
        family,
        weights_dir=folder / "weights",
        folds=search_folds(data, 2),
        note=(told if told is not None else []).append,
        way=BOTH,
        first=1,
    )


def narrower(family):
    return family.start.replace({"stage1/mid": 2, "stage2/out": 5})


def start_of(runner, seed):
    model = runner.build(runner.family.start)
    model.load_weights(runner.weights_path(runner.family.start, seed))
    return model


@pytest.mark.parametrize(
    ("way", "how", "epochs"),
    [
        (PLAIN, "plain", 12),
        (Way.of(True, None), "distilled", 12),
        (Way.of(False, "slices"), "slice", 3),
        (Way.of(True, "slices"), "distilled slice", 3),
        (Way.of(False, "scratch"), "plain", 12),
        # A model that was brought is sliced by its family.
        (Way.of(False, "slices", given=True), "plain", 12),
    ],
)
def test_ways_have_names_and_lengths(way, how, epochs):
    assert (way.how, way.epochs(12), way.epochs(1)) == (how, epochs, 1)
    assert way.inherits == (how != "plain")
    assert way.how in HOWS


@pytest.mark.parametrize("values", [{"distill": 1.1}, {"distill": -0.1}, {"share": 0}])
def test_bad_ways_are_refused(values):
    with pytest.raises(CKRMError, match="expected from 0 to 1"):
        Way(**values)


def test_the_loss_is_that_of_the_formula():
    rng = np.random.default_rng(1)
    logits, teacher = rng.normal(0, 3, (2, 7, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 7)
    soft = softened(softmax(teacher, axis=1), 2.5)
    np.testing.assert_allclose(soft, softmax(teacher / 2.5, axis=1), rtol=1e-4)
    own = -log_softmax(logits, axis=1)[np.arange(7), labels]
    told = -(soft * log_softmax(logits / 2.5, axis=1)).sum(axis=1)
    for weight in (0.0, 0.3, 1.0):
        found = np.asarray(distilled_loss(labels, soft, logits, weight, 2.5))
        np.testing.assert_allclose(found, (1 - weight) * own + weight * 2.5**2 * told, rtol=1e-4)
    assert np.abs(own - 2.5**2 * told).max() > 0.1


def test_certain_probabilities_stay_finite():
    soft = softened(np.array([[1.0, 0.0], [0.5, 0.5]]))
    assert np.isfinite(soft).all()
    assert soft[0, 0] > 0.999
    np.testing.assert_allclose(soft.sum(axis=1), 1)


def test_a_network_learns_what_it_is_told(tiny_data):
    """Without labels, what it comes to answer is what the teacher says."""
    family = VGGFamily((4,), (1,), tiny_data.input_shape, tiny_data.classes)
    recipe, answers = replace(RECIPE, epochs=8, learning_rate=0.05), []
    for favoured in (0, 2):
        told = np.full((len(tiny_data.train), 3), 0.02)
        told[:, favoured] = 0.96
        trainer = taught_trainer(lambda: family.build(family.start), tiny_data, recipe, told, 1.0)
        trainer.train(1)
        answers.append(predict(trainer.model, tiny_data.train, tiny_data.scale).mean(axis=0))
    assert [int(np.argmax(a)) for a in answers] == [0, 2]


def test_probabilities_of_other_images_are_refused(tiny_data):
    with pytest.raises(CKRMError, match=r"soft probabilities: expected shape \(48, 3\)"):
        taught_trainer(lambda: None, tiny_data, RECIPE, np.ones((47, 3)) / 3, 0.5)


@pytest.mark.parametrize("first", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 2, 3])
def test_who_hands_on_has_the_same_fold(runner, first, count):
    folds = [runner.data] * count
    other = Runner(runner.data, RECIPE, runner.journal, runner.family, folds=folds, first=first)
    teachers = {seed: other.heritage.start_seed(seed) for seed in range(first, first + 9)}
    assert all(other.fold_of(t) == other.fold_of(seed) for seed, t in teachers.items())
    # One start a fold, the first.
    assert set(teachers.values()) == set(range(first, first + max(1, count)))
    other.heritage.first = None
    assert all(other.heritage.start_seed(seed) == seed for seed in teachers)


def test_a_training_is_taught_by_the_start_of_its_fold_alone(runner):
    for seed, teacher in ((1, 1), (2, 2), (3, 1)):
        told = Heritage(runner, first=1).probabilities(seed)
        data = runner.data_of(seed)
        np.testing.assert_array_equal(told, predict(start_of(runner, teacher), data.train, 255))
        # The other start would have said something else of the same images.
        other = predict(start_of(runner, 3 - teacher), data.train, 255)
        assert np.abs(told - other).max() > 1e-3


def test_a_slice_is_that_of_the_start_of_its_fold(runner):
    design = narrower(runner.family)
    found = {}
    for seed in (1, 2):
        data = runner.data_of(seed)
        images = scaled(evenly(data.train.images, FIT), data.scale)
        model = endowed(runner.build(design), runner.heritage.weights(design, seed))
        widths = {"stage1_block1_conv1": 2, "stage1_block1_conv2": 2}
        widths |= {name.replace("block1", "block2"): n for name, n in widths.items()}
        widths |= {"stage2_block1_shortcut": 5}
        expected = narrow(start_of(runner, seed), widths, images=images)
        found[seed] = predict(model, data.val, data.scale)
        wanted = predict(expected, data.val, data.scale)
        np.testing.assert_allclose(found[seed], wanted, atol=1e-5)
        fresh = predict(runner.build(design), data.val, data.scale)
        assert np.abs(found[seed] - fresh).max() > 1e-2


def test_the_whole_start_is_handed_on_as_it_is(runner):
    start = runner.family.start
    model = endowed(runner.build(start), runner.heritage.weights(start, 1))
    for found, right in zip(model.get_weights(), start_of(runner, 1).get_weights(), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("change", [{"stage1/blocks": 1, "stage1/out": 3}, {"stage2/blocks": 0}])
def test_slices_of_less_depth_have_weights_for_every_layer(runner, change):
    design = runner.family.checked(runner.family.start.replace(change))
    weights = runner.heritage.weights(design, 1)
    for layer in runner.build(design).layers:
        if layer.weights:
            assert [w.shape for w in weights[layer.name]] == [w.shape for w in layer.weights]


def test_layers_of_another_shape_begin_fresh(runner):
    """Behind an absent first stage the next one reads other channels."""
    design = runner.family.checked(runner.family.start.replace({"stage1/blocks": 0}))
    weights = runner.heritage.weights(design, 1)
    right = start_of(runner, 1)
    model = endowed(runner.build(design), weights)
    kept = right.get_layer("stage2_block1_conv3").get_weights()
    for a, b in zip(model.get_layer("stage2_block1_conv3").get_weights(), kept, strict=True):
        np.testing.assert_array_equal(a, b)
    shapes = [
        net.get_layer("stage2_block1_conv1").kernel.shape for net in (model, runner.build(design))
    ]
    assert shapes[0] == shapes[1]


def test_a_start_that_is_needed_is_trained_before_and_told(searched):
    made, quiet, told = searched
    assert not quiet
    assert len(told) == 1
    assert "trained on fold 2, seed 2" in told[0]
    rows = [(t.design == made.family.start, t.seed, t.fold, t.how) for t in made.journal.read()]
    assert rows == [(True, 1, 0, "plain"), (True, 2, 1, "plain"), (False, 2, 1, "distilled slice")]
    assert [t.epochs for t in made.journal.read()] == [4, 4, 1]


def test_a_search_that_goes_on_tells_what_the_first_did(searched, tmp_path):
    """In the same order, whatever is in the journal already; each start once."""
    made, _, told = searched
    (short,) = (t for t in made.journal.read() if t.how == "distilled slice")

    def said_by(lines):
        journal = tmp_path / str(lines) / "trials.jsonl"
        journal.parent.mkdir()
        kept = made.journal.path.read_text().splitlines(keepends=True)[:lines]
        journal.write_text("".join(kept))
        shutil.copytree(made.weights_dir, journal.parent / "weights")
        said, notes = [], []
        again = runner_of(made.data, made.family, journal.parent, notes)
        again.on_training = lambda training, new: said.append((training.key, new))
        again.run(made.family.start, 1)
        for _ in range(2):
            again.run(short.design, 2, way=BOTH)
        return said, notes

    start = [(made.family.start, seed, RECIPE.epochs, "plain") for seed in (1, 2)]
    for lines in (3, 2):
        said, notes = said_by(lines)
        assert said == [
            *((key, False) for key in start),
            (short.key, lines < 3),
            (short.key, False),
        ]
        assert not notes
    assert told


def test_each_way_is_a_training_of_its_own(searched):
    made = searched[0]
    (short,) = (t for t in made.journal.read() if t.design != made.family.start)
    taught = made.run(short.design, 2, way=Way(distill=WEIGHT))
    plain = made.run(short.design, 2)
    found = (short, taught, plain)
    assert [t.how for t in found] == ["distilled slice", "distilled", "plain"]
    assert len({made.weights_of(t) for t in found}) == len({t.weights for t in found}) == 3
    assert all(made.weights_of(t).is_file() for t in found)
    assert [made.is_whole(t) for t in found] == [True, False, True]
    lines = len(made.journal)
    assert made.run(short.design, 2, way=Way(distill=WEIGHT)) == taught
    assert made.run(short.design, 2, way=BOTH) == short
    assert len(made.journal) == lines


def test_the_start_itself_takes_nothing_over(runner, searched):
    made = searched[0]
    assert made.run(made.family.start, 1, way=BOTH) == made.run(made.family.start, 1)
    assert runner.way_of(runner.family.start) == PLAIN
    assert runner.way_of(narrower(runner.family)) == BOTH


def test_without_the_weights_of_its_start_a_training_fails_and_says_so(runner):
    other = Runner(runner.data, RECIPE, runner.journal, runner.family, folds=runner.folds, first=1)
    failed = other.run(narrower(runner.family).replace({"stage1/mid": 1}), 1, way=BOTH)
    assert failed.status == "failed"
    assert "the starting network, seed 1" in failed.reason


A, B = Design({"w": 4}), Design({"w": 2})


def record(design, how="plain", epochs=12, auc=0.9, seed=1):
    return Training(design, seed, epochs, COMPLETED, 1, 1, val_auc=auc, how=how)


def test_plain_trainings_speak_before_others():
    way = Way.of(False, "slices")
    start, sliced, plain = record(A), record(B, "slice", 3), record(B, seed=2)
    short = record(A, epochs=3)
    assert speaking([start, sliced, short], 12, way) == [start, sliced]
    assert speaking([start, sliced, plain], 12, way) == [start, plain]
    assert speaking([start, sliced, plain], 12) == [start, plain]
    failed = replace(plain, status="failed", val_auc=None)
    assert speaking([start, sliced, failed], 12, way) == [start, sliced, failed]


def test_the_journal_tells_ways_apart_and_reads_older_lines(tmp_path):
    family = ResNetFamily(WIDTHS)
    journal = Journal(tmp_path / "trials.jsonl", family)
    both = [record(family.start, how, auc=auc) for how, auc in (("plain", 0.8), ("slice", 0.7))]
    for training in both:
        journal.append(training)
    again = Journal(journal.path, family)
    assert again.current() == both
    assert again.find(family.start, 1, 12) == both[0]
    assert again.find(family.start, 1, 12, "slice") == both[1]
    assert again.find(family.start, 1, 12, "distilled") is None
    lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
    older = [{k: v for k, v in line.items() if k != "how"} for line in lines]
    journal.path.write_text("".join(json.dumps(line) + "\n" for line in older))
    assert [t.how for t in Journal(journal.path, family).read()] == ["plain", "plain"]
    journal.path.write_text(json.dumps(lines[0] | {"how": "by magic"}) + "\n")
    with pytest.raises(CKRMError, match="line 1: expected a training"):
        Journal(journal.path, family)

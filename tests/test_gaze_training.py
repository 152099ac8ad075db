"""Training with gaze: the loss, the parameters, and the plain model it leaves behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from ckrm_tf import CKRMError, Stage, Widths, resnet
from ckrm_tf.data import Dataset
from ckrm_tf.data.phantom import phantom
from ckrm_tf.export.inference import inference_model, outputs
from ckrm_tf.layers.cam import cam_model
from ckrm_tf.layers.gaze_grid import gaze_to_grid
from ckrm_tf.layers.ggcam_loss import GGCAMLoss
from ckrm_tf.stats import macro_auc
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.gaze import PUBLISHED, GazeNetwork, GazeStart, gaze_trainer
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, predict
from search.session import check_fit, make_runner
from search.settings import load_settings

# TensorFlow's variables do not know NumPy 2's copy keyword yet; saving copies them.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)

TINY = Widths(3, (Stage(1, 2, 6),))
RECIPE = Recipe(epochs=2, batch_size=4, learning_rate=0.01, l1=1e-3)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return phantom((12, 6, 6), 16, seed=5)


def without_gaze(data: Dataset) -> Dataset:
    return replace(data, train=replace(data.train, gaze=None))


def builder(data: Dataset, head: Any = "dense") -> Any:
    return lambda: resnet(
        TINY, data.input_shape, 3, kernel_regularizer=RECIPE.regularizer(), head=head
    )


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


@pytest.mark.parametrize("head", ["dense", "cam"])
def test_three_parameters_more_than_the_slim_network(head: Any) -> None:
    model = resnet(Widths.from_rule(16, 0.75), (64, 64, 1), 3, head=head)
    assert trainable(model) == 128_062
    assert trainable(GazeNetwork(model)) == 128_065


def test_loss_is_ggcam_and_the_penalties(data: Dataset) -> None:
    model = builder(data)()
    start = GazeStart(a=0.5, e=-0.25, lk=0.125, shift=-1.0)
    network = GazeNetwork(model, start)
    images = data.train.images[:5].astype("float32") / 255
    labels, gaze = data.train.labels[:5], gaze_to_grid(data.train.gaze[:5], (4, 4))
    logits, maps = (np.asarray(t) for t in cam_model(model)(images))
    found = network.compute_loss(images, (labels, gaze), network(images))
    kernels = [la.kernel for la in model.layers if isinstance(la, keras.layers.Conv2D)]
    penalty = RECIPE.l1 * sum(np.abs(np.asarray(k)).sum() for k in kernels)
    expected = GGCAMLoss(0.5, -0.25, 0.125, shift=-1.0)(maps, logits, labels, gaze)
    assert penalty > 0
    assert float(found) == pytest.approx(float(expected) + penalty, rel=1e-5)


@pytest.mark.parametrize("head", ["dense", "cam"])
def test_trained_model_is_a_plain_one(data: Dataset, head: Any, tmp_path: Path) -> None:
    trainer = gaze_trainer(builder(data, head), data, RECIPE)
    trained = trainer.train(3)
    assert np.isfinite(trained.loss)
    assert trained.steps == 6
    model, images = trainer.model, data.val.images.astype("float32")
    assert model.output_names == ["logits"]
    assert trainable(model) == TINY.params(data.input_shape)
    np.testing.assert_allclose(trained.probabilities, predict(model, data.val, data.scale))
    # All three scalars have learned: Adam moves each by about its rate a step.
    moved = [float(w) for w in trainer.network.gaze_loss.trainable_weights]
    assert min(abs(m - s) for m, s in zip(moved, (0.0, -1.0, 0.0), strict=True)) > 1e-3
    # Saved weights fit a model built anew without gaze, and the export gives the same answers.
    model.save_weights(tmp_path / "w.weights.h5")
    fresh = builder(data, head)()
    fresh.load_weights(tmp_path / "w.weights.h5")
    exported = outputs(inference_model(fresh, data.scale), images)
    np.testing.assert_allclose(exported, trained.probabilities, rtol=1e-4, atol=1e-6)


def test_same_seed_same_training_whatever_came_before(data: Dataset) -> None:
    trainer = gaze_trainer(builder(data), data, RECIPE)
    first = trainer.train(3)
    trainer.train(4)
    again = trainer.train(3)
    np.testing.assert_allclose(again.probabilities, first.probabilities, rtol=1e-5)
    assert again.loss == pytest.approx(first.loss, rel=1e-5)


def test_both_trainings_start_from_the_same_weights(data: Dataset) -> None:
    """So that a comparison of the two at one seed is paired."""
    recipe = replace(RECIPE, epochs=1, learning_rate=1e-12)
    plain, gazed = Trainer(builder(data), data, recipe), gaze_trainer(builder(data), data, recipe)
    plain.train(7)
    gazed.train(7)
    for a, b in zip(plain.model.trainable_weights, gazed.model.trainable_weights, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=1e-6)


def test_the_published_start(data: Dataset) -> None:
    network = GazeNetwork(builder(data)(), PUBLISHED)
    assert [float(w) for w in network.gaze_loss.trainable_weights] == [7.0, -23.0, 0.0]


def test_data_without_gaze(data: Dataset) -> None:
    nobody = replace(data, train=replace(data.train, gaze=np.zeros_like(data.train.gaze)))
    for bare, received in ((without_gaze(data), "none"), (nobody, "zeros")):
        with pytest.raises(CKRMError, match=f"train split: gaze maps.*received {received}"):
            gaze_trainer(builder(data), bare, RECIPE)
    # Gaze is needed in training only.
    rest = {name: replace(getattr(data, name), gaze=None) for name in ("val", "test")}
    gaze_trainer(builder(data), replace(data, **rest), RECIPE)


def test_search_trains_with_gaze(data: Dataset, tmp_path: Path) -> None:
    flags = {
        "ggcam": True,
        "filters": 4,
        "blocks": [1],
        "epochs": 1,
        "batch_size": 4,
        "ggcam_a": 0.25,
        "ggcam_e": -0.5,
    }
    settings = load_settings(None, flags)
    with pytest.raises(CKRMError, match="gaze maps"):
        check_fit(settings, without_gaze(data))
    runner = make_runner(settings, data, tmp_path, None)
    design = TINY.to_design()
    make, made = runner.make_trainer, []
    runner.make_trainer = lambda *args: made.append(make(*args)) or made[-1]
    training = runner.run(design, 1)
    assert training.status == COMPLETED, training.reason
    reached = [float(w) for w in made[0].network.gaze_loss.trainable_weights]
    np.testing.assert_allclose(reached, [0.25, -0.5, 0.0], atol=0.02)
    # Reloaded as the end of a search does it, the network is the one that was scored.
    model = runner.build(design)
    model.load_weights(runner.weights_path(design, 1))
    auc = macro_auc(data.val.labels, predict(model, data.val, data.scale))
    assert auc == pytest.approx(training.val_auc)
    plain = make_runner(load_settings(None, flags | {"ggcam": False}), data, tmp_path, None)
    assert type(plain.make_trainer(design, settings.recipe, data)) is Trainer

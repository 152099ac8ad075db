from __future__ import annotations

import gc
import logging
from dataclasses import replace

import keras
import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from ckrm_tf import CKRMError, Stage, Widths, resnet
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, TrainingNetwork, predict

WIDTHS = Widths(4, (Stage(1, 4, 8),))
RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=5e-3, l1=1e-3, shift=1)


def make(data, recipe=RECIPE, widths=WIDTHS):
    return resnet(widths, data.input_shape, data.classes, kernel_regularizer=recipe.regularizer())


def trainer_for(data, recipe=RECIPE) -> Trainer:
    return Trainer(lambda: make(data, recipe), data, recipe)


@pytest.fixture(scope="module")
def twice(tiny_data):
    """One trainer, trained with seed 5, then 6, then 5 again; and after each its state."""
    trainer = trainer_for(tiny_data)
    outcomes = []
    for seed in (5, 6, 5):
        trained = trainer.train(seed)
        weights = [w.copy() for w in trainer.model.get_weights()]
        slots = [v.numpy().copy() for v in trainer.network.optimizer.variables]
        outcomes.append((trained, weights, slots))
    return trainer, outcomes


@pytest.mark.parametrize("field", ["epochs", "batch_size", "learning_rate", "l1", "shift"])
@pytest.mark.parametrize("value", [-1, float("nan")])
def test_bad_recipes_are_refused(field, value):
    with pytest.raises(CKRMError, match=field):
        replace(RECIPE, **{field: value})


def test_zero_is_good_for_the_penalty_and_the_shift_only():
    assert Recipe(l1=0, shift=0).regularizer() is None
    for field in ("epochs", "batch_size", "learning_rate"):
        with pytest.raises(CKRMError, match=field):
            Recipe(**{field: 0})


def test_one_step_is_that_of_plain_compile_and_fit(tiny_data):
    """Same batch, same start: loss, gradients (through SGD) and statistics as Keras has them."""
    x = tiny_data.train.images[:16].astype(np.float32) / 255
    y = tiny_data.train.labels[:16]
    states, losses = [], []
    for ours in (True, False):
        keras.utils.set_random_seed(2)
        model = make(tiny_data)
        network = TrainingNetwork(model.inputs, model.outputs[0]) if ours else model
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        # Steps of 1: the change of every weight is its gradient.
        network.compile(keras.optimizers.SGD(1.0), **({} if ours else {"loss": loss}))
        before = model.get_weights()
        log = network.fit(x, y, batch_size=16, epochs=1, verbose=0).history
        losses.append(log["loss"][0])
        states.append([b - a for a, b in zip(before, model.get_weights(), strict=True)])
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    for a, b in zip(*states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert max(np.abs(s).max() for s in states[1]) > 1e-2
    # The penalty is part of the loss, or lambda would have nothing to see.
    assert losses[0] > -np.log(1 / 3) * 0.5


def test_the_penalty_is_in_the_loss(tiny_data):
    keras.utils.set_random_seed(2)
    model = make(tiny_data)
    kernels = [
        w
        for v, w in zip(model.weights, model.get_weights(), strict=True)
        if v.path.endswith("/kernel") and w.ndim == 4
    ]
    penalty = 1e-3 * sum(np.abs(k).sum() for k in kernels)
    network = TrainingNetwork(model.inputs, model.outputs[0])
    logits = np.zeros((4, 3), np.float32)
    loss = float(network.compute_loss(y=np.array([0, 1, 2, 0]), y_pred=logits))
    assert loss == pytest.approx(np.log(3) + penalty, rel=1e-5)


def test_a_second_training_starts_where_a_fresh_trainer_would(twice, tiny_data):
    """Weights, statistics, optimizer and order of images: nothing of another seed remains."""
    _, (first, other, again) = twice
    assert first[0].val_auc == pytest.approx(again[0].val_auc, abs=1e-9)
    for a, b in zip(first[1] + first[2], again[1] + again[2], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(first[1], other[1], strict=True))
    fresh = trainer_for(tiny_data)
    assert fresh.train(6).val_auc == pytest.approx(other[0].val_auc, abs=1e-9)
    for a, b in zip(fresh.model.get_weights(), other[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_looking_at_the_model_before_training_changes_nothing(twice, tiny_data):
    _, outcomes = twice
    trainer = trainer_for(tiny_data)
    assert trainer.model.count_params() > 0
    assert trainer.train(5).val_auc == pytest.approx(outcomes[0][0].val_auc, abs=1e-9)
    for a, b in zip(trainer.model.get_weights(), outcomes[0][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_steps_epochs_and_schedule_are_those_of_the_recipe(twice):
    trainer, ((trained, _, _), *_) = twice
    assert trained.steps == 2 * (48 // 16)
    assert int(trainer.network.optimizer.iterations) == trained.steps
    # The cosine has come down to zero at the last step.
    assert float(trainer.network.optimizer.learning_rate) == pytest.approx(0, abs=1e-9)
    assert trained.setup_seconds > 0
    assert trained.step_seconds > 0


def test_the_auc_is_that_of_the_validation_split_by_scikit_learn(twice, tiny_data):
    trainer, (*_, (trained, _, _)) = twice
    val = tiny_data.val
    logits = trainer.model.predict(val.images.astype(np.float32) / 255, verbose=0)
    expected = softmax(logits.astype(np.float64), axis=1)
    np.testing.assert_allclose(trained.probabilities, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(trained.probabilities.sum(axis=1), 1, atol=1e-12)
    auc = roc_auc_score(val.labels, expected, multi_class="ovr", average="macro")
    assert trained.val_auc == pytest.approx(auc, abs=2e-3)


def test_predict_crosses_its_batches_in_order(twice, tiny_data):
    trainer, _ = twice
    images = np.concatenate([tiny_data.train.images] * 4)
    split = replace(tiny_data.train, images=images, labels=np.zeros(len(images), np.int64))
    together = predict(trainer.model, split, 255.0)
    assert together.shape == (192, 3)
    np.testing.assert_allclose(together[144:], together[:48], atol=1e-6)


def test_callbacks_see_the_training(twice):
    trainer, _ = twice
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(logs["loss"])
    )
    trained = trainer.train(5, [note])
    assert len(seen) == 2
    assert trained.loss == pytest.approx(seen[-1])


def test_a_loss_that_is_not_finite_is_an_error_and_stops_at_once(tiny_data):
    recipe = replace(RECIPE, learning_rate=1e30, epochs=50)
    trainer = trainer_for(tiny_data, recipe)
    with pytest.raises(CKRMError, match="training loss: expected a finite number"):
        trainer.train(1)
    assert int(trainer.network.optimizer.iterations) < 20


def test_a_trainer_forgotten_leaves_no_graph_behind(tiny_data):
    """TensorFlow keeps some gradients for good, and their graphs: memory would grow by trial."""

    def graphs() -> int:
        keras.backend.clear_session()
        gc.collect()
        return sum(type(o).__name__ == "FuncGraph" for o in gc.get_objects())

    before = graphs()
    trainer = trainer_for(tiny_data)
    trainer.train(1)
    assert graphs() > before
    del trainer
    assert graphs() == before


def test_the_step_is_traced_once_for_all_seeds(tiny_data):
    traces = []

    class Counting(TrainingNetwork):
        def compute_loss(self, *given, **named):
            traces.append(1)
            return super().compute_loss(*given, **named)

    def wrap(model):
        return Counting(model.inputs, model.outputs[0])

    trainer = Trainer(lambda: make(tiny_data), tiny_data, RECIPE, wrap)
    trainer.train(1)
    trainer.train(2)
    assert len(traces) == 1


def test_one_network_after_the_other_earns_no_warning_of_retracing(tmp_path):
    log = tmp_path / "tensorflow.log"
    handler = logging.FileHandler(log)
    logging.getLogger("tensorflow").addHandler(handler)
    x, y = np.ones((4, 2), np.float32), np.array([0, 1, 0, 1])
    try:
        for width in range(1, 8):
            inputs = keras.Input((2,))
            outputs = keras.layers.Dense(3)(keras.layers.Dense(width)(inputs))
            network = TrainingNetwork(inputs, outputs)
            network.compile(keras.optimizers.SGD(0.1))
            network.fit(x, y, batch_size=4, verbose=0)
    finally:
        logging.getLogger("tensorflow").removeHandler(handler)
        handler.close()
    assert "retracing" not in log.read_text()

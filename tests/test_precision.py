"""Mixed precision: the steps compute in it; what is judged, measured, exported is float32."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from ckrm_tf import CKRMError, ResNetFamily, Stage, Widths, measure
from ckrm_tf.stats import macro_auc
from ckrm_tf.store.folder import open_folder
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED
from ckrm_tf.train.precision import PRECISIONS, layers_in
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer, predict
from ckrm_tf.tuning.runner import Runner
from search.settings import load_settings

WIDTHS = Widths(8, (Stage(1, 8, 8),))


def recipe(precision, epochs=2) -> Recipe:
    return Recipe(epochs, 16, 3e-3, precision=precision)


@pytest.fixture(scope="module")
def family(tiny_data):
    return ResNetFamily(WIDTHS, tiny_data.input_shape, tiny_data.classes)


@pytest.fixture(scope="module", params=PRECISIONS)
def trained(request, tiny_data, family, tmp_path_factory):
    """Two seeds of one network, trained one after the other by one runner."""
    folder = tmp_path_factory.mktemp(request.param)
    journal = Journal(folder / "trials.jsonl", family)
    runner = Runner(
        tiny_data, recipe(request.param), journal, family, weights_dir=folder / "weights"
    )
    found = [runner.run(family.start, seed) for seed in (1, 2)]
    return request.param, runner, found, runner._trainer[-1]


def test_the_steps_compute_in_it_and_the_weights_are_float32(trained):
    precision, _, found, trainer = trained
    assert [t.status for t in found] == [COMPLETED, COMPLETED]
    short = precision.removeprefix("mixed_")
    computed = {layer.compute_dtype for layer in trainer.network.layers if layer.weights}
    assert computed == {short}
    # Seeds of dropout and the like are whole numbers.
    for model in (trainer.network, trainer.model):
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert {layer.compute_dtype for layer in trainer.model.layers} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_what_is_recorded_is_of_the_float32_network(trained, tiny_data):
    _, runner, found, _ = trained
    for training in found:
        model = runner.build(training.design)
        model.load_weights(runner.weights_path(training.design, training.seed))
        probabilities = predict(model, tiny_data.val, tiny_data.scale)
        assert macro_auc(tiny_data.val.labels, probabilities) == training.val_auc
        table = measure(model).set_index("name")["lambda"]
        assert dict(training.lam) == pytest.approx(
            {name: lam for name, lam in table.items() if not np.isnan(lam)}
        )


def test_half_precision_trains_nearly_as_float32_and_not_the_same(trained, tiny_data, family):
    precision, runner, found, trainer = trained
    plain = Trainer(lambda: runner.build(family.start), tiny_data, recipe("float32"))
    plain.train(2)
    far = max(
        float(np.abs(a - b).max())
        for a, b in zip(trainer.model.get_weights(), plain.model.get_weights(), strict=True)
    )
    if precision == "float32":
        # A second seed of one runner is trained as the first of another.
        assert far < 1e-5
    else:
        assert 1e-6 < far < 0.3
    assert np.isfinite(found[1].loss)


def test_a_seed_is_the_same_training_first_or_second(trained, tiny_data, family):
    """Weights, slots of Adam and the scale of the loss begin anew."""
    precision, _, _, second = trained
    if precision != "mixed_float16":
        pytest.skip("one will do")
    first = Trainer(second.build, tiny_data, recipe(precision))
    first.train(2)
    for a, b in zip(second.model.get_weights(), first.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)


def test_the_file_of_the_network_is_float32(trained, tiny_data, family, tmp_path):
    precision, _, _, trainer = trained
    if precision == "float32":
        pytest.skip("it is, anyhow")
    trainer.model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in again.layers} == {"float32"}
    probabilities = [predict(m, tiny_data.val, tiny_data.scale) for m in (again, trainer.model)]
    np.testing.assert_allclose(*probabilities, atol=1e-6)


@pytest.mark.parametrize(("name", "precision"), [("vgg", "mixed_float16"), ("slim", "bfloat16")])
def test_other_networks_train_in_it_too(tiny_data, name, precision):
    flags = {"precision": precision, "filters": 8, "blocks": (1,), "image_size": 16, "epochs": 1}
    flags |= {"family": "vgg"} if name == "vgg" else {"conv": "slim"}
    settings = load_settings(None, flags)
    family = settings.network(tiny_data.input_shape, tiny_data.classes)
    trainer = Trainer(lambda: family.build(family.start), tiny_data, settings.recipe)
    assert np.isfinite(trainer.train(1).loss)
    assert trainer.network.dtype_policy.name == settings.recipe.precision


def test_the_loss_of_float16_is_scaled(trained):
    """Small gradients would be 0 in float16; the scale is doubled and halved by Keras."""
    precision, _, _, trainer = trained
    scaled = isinstance(trainer.network.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (precision == "mixed_float16")


def test_the_policy_is_as_before_after_an_error():
    def failing():
        with layers_in("mixed_bfloat16"):
            raise RuntimeError(keras.config.dtype_policy().name)

    with pytest.raises(RuntimeError, match="mixed_bfloat16"):
        failing()
    assert keras.config.dtype_policy().name == "float32"


def test_it_is_a_setting_of_the_recipe_that_a_run_holds_fast(tmp_path):
    short, full = (load_settings(None, {"precision": p}) for p in ("bfloat16", "mixed_bfloat16"))
    assert short.recipe.precision == "mixed_bfloat16"
    assert short.fingerprint() == full.fingerprint() != load_settings(None, {}).fingerprint()
    open_folder(str(tmp_path), short.fingerprint())
    with pytest.raises(CKRMError, match="begun with another precision"):
        open_folder(str(tmp_path), load_settings(None, {}).fingerprint())
    # Folders of earlier versions say nothing of it.
    marker = tmp_path / "run.json"
    before = json.loads(marker.read_text())
    del before["precision"]
    marker.write_text(json.dumps(before))
    open_folder(str(tmp_path), load_settings(None, {}).fingerprint())


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"precision": "float8"}, "unknown --precision.*Did you mean 'float32'"),
        ({"precision": "bfloat16", "ggcam": True}, "--precision: expected float32 with --ggcam"),
        ({"precision": "bfloat16", "model": "a.keras"}, "--precision: expected float32 with"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(flags, words):
    with pytest.raises(CKRMError, match=words):
        load_settings(None, flags)

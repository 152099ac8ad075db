"""The mask in force at every step, through fine-tuning, save and load: real training, tiny nets."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf.errors import CKRMError
from ckrm_tf.pruning.callback import EigenvaluePruning
from ckrm_tf.pruning.constraint import SliceMask, SwitchableL1
from ckrm_tf.pruning.masks import dead_slices, percentile_masks, threshold_masks, zero_masks
from ckrm_tf.pruning.model import (
    install_masks,
    kernels_of,
    load_masks,
    masks_of,
    prunable,
    save_masks,
    zero_slices,
)

X = np.random.default_rng(0).normal(size=(24, 6, 6, 1)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(24, 2)).astype(np.float32)
TRACED = {"run_eagerly": False}
# Keras 3.15 reads variables through an __array__ without NumPy 2's copy argument when it saves.
keras_saves = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
HALF = partial(percentile_masks, criterion="spectral_norm", share=0.5)


def make_model(regularizer=None, constraint=None, **compile_args) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1))
    x = layers.Conv2D(4, 3, name="stem", kernel_regularizer=regularizer)(image)
    x = layers.ReLU()(x)
    x = layers.Conv2D(
        5, 3, name="middle", kernel_regularizer=regularizer, kernel_constraint=constraint
    )(x)
    x = layers.Conv2D(3, 1, name="point", kernel_regularizer=regularizer)(x)
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    # Tracing takes longer than these trainings; the tests about traced steps ask for it.
    model.compile(keras.optimizers.Adam(0.01), "mse", **{"run_eagerly": True, **compile_args})
    return model


class Watch(keras.callbacks.Callback):
    """Records, at the end of every batch, the greatest dead weight; None before the mask."""

    def __init__(self, pruning: EigenvaluePruning) -> None:
        super().__init__()
        self.pruning = pruning
        self.dead: list[float | None] = []

    def on_train_batch_end(self, batch, logs=None):
        if self.pruning.masks is None:
            self.dead.append(None)
        else:
            self.dead.append(greatest_dead(self.model, self.pruning.masks))


def greatest_dead(model, masks) -> float:
    kernels = kernels_of(model)
    return max(np.abs(kernels[name][:, :, ~mask]).max(initial=0) for name, mask in masks.items())


def fit(model, callbacks, epochs, **more):
    return model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks, **more)


def test_mask_after_the_l1_epochs_and_at_every_batch_of_fine_tuning():
    regularizer = SwitchableL1(1e-2)
    model = make_model(regularizer, **TRACED)
    pruning = EigenvaluePruning(2, make_masks=HALF)
    watch = Watch(pruning)
    traces = []
    step = model.train_step
    model.train_step = lambda data: traces.append(1) or step(data)
    model.make_train_function(force=True)

    before = kernels_of(model)
    fit(model, [pruning, watch], epochs=5)

    assert watch.dead == [None] * 6 + [0.0] * 9
    assert dead_slices(pruning.masks) == 2 + 10 + 7
    assert regularizer.strength == 0
    assert all(np.any(kernels_of(model)[name] != before[name]) for name in before)
    # Dead slices, and only they, are zero; masking and ending L1 needed no further trace.
    for name, kernel in kernels_of(model).items():
        np.testing.assert_array_equal(np.any(kernel != 0, axis=(0, 1)), pruning.masks[name])
    assert len(traces) == 2, "one for the first batch, one for Keras's second"


def test_zeroing_once_is_not_enough():
    # What the constraint is for: Adam's momentum moves a slice that was only zeroed.
    model = make_model()
    fit(model, [], epochs=1)
    masks = HALF(kernels_of(model))
    zero_slices(model, masks)
    assert greatest_dead(model, masks) == 0
    fit(model, [], epochs=1)
    assert greatest_dead(model, masks) > 1e-3


def test_the_masks_come_from_the_l1_epochs_alone():
    model = make_model(SwitchableL1(1e-2))
    fit(model, [], epochs=2)
    expected = threshold_masks(kernels_of(model), "min_eig", 0.1)
    assert 0 < dead_slices(expected) < 39

    again = make_model(SwitchableL1(1e-2))
    pruning = EigenvaluePruning(2, "min_eig", 0.1)
    fit(again, [pruning], epochs=3)
    for name, mask in expected.items():
        np.testing.assert_array_equal(pruning.masks[name], mask)


@keras_saves
def test_save_and_load_keeps_the_masks_in_force(tmp_path):
    model = make_model(SwitchableL1(1e-2), **TRACED)
    pruning = EigenvaluePruning(1, make_masks=HALF)
    fit(model, [pruning], epochs=2)
    path = tmp_path / "pruned.keras"
    model.save(path)

    loaded = keras.models.load_model(path)
    assert masks_of(loaded).keys() == pruning.masks.keys()
    for name, mask in masks_of(loaded).items():
        np.testing.assert_array_equal(mask, pruning.masks[name])
    assert greatest_dead(loaded, pruning.masks) == 0
    np.testing.assert_array_equal(
        loaded.predict(X, verbose=0), model.predict(X, verbose=0), strict=True
    )
    before = kernels_of(loaded)
    fit(loaded, [], epochs=2)
    assert greatest_dead(loaded, pruning.masks) == 0
    assert np.any(kernels_of(loaded)["middle"] != before["middle"])
    # L1 stays off: the loss has no penalty left.
    assert sum(float(loss) for loss in loaded.losses) == 0


def test_a_second_fit_keeps_the_masks_of_the_first():
    model = make_model()
    first = EigenvaluePruning(1, make_masks=HALF)
    fit(model, [first], epochs=2)
    second = EigenvaluePruning(1, "weight", 1e9)
    fit(model, [second], epochs=2)
    for name, mask in first.masks.items():
        np.testing.assert_array_equal(second.masks[name], mask)
    assert greatest_dead(model, first.masks) == 0


def test_a_model_whose_step_is_traced_already_gets_a_new_one():
    model = make_model(**TRACED)
    fit(model, [], epochs=1)
    pruning = EigenvaluePruning(0, make_masks=HALF)
    watch = Watch(pruning)
    fit(model, [pruning, watch], epochs=1)
    assert watch.dead == [0.0] * 3


def test_several_steps_in_one_execution():
    model = make_model(steps_per_execution=3, **TRACED)
    pruning = EigenvaluePruning(1, make_masks=HALF)
    fit(model, [pruning], epochs=2)
    assert greatest_dead(model, pruning.masks) == 0
    assert dead_slices(pruning.masks) == 19


def test_l1_shrinks_the_weights_and_an_end_without_fine_tuning_still_masks():
    sums = {}
    for strength in (0.0, 1.0):
        model = make_model(SwitchableL1(strength))
        pruning = EigenvaluePruning(2, make_masks=HALF)
        fit(model, [pruning], epochs=2)
        assert greatest_dead(model, pruning.masks) == 0
        sums[strength] = sum(np.abs(k).sum() for k in kernels_of(model).values())
    assert sums[1.0] < 0.8 * sums[0.0]


def test_too_few_epochs_warn():
    model = make_model()
    with pytest.warns(UserWarning, match="ended after 1 of 5 L1 epochs"):
        fit(model, [EigenvaluePruning(5)], epochs=1)
    assert dead_slices(masks_of(model)) == 0


def test_weights_restored_at_the_end_are_masked_again():
    model = make_model()
    pruning = EigenvaluePruning(1, make_masks=HALF)
    # In this mode a falling loss never improves: the unpruned weights of the first epoch come back.
    best = keras.callbacks.EarlyStopping("loss", restore_best_weights=True, patience=1, mode="max")
    fit(model, [best, pruning], epochs=4)
    assert greatest_dead(model, pruning.masks) == 0


@keras_saves
def test_the_users_own_constraint_stays(tmp_path):
    model = make_model(constraint=keras.constraints.MaxNorm(0.05, axis=[0, 1, 2]))
    fit(model, [EigenvaluePruning(0, make_masks=HALF)], epochs=1)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    fit(loaded, [], epochs=1)
    norms = np.linalg.norm(kernels_of(loaded)["middle"].reshape(-1, 5), axis=0)
    assert norms.max() <= 0.05 * (1 + 1e-5)
    assert greatest_dead(loaded, masks_of(model)) == 0


def test_stem_and_pointwise_can_stay_out():
    model = make_model()
    assert list(prunable(model)) == ["stem", "middle", "point"]
    assert list(prunable(model, stem=False, pointwise=False)) == ["middle"]
    pruning = EigenvaluePruning(0, make_masks=HALF, stem=False, pointwise=False)
    fit(model, [pruning], epochs=1)
    assert list(pruning.masks) == list(masks_of(model)) == ["middle"]


@keras.saving.register_keras_serializable(package="ckrm_tf_tests")
class Pair(layers.Layer):
    """Two convolutions that every instance names alike."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = layers.Conv2D(2, 3, padding="same", name="first")
        self.oblong = layers.Conv2D(2, (1, 3), padding="same", name="oblong")

    def build(self, shape):
        self.first.build(shape)
        self.oblong.build((*shape[:-1], 2))

    def call(self, x):
        return self.oblong(self.first(x))


@keras_saves
def test_nested_convolutions_by_path_and_masks_from_a_file(tmp_path):
    image = keras.Input((6, 6, 1))
    x = Pair(name="b")(Pair(name="a")(image))
    model = keras.Model(image, layers.Dense(2)(layers.Flatten()(x)))
    assert list(prunable(model)) == ["a/first", "b/first"]
    install_masks(model, HALF(kernels_of(model)))
    masks = masks_of(model)
    save_masks(tmp_path / "deep" / "masks.npz", masks)
    model.save(tmp_path / "m.keras")

    # The custom layer's configuration knows nothing of its convolutions' constraints.
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for found in (load_masks(tmp_path / "deep" / "masks.npz"), zero_masks(kernels_of(loaded))):
        assert found.keys() == masks.keys()
        for name, mask in masks.items():
            np.testing.assert_array_equal(found[name], mask)
    install_masks(loaded, masks)
    loaded.compile("adam", "mse", run_eagerly=True)
    fit(loaded, [], epochs=1)
    assert greatest_dead(loaded, masks) == 0
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["masks.npz"]


def test_slice_mask_removes_even_nan_and_its_configuration_is_exact():
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    w = np.random.default_rng(1).normal(size=(3, 3, 5, 7)).astype(np.float32)
    w[:, :, ~mask] = np.nan
    expected = np.where(mask, w, 0)
    again = SliceMask.from_config(SliceMask(mask).get_config())
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(w)), expected)
    assert len(SliceMask(mask).get_config()["bits"]) == 8  # 35 bits in 5 bytes, base64


def test_switchable_l1_is_keras_l1():
    w = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(3, 4)).astype("float32"))
    ours = SwitchableL1(0.3)
    assert float(ours(w)) == pytest.approx(float(keras.regularizers.L1(0.3)(w)), rel=1e-6)
    again = keras.regularizers.deserialize(keras.regularizers.serialize(ours))
    assert again.strength == pytest.approx(0.3)


def test_mistakes_are_refused(tmp_path):
    for bad in (-1, 1.5, True):
        with pytest.raises(CKRMError, match="l1_epochs"):
            EigenvaluePruning(bad)
    with pytest.raises(CKRMError, match="Did you mean 'min_eig"):
        EigenvaluePruning(1, "min_eg")
    with pytest.raises(CKRMError, match="threshold"):
        EigenvaluePruning(1, threshold=-1e-4)
    with pytest.raises(CKRMError, match="L1 strength"):
        SwitchableL1(float("nan"))
    with pytest.raises(CKRMError, match="mask"):
        SliceMask(np.ones(3))
    model = make_model()
    before = kernels_of(model)
    good = {"stem": np.zeros((1, 4), bool)}
    with pytest.raises(CKRMError, match="received mid"):
        install_masks(model, {**good, "mid": np.ones((1, 1), bool)})
    with pytest.raises(CKRMError, match=r"expected shape \(4, 5\)"):
        install_masks(model, {**good, "middle": np.ones((5, 4), bool)})
    assert all(np.array_equal(kernels_of(model)[name], before[name]) for name in before)
    with pytest.raises(CKRMError, match="existing file"):
        load_masks(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"not a zip")
    with pytest.raises(CKRMError, match="npz of masks"):
        load_masks(tmp_path / "bad.npz")
    np.savez(tmp_path / "floats.npz", a=np.ones((2, 2)))
    with pytest.raises(CKRMError, match="bool"):
        load_masks(tmp_path / "floats.npz")
    np.save(tmp_path / "one.npy", np.ones((2, 2)))
    with pytest.raises(CKRMError, match="npz of masks"):
        load_masks(tmp_path / "one.npy")
    dense = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    with pytest.raises(CKRMError, match="Conv2D"):
        prunable(dense)

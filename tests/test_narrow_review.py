"""Cases of plausible models and arguments that once went wrong."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from scipy import linalg

from ckrm_tf import CKRMError, Design, cost, narrow, width_groups
from ckrm_tf.families.functional import ModelFamily
from ckrm_tf.models.adapter import logits_from_unit_images
from ckrm_tf.models.facts import probabilities, read_facts
from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.mend import factor
from ckrm_tf.narrowing.narrower import Narrower
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.responses import as_inputs, evenly, gram_matrices

RNG = np.random.default_rng(3)
IMAGES = RNG.normal(size=(24, 8, 8, 3)).astype("float32")


def head(x: Any, units: int = 3, activation: str | None = None) -> Any:
    return layers.Dense(units, activation=activation)(layers.GlobalAveragePooling2D()(x))


@pytest.fixture(scope="module")
def plain() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, activation="relu", name="conv")(image)
    return keras.Model(image, head(layers.Conv2D(8, 3, activation="relu")(x)))


def between(step: Any) -> keras.Model:
    """A model with something between two convolutions."""
    image = keras.Input((8, 8, 3))
    x = step(layers.Conv2D(8, 3, padding="same", name="before")(image))
    return keras.Model(image, head(layers.Conv2D(4, 3, name="after")(x)))


def two_inputs() -> keras.Model:
    late, early = keras.Input((8, 8, 3), name="z"), keras.Input((8, 8, 3), name="a")
    x = layers.Concatenate()([layers.Conv2D(8, 3)(late), layers.Conv2D(8, 3)(early)])
    return keras.Model({"z": late, "a": early}, head(x))


# Inputs given as a dict


def test_images_in_a_dict_go_to_the_inputs_of_their_names() -> None:
    model = two_inputs()
    given = {"z": np.full((2, 8, 8, 3), 1.0), "a": np.full((2, 8, 8, 3), 2.0)}
    found = {x.name: a for x, a in zip(model.inputs, as_inputs(model, given), strict=True)}
    assert found["z"].mean() == 1
    assert found["a"].mean() == 2


def test_a_nested_model_with_a_dict_is_followed_as_it_is_called() -> None:
    inner = two_inputs()
    first, second = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    model = keras.Model([first, second], inner({"z": first, "a": second}))
    values = [ops.convert_to_tensor(IMAGES), ops.convert_to_tensor(2 * IMAGES[::-1])]
    wanted = ops.convert_to_numpy(model(values, training=False))
    np.testing.assert_allclose(keras_graph.run(model, values)[0], wanted, atol=1e-6)
    assert not np.allclose(keras_graph.run(model, values[::-1])[0], wanted, atol=1e-3)


@pytest.mark.parametrize("select", ["taylor", "pivot"])
def test_a_model_with_a_dict_is_narrowed_on_images(select: str) -> None:
    given = {"z": IMAGES, "a": 3 * IMAGES}
    small = narrow(two_inputs(), 0.5, images=given, select=select)
    assert small(given).shape == (len(IMAGES), 3)


def test_a_classifier_with_a_dict_is_asked_and_answers_by_name() -> None:
    image = keras.Input((8, 8, 3), name="picture")
    x = layers.Conv2D(4, 3)(layers.Rescaling(1 / 255)(image))
    model = keras.Model({"picture": image}, {"class": head(x, activation="softmax")})
    pixels = RNG.integers(0, 256, (5, 8, 8, 3)).astype("uint8")
    found = probabilities(model, pixels, 255, read_facts(model))
    wanted = model({"picture": pixels.astype("float32")})["class"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


# Mending


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("mend", [True, "once"])
def test_separable_convolutions_of_mixed_precision_are_mended(policy: str, mend: Any) -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, dtype=policy)(image)
    x = layers.SeparableConv2D(8, 3, dtype=policy)(x)
    small = narrow(keras.Model(image, head(x)), 0.5, images=IMAGES, mend=mend)
    assert np.isfinite(small(IMAGES)).all()


@pytest.mark.parametrize("mend", [True, "once"])
def test_a_grouped_convolution_that_reads_a_tensor_twice_is_mended(mend: Any) -> None:
    def twice(x: Any) -> Any:
        return layers.Conv2D(8, 3, groups=2)(ops.concatenate([x, x], -1))

    model = between(twice)
    whole = narrow(model, 1.0, images=IMAGES, mend=mend)
    np.testing.assert_allclose(whole(IMAGES), model(IMAGES), atol=1e-4)
    assert narrow(model, 0.5, images=IMAGES, mend=mend).count_params() < model.count_params()


def test_a_kernel_in_time_is_mended_within_a_model_that_is_called_twice() -> None:
    clip = keras.Input((2, 8, 8, 3))
    x = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"))(clip)
    x = layers.TimeDistributed(layers.Conv2D(4, 3))(x)
    tower = keras.Model(clip, layers.GlobalAveragePooling3D()(x))
    other = keras.Input((2, 8, 8, 3))
    model = keras.Model([clip, other], layers.Dense(2)(tower(clip) - tower(other)))
    clips = [RNG.normal(size=(4, 2, 8, 8, 3)).astype("float32") for _ in range(2)]
    whole = narrow(model, 1.0, images=clips)
    np.testing.assert_allclose(whole(clips), model(clips), atol=1e-4)


def test_a_constant_mask_is_not_taken_for_what_attention_reads() -> None:
    places = keras.Input((6, 8))
    asks, told = layers.Dense(12, name="asks")(places), layers.Dense(12, name="told")(places)
    layer = layers.MultiHeadAttention(2, 4, name="attention")
    x = layer(query=asks, value=told, key=told, attention_mask=np.ones((1, 6, 6), bool))
    model = keras.Model(places, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    values = RNG.normal(size=(10, 6, 8)).astype("float32")
    grams = gram_matrices(Channels(model), values)
    for name, part in (("asks", layer._query_dense), ("told", layer._value_dense)):
        read = ops.convert_to_numpy(model.get_layer(name)(values)).reshape(-1, 12)
        products = grams[id(part.kernel)].products
        np.testing.assert_allclose(products, read.T @ read, rtol=1e-3, atol=1e-3)


def test_images_are_taken_from_all_of_them() -> None:
    assert evenly(np.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert evenly(np.arange(3), 4).tolist() == [0, 1, 2]


# Which channels


def test_units_within_wrappers_and_heads_are_put_in_order_by_their_weights() -> None:
    places = keras.Input((4, 6))
    x = layers.TimeDistributed(layers.Dense(5, name="inner"), name="time")(places)
    x = layers.MultiHeadAttention(4, 3, name="attention")(x, x)
    model = keras.Model(places, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    kernel = model.get_layer("time").layer.kernel
    strength = np.array([1.0, 3.0, 2.0, 5.0, 4.0])
    kernel.assign(np.ones((6, 5)) * strength)
    attention = model.get_layer("attention")
    heads = np.array([1.0, 3.0, 4.0, 2.0])
    for name in ("query", "key", "value"):
        part = getattr(attention, f"_{name}_dense").kernel
        part.assign(np.ones(part.shape) * heads[:, None])
    out = attention._output_dense.kernel
    out.assign(np.ones(out.shape) * heads[:, None, None])
    found = Narrower(model).order("norm")
    assert found["time"].tolist() == [3, 4, 1, 2, 0]
    assert found["attention/heads"].tolist() == [2, 1, 3, 0]


# Rules


def test_ops_over_several_axes_let_channels_pass() -> None:
    model = between(lambda x: ops.flip(x, axis=(1, 2)))
    assert "before" in width_groups(model).free
    assert narrow(model, 0.5)(IMAGES).shape == (len(IMAGES), 3)
    # Keras makes this graph, and its own op cannot run it.
    groups = width_groups(between(lambda x: ops.softmax(x, axis=(1, 2))))
    assert "before" in groups.free
    groups = width_groups(between(lambda x: ops.softmax(x, axis=(2, 3))))
    assert "before" not in groups.free


def test_a_bound_for_each_channel_freezes() -> None:
    model = between(lambda x: ops.clip(x, np.zeros(8, "float32"), np.ones(8, "float32")))
    assert list(width_groups(model).free) == ["after"]
    assert narrow(model, 0.5)(IMAGES).shape == (len(IMAGES), 3)
    assert "before" in width_groups(between(lambda x: ops.clip(x, 0.0, 1.0))).free


def test_attention_over_one_axis_costs_its_pairs_alone() -> None:
    video = keras.Input((3, 5, 8))
    layer = layers.MultiHeadAttention(2, 4, attention_axes=2, name="attention")
    rows = {row.name: row.macs for row in cost(keras.Model(video, layer(video, video))).layers}
    projections = 4 * (15 * 8 * 2 * 4)
    assert rows["attention"] == projections + 3 * 5 * 5 * 2 * (4 + 4)


def test_scores_over_one_of_several_axes_freeze() -> None:
    video = keras.Input((3, 5, 8))
    layer = layers.MultiHeadAttention(2, 4, attention_axes=2, name="attention")
    outputs = layer(layers.Dense(8, name="d")(video), video, return_attention_scores=True)
    groups = width_groups(keras.Model(video, outputs))
    assert not groups.free
    assert "several axes" in groups.frozen["attention"]


# Arguments


@pytest.mark.parametrize(
    ("to", "same"),
    [
        (np.float32(0.5), 0.5),
        ({"macs": np.float32(0.5)}, {"macs": 0.5}),
        ({"params": np.int64(400)}, {"params": 400}),
    ],
)
def test_numbers_of_numpy_are_numbers(plain: keras.Model, to: Any, same: Any) -> None:
    assert narrow(plain, to).count_params() == narrow(plain, same).count_params()
    assert narrow(plain, to).count_params() < plain.count_params()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"to": 0.5, "floor": 1.5}, "floor"),
        ({"to": 0.5, "floor": 0}, "floor"),
        ({"to": 0.5, "multiple": 2.5}, "multiple"),
        ({"to": 0.5, "allocate": "best"}, "allocate"),
        ({"to": 0.5, "images": IMAGES, "ridge": "1"}, "ridge"),
        ({"keep": [0, 1]}, "keep"),
        ({"to": 0.5, "freeze": "convolution"}, "convolution"),
    ],
)
def test_wrong_arguments_are_told_in_a_line(
    plain: keras.Model, arguments: dict[str, Any], match: str
) -> None:
    with pytest.raises(CKRMError, match=match) as told:
        narrow(plain, **arguments)
    assert "\n" not in str(told.value)


def test_a_system_without_a_solution_is_told() -> None:
    products = np.array([[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(CKRMError, match="ridge"):
        factor(products, 0.5)
    solved = linalg.cho_solve(factor(products, 2.0), np.array([5.0, 5.0]))
    np.testing.assert_allclose(solved, [1.0, 1.0])


@pytest.mark.parametrize("mend", [True, "once"])
def test_channels_that_say_nothing_are_no_trouble(plain: keras.Model, mend: Any) -> None:
    assert np.isfinite(narrow(plain, 0.5, images=0 * IMAGES, mend=mend)(IMAGES)).all()


def test_one_layer_to_freeze_may_be_named_by_itself(plain: keras.Model) -> None:
    assert narrow(plain, 0.5, freeze="conv").get_layer("conv").filters == 8


def test_a_limit_on_parameters_of_a_model_that_trains_none_is_refused() -> None:
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, head(layers.Conv2D(8, 3)(image)))
    model.trainable = False
    with pytest.raises(CKRMError, match="trainable"):
        narrow(model, {"params": 0.5})
    assert narrow(model, {"macs": 0.5}).count_params() < model.count_params()


def test_labels_are_one_an_image(plain: keras.Model) -> None:
    model = keras.models.clone_model(plain)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    small = narrow(model, 0.5, images=IMAGES, labels=[0, 1] * 12, select="taylor")
    assert small.count_params() < model.count_params()
    with pytest.raises(CKRMError, match="labels"):
        narrow(model, 0.5, images=IMAGES, labels=[0, 1], select="taylor")


@pytest.mark.parametrize("shape", [(8, 8, 1), (2, 2, 3), ("a", 8, 3), 8, (0, 8, 3)])
def test_a_shape_that_does_not_fit_is_told_in_a_line(shape: Any) -> None:
    image = keras.Input((None, None, 3))
    model = keras.Model(image, head(layers.Conv2D(4, 3)(image)))
    with pytest.raises(CKRMError, match="input_shape"):
        cost(model, shape)
    assert cost(model, (5, 5, 3)).macs == 9 * 9 * 3 * 4 + 4 * 3


# Models brought to a search


def classifier(*tail: Any, units: int = 3, activation: str | None = "softmax") -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(layers.Rescaling(1 / 255)(image))
    x = head(x, units, activation)
    for layer in tail:
        x = layer(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    "model",
    [
        classifier(layers.Activation("linear", dtype="float32")),
        classifier(ops.softmax, activation=None),
        classifier(layers.Softmax(), layers.Identity(), activation=None),
    ],
    ids=["cast", "op", "layer"],
)
def test_logits_are_what_the_softmax_at_the_end_is_taken_of(model: keras.Model) -> None:
    facts = read_facts(model)
    assert facts.output == "softmax"
    images = RNG.uniform(size=(6, 8, 8, 3)).astype("float32")
    wanted = ops.convert_to_numpy(model(255 * images))
    logits = logits_from_unit_images(model, facts, (8, 8, 3), "inner")(images)
    np.testing.assert_allclose(ops.softmax(logits), wanted, atol=1e-5)
    assert not np.allclose(logits, wanted, atol=1e-3)


def test_an_output_that_is_not_what_was_said_is_refused() -> None:
    model = classifier(activation=None)
    facts = read_facts(model, output="softmax")
    with pytest.raises(CKRMError, match="softmax at the end"):
        logits_from_unit_images(model, facts, (8, 8, 3), "inner")


def test_fresh_weights_leave_what_is_not_learned() -> None:
    image = keras.Input((8, 8, 3))
    scale = layers.Normalization(name="scale")
    scale.adapt(RNG.uniform(0, 255, (20, 8, 8, 3)))
    x = layers.Conv2D(4, 3, name="conv")(scale(image))
    model = keras.Model(image, head(x, 1, "sigmoid"))
    family = ModelFamily(model, read_facts(model), (8, 8, 3), fresh=True)
    network = family.build(Design({"conv": 2}))
    found = dict(keras_graph.leaves(network))
    np.testing.assert_array_equal(found["two_classes"].kernel, [[0.0, 1.0]])
    np.testing.assert_array_equal(found["model_as_given/scale"].mean, scale.mean)
    kernel = ops.convert_to_numpy(model.get_layer("conv").kernel)
    ours = ops.convert_to_numpy(found["model_as_given/conv"].kernel)
    assert not any(np.allclose(kernel[..., i], ours[..., 0]) for i in range(4))

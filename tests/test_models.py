"""Models that a user brings: reading them, what they tell, and the interface of a search."""

from __future__ import annotations

import json
import sys
import textwrap
import warnings

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from ckrm_tf import CKRMError
from ckrm_tf.models.adapter import logits_from_unit_images
from ckrm_tf.models.facts import as_pixels, as_probabilities, probabilities, read_facts
from ckrm_tf.models.load import load_layers, load_model

# Keras 3.15 reads variables through an __array__ without NumPy 2's copy argument when it saves.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def classifier(*first, units=3, activation="softmax", channels=3, last=()):
    """A small network; its weights are drawn with a fixed seed."""
    keras.utils.set_random_seed(5)
    image = keras.Input((8, 8, channels))
    x = image
    for layer in first:
        x = layer(x)
    x = layers.Conv2D(4, 3, activation="relu")(x)
    x = layers.Dense(units, activation=activation)(layers.GlobalAveragePooling2D()(x))
    for layer in last:
        x = layer(x)
    return keras.Model(image, x)


RANGES = {
    "rescaling": ([layers.Rescaling(1 / 255)], (0, 255)),
    "rescaling to -1": ([layers.Rescaling(1 / 127.5, -1)], (0, 255)),
    "rescaling of unit images": ([layers.Rescaling(2.0, -1)], (0, 1)),
    "after augmentation": ([layers.RandomFlip(), layers.Rescaling(1 / 255)], (0, 255)),
    "normalization": ([layers.Normalization(mean=120.0, variance=900.0)], (0, 255)),
    "normalization of unit images": ([layers.Normalization(mean=0.4, variance=0.1)], (0, 1)),
}


@pytest.mark.parametrize("name", RANGES)
def test_the_range_is_found_where_a_layer_tells_it(name):
    first, (low, high) = RANGES[name]
    facts = read_facts(classifier(*first))
    assert (facts.low, facts.high) == (low, high)
    assert facts.sources[0].startswith("layer ")


def test_the_range_is_found_inside_a_nested_model():
    pre = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255)], name="pre")
    assert read_facts(classifier(pre)).high == 255


@pytest.mark.parametrize("first", [[], [layers.Rescaling(1 / 4095)], [layers.BatchNormalization()]])
def test_a_range_that_nothing_tells_is_asked_for(first):
    with pytest.raises(CKRMError, match="--pixels LOW,HIGH"):
        read_facts(classifier(*first))
    assert read_facts(classifier(*first), pixels=(-1, 1)).low == -1


def test_a_range_the_wrong_way_round_is_refused():
    with pytest.raises(CKRMError, match="LOW below HIGH"):
        read_facts(classifier(), pixels=(1, 0))


def test_the_kind_of_output():
    unit = (0, 1)
    assert read_facts(classifier(), pixels=unit).output == "softmax"
    one = read_facts(classifier(units=1, activation="sigmoid"), pixels=unit)
    assert (one.output, one.classes) == ("sigmoid", 2)
    soft = classifier(activation=None, last=[layers.Softmax()])
    assert read_facts(soft, pixels=unit).output == "softmax"
    plain = classifier(activation=None)
    with pytest.raises(CKRMError, match="--output"):
        read_facts(plain, pixels=unit)
    assert read_facts(plain, pixels=unit, output="logits").output == "logits"
    plain.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert read_facts(plain, pixels=unit).sources[1] == "its loss"
    with pytest.raises(CKRMError, match="Did you mean 'logits'"):
        read_facts(plain, pixels=unit, output="logit")


def test_other_forms_are_refused():
    image = keras.Input((8, 8, 3))
    with pytest.raises(CKRMError, match="one image"):
        read_facts(keras.Model(image, layers.Conv2D(2, 3)(image)))


def test_images_as_a_model_takes_them():
    facts = read_facts(classifier(), pixels=(-1, 1))
    grey = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(4, 1).repeat(4, 2)
    grey = np.resize(grey, (1, 8, 8, 1))
    found = as_pixels(grey, 255, facts)
    assert found.shape == (1, 8, 8, 3)
    assert (found.min(), found.max()) == (-1, 1)
    with pytest.raises(CKRMError, match="height"):
        as_pixels(grey[:, :4], 255, facts)
    one = read_facts(classifier(channels=1), pixels=(0, 1))
    with pytest.raises(CKRMError, match="--channels 1"):
        as_pixels(np.zeros((1, 8, 8, 3), np.uint8), 255, one)


def test_probabilities_add_up():
    raw = np.array([[0.5, -1.0, 2.0]])
    assert as_probabilities(raw, "logits").sum() == pytest.approx(1)
    assert as_probabilities(raw[:, :1], "sigmoid").tolist() == [[0.5, 0.5]]
    assert as_probabilities(np.zeros((1, 1)), "logits").tolist() == [[0.5, 0.5]]


ADAPTED = {
    "softmax": {},
    "softmax layer": {"activation": None, "last": [layers.Softmax()]},
    "activation layer": {"activation": None, "last": [layers.Activation("softmax")]},
    "logits": {"activation": None},
    "one sigmoid": {"units": 1, "activation": "sigmoid"},
}


@pytest.mark.parametrize("name", ADAPTED)
def test_the_search_sees_the_same_network(name):
    output = "logits" if name == "logits" else None
    make = ADAPTED[name]
    facts = read_facts(classifier(**make), pixels=(-1, 1), output=output)
    images = np.random.default_rng(1).integers(0, 256, (6, 8, 8, 1), np.uint8)
    wanted = probabilities(classifier(**make), images, 255, facts)
    network = logits_from_unit_images(classifier(**make), facts, (8, 8, 1), "inner")
    logits = keras.ops.convert_to_numpy(network((images / 255).astype("float32")))
    found = as_probabilities(logits, "logits")
    assert np.ptp(wanted, axis=0).max() > 1e-3
    assert found == pytest.approx(wanted, abs=1e-6)
    # Other images are other answers: the comparison above can fail.
    assert np.abs(found[::-1] - wanted).max() > 1e-3


def test_a_file_of_keras_2_is_read(tmp_path):
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, name="c1")(image)
    x = layers.Conv2DTranspose(4, 3)(layers.DepthwiseConv2D(3)(x))
    model = keras.Model(image, layers.Conv2D(8, 3, name="c2")(x))
    path = tmp_path / "k2.h5"
    with warnings.catch_warnings(action="ignore"):
        model.save(path)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] in ("DepthwiseConv2D", "Conv2DTranspose"):
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
    read = load_model(path)
    x = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype("float32")
    assert np.array_equal(read(x), model(x))


@pytest.mark.parametrize("kind", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["MODEL.KERAS", "model.H5", "model", "model.h5", "model.keras"])
def test_the_content_tells_the_format_whatever_the_name(kind, name, tmp_path):
    model = classifier(layers.Rescaling(1 / 255))
    with warnings.catch_warnings(action="ignore"):
        model.save(tmp_path / f"saved{kind}")
    path = tmp_path / "given" / name
    path.parent.mkdir()
    (tmp_path / f"saved{kind}").rename(path)
    x = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    assert np.array_equal(load_model(path)(x), model(x))
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.keras", "a.h5", "a.bin"])
def test_what_is_no_model_at_all_is_told_as_such(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(CKRMError, match=rf"{name}: .*neither a zip archive nor HDF5"):
        load_model(tmp_path / name)
    # A cut file of the right kind has a cause of its own.
    with h5py.File(tmp_path / "cut.h5", "w") as file:
        file["x"] = np.zeros(3)
    with pytest.raises(CKRMError, match="Keras says") as caught:
        load_model(tmp_path / "cut.h5")
    assert "neither" not in str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(CKRMError, match="no such file"):
        load_model(tmp_path / "none.keras")
    with pytest.raises(CKRMError, match="a folder"):
        load_model(tmp_path)
    (tmp_path / "text.keras").write_text("not a model")
    with pytest.raises(CKRMError, match=r"text\.keras"):
        load_model(tmp_path / "text.keras")


def test_a_lambda_needs_leave(tmp_path):
    image = keras.Input((4,))
    model = keras.Model(image, layers.Lambda(lambda x: x * 2)(image))
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(CKRMError, match="--unsafe"):
        load_model(tmp_path / "lambda.keras")
    assert float(load_model(tmp_path / "lambda.keras", unsafe=True)(np.ones((1, 4)))[0, 0]) == 2


def test_a_layer_of_ones_own_needs_its_module(tmp_path):
    source = tmp_path / "gates_of_mine.py"
    source.write_text(
        textwrap.dedent(
            """
            import keras

            class AttentionGate(keras.layers.Layer):
                def call(self, x):
                    return x * 2
            """
        )
    )
    module: dict = {}
    exec(source.read_text(), module)
    image = keras.Input((4,))
    keras.Model(image, module["AttentionGate"]()(image)).save(tmp_path / "own.keras")
    with pytest.raises(CKRMError, match="AttentionGate"):
        load_model(tmp_path / "own.keras")
    read = load_model(tmp_path / "own.keras", custom=str(source))
    assert float(read(np.ones((1, 4)))[0, 0]) == 2
    with pytest.raises(CKRMError, match="--custom"):
        load_model(tmp_path / "own.keras", custom="no_such_module_at_all")


LAYER = """
from __future__ import annotations
from dataclasses import dataclass
import keras

@dataclass
class Amount:
    number: float = {gain}

class Scaled(keras.layers.Layer):
    def call(self, x):
        return Amount().number * x
"""


def test_custom_files_of_one_stem_do_not_replace_each_other_or_a_package(tmp_path):
    image = keras.Input((2,))
    places = {}
    for gain in (2.0, 3.0):
        place = tmp_path / f"model{gain:.0f}" / "keras.py"
        place.parent.mkdir()
        place.write_text(LAYER.format(gain=gain))
        places[gain] = place
    found = {}
    for gain, place in places.items():
        kind = load_layers(str(place))["Scaled"]
        keras.Model(image, kind()(image)).save(place.parent / "own.keras")
        found[gain] = kind
    assert sys.modules["keras"] is keras
    ones = np.ones((1, 2), np.float32)
    for gain, place in places.items():
        read = load_model(place.parent / "own.keras", custom=str(place))
        np.testing.assert_array_equal(read(ones), gain * ones)
        # The same file is the same module, where dataclasses and pickle look for it.
        assert load_layers(str(place))["Scaled"] is found[gain]
        assert vars(sys.modules[found[gain].__module__])["Scaled"] is found[gain]


def test_a_custom_file_that_fails_leaves_no_module(tmp_path):
    place = tmp_path / "broken.py"
    place.write_text("first = 1\nraise RuntimeError('not ready')\n")
    before = set(sys.modules)
    for _ in range(2):
        with pytest.raises(CKRMError, match="RuntimeError: not ready"):
            load_layers(str(place))
    assert not [name for name in set(sys.modules) - before if "broken" in name]


def test_a_custom_file_that_exits_is_an_error_in_words(tmp_path):
    place = tmp_path / "script.py"
    place.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(CKRMError, match=r"script\.py: .*SystemExit: 3"):
        load_layers(str(place))


def test_functions_of_a_custom_file_are_known(tmp_path):
    place = tmp_path / "mine.py"
    place.write_text(
        "from math import sqrt\nimport keras\n\n"
        "def twice(x):\n    return 2 * x\n\n"
        "class Small(keras.regularizers.Regularizer):\n"
        "    def __call__(self, x):\n        return 0 * keras.ops.sum(x)\n"
        "    def get_config(self):\n        return {}\n"
    )
    known = load_layers(str(place))
    assert set(known) == {"twice", "Small"}
    image = keras.Input((2,))
    dense = layers.Dense(2, activation=known["twice"], kernel_regularizer=known["Small"]())
    model = keras.Model(image, dense(image))
    model.save(tmp_path / "own.keras")
    with pytest.raises(CKRMError, match=r"twice|Small"):
        load_model(tmp_path / "own.keras")
    ones = np.ones((1, 2), np.float32)
    read = load_model(tmp_path / "own.keras", custom=str(place))
    np.testing.assert_array_equal(read(ones), model(ones))

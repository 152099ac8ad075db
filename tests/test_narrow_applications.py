"""The laws on the architectures of keras.applications, at random weights."""

from __future__ import annotations

import time

import keras
import narrow_laws
import numpy as np
import pytest

from ckrm_tf import cost
from ckrm_tf.narrowing.plan import Channels

# Free width groups. Torch-Pruning finds as many in the architectures that it knows too.
GROUPS = {
    "ResNet50": 37,
    "ResNet50V2": 37,
    "VGG16": 15,
    "MobileNetV2": 25,
    "MobileNetV3Small": 27,
    "EfficientNetB0": 40,
    "EfficientNetV2B0": 44,
    "DenseNet121": 120,
    "InceptionV3": 94,
    "Xception": 28,
    "ConvNeXtTiny": 22,
    "NASNetMobile": 128,
}
# Trainable parameters at 224 px and 1000 classes, whole and with half of every width. Of the two
# that Torch-Pruning 1.6.1 narrows to the same layers, equal to the parameter.
HALVED = {
    "ResNet50": (25_583_592, 6_930_920),
    "MobileNetV2": (3_504_872, 1_221_768),
    "DenseNet121": (7_978_856, 2_274_728),
}


def build(name, size=None, classes=10):
    keras.utils.set_random_seed(0)
    side = size or (96 if name in ("InceptionV3", "Xception") else 64)
    return getattr(keras.applications, name)(
        weights=None, input_shape=(side, side, 3), classes=classes, classifier_activation=None
    )


def pictures(model):
    """Images in the range that the model's own rescaling expects."""
    (x,) = narrow_laws.images(model, np.random.default_rng(1))
    return [np.clip(127 + 60 * x, 0, 255).astype("float32")]


@pytest.mark.parametrize("name", GROUPS)
def test_laws_hold_on_a_published_architecture(name):
    started = time.process_time()
    model = build(name)
    subject = narrow_laws.Subject(model, pictures(model))
    narrow_laws.identity(subject)
    narrow_laws.masked_equality(subject)
    narrow_laws.prediction(subject)
    narrow_laws.names(subject)
    narrow_laws.negative_control(subject)
    groups = subject.channels.groups
    assert len(groups.free) == GROUPS[name]
    # Only the classes are not free, and no layer is without a rule.
    assert [g.reason for g in groups.values() if not g.free] == ["it is an output of the model"]
    assert not groups.frozen
    params, macs = (
        after / before
        for after, before in zip(
            subject.channels.costs(subject.keep),
            subject.channels.costs(subject.channels.all()),
            strict=True,
        )
    )
    print(
        f"{name}: {len(groups.free)} free groups, {free_share(groups):.2%} of all channels free; "
        f"half of every width keeps {params:.3f} of the parameters, {macs:.3f} of the MACs; "
        f"{time.process_time() - started:.0f} CPU s"
    )


def free_share(groups):
    """The share of the channels of all groups, classes included, that is free."""
    total = sum(g.width * g.step * len(g.layers) for g in groups.values())
    return sum(g.width * g.step * len(g.layers) for g in groups.free.values()) / total


@pytest.mark.parametrize("name", HALVED)
def test_half_of_every_width_gives_the_known_parameters(name):
    channels = Channels(build(name, 224, 1000))
    keep = {g: np.arange(len(m) // 2) for g, m in channels.units.members.items()}
    before, after = HALVED[name]
    assert channels.costs(channels.all())[0] == before == cost(channels.model).params
    assert channels.costs(keep)[0] == after

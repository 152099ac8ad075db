"""The project's own layers once they are narrowed: what their settings say and how they load."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from narrow_zoo import block, head, image

from ckrm_tf import CAMHead, CKRMError, SlimConv2D, channel_rule, narrow, width_groups


def slim(**settings):
    i = image(8, 8, 12)
    return keras.Model(i, head(SlimConv2D(name="slim", **settings)(block(i, 16))))


def test_a_config_without_a_shape_loads_as_before():
    layer = SlimConv2D(2, name="slim")
    config = layer.get_config()
    assert config.pop("shape") is None
    back = SlimConv2D.from_config(config)
    for made in (layer, back):
        made.build((None, 8, 8, 24))
    assert [w.shape for w in layer.weights] == [w.shape for w in back.weights]


def test_a_given_shape_stands_for_the_ratio():
    by_ratio, by_shape, other = (
        SlimConv2D(4 / 3),
        SlimConv2D(4 / 3, shape=(1, 8, 8, 4, 4)),
        SlimConv2D(4 / 3, shape=(2, 8, 7, 3, 5)),
    )
    for layer in (by_ratio, by_shape, other):
        layer.build((None, 8, 8, 16))
    assert by_ratio.count_params() == by_shape.count_params() != other.count_params()
    assert other.compute_output_shape((None, 8, 8, 16)) == (None, 8, 8, 12)
    assert other(np.ones((1, 8, 8, 16), "float32")).shape == (1, 8, 8, 12)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 2, 3, 4, 0), (1, 2, 3, 4, 5.0), "12345"])
def test_a_shape_that_is_none_is_refused(shape):
    with pytest.raises(CKRMError, match="SlimConv shape: expected five whole numbers"):
        SlimConv2D(shape=shape)


@pytest.mark.parametrize(
    ("settings", "width", "step"),
    # 16 channels are folded to 8: c, c + 8, 7 - c and 15 - c go together.
    [({}, 4, 4), ({"ratio": 8 / 3}, 2, 8), ({"groups": 2}, 2, 8)],
)
def test_channels_that_are_folded_together_go_together(settings, width, step):
    group = next(iter(width_groups(slim(**settings)).values()))
    assert (group.width, group.step) == (width, step)


def test_a_narrowed_slim_layer_says_its_inner_widths():
    small = narrow(slim(), 0.5).get_layer("slim")
    assert small.shape == (1, 4, 4, 2, 2)
    assert small.get_config()["shape"] == (1, 4, 4, 2, 2)


def test_a_narrowed_head_keeps_its_divisor():
    i = image()
    model = keras.Model(i, CAMHead(3, name="maps")(block(i, 8)))
    first = narrow(model, 0.5)
    second = narrow(first, 0.5)
    assert [m.get_layer("maps").get_config()["divisor"] for m in (model, first, second)] == [
        None,
        8,
        8,
    ]
    assert second.get_layer("maps").kernel.shape == (2, 3)
    with pytest.raises(CKRMError, match="CAMHead divisor"):
        CAMHead(3, divisor=0)


def test_a_channel_rule_that_is_wrong_is_named():
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return x * 2

    with pytest.raises(CKRMError, match="channel_rule: expected a layer class"):
        channel_rule("Doubled")

    i = image()
    model = keras.Model(i, head(Doubled()(block(i, 8))))
    channel_rule(Doubled)(lambda call: [[None, None, None, call.channels()[:4]]])
    with pytest.raises(CKRMError, match=r"channel rule of Doubled: expected .* as many channels"):
        width_groups(model)
    channel_rule(Doubled)(lambda call: [])
    with pytest.raises(CKRMError, match="channel rule of Doubled: expected a list of 1 outputs"):
        width_groups(model)
    channel_rule(Doubled)(lambda call: call.same())
    assert len(width_groups(model).free) == 1

"""Random small graphs of many kinds of layers, drawn by Hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from hypothesis import strategies as st
from keras import layers, ops

Draw = Callable[[st.SearchStrategy[Any]], Any]
SIDE = 8
# Maps are (batch, SIDE, SIDE, channels) between the blocks, so that any two can be joined.
WIDEST = 24


def _conv(draw: Draw, x: Any) -> Any:
    return layers.Conv2D(
        draw(st.integers(2, 8)),
        draw(st.sampled_from([1, 2, 3])),
        padding="same",
        use_bias=draw(st.booleans()),
        activation=draw(st.sampled_from([None, "relu", "gelu", "sigmoid", "tanh"])),
    )(x)


def _grouped(draw: Draw, x: Any) -> Any:
    divisors = [n for n in (2, 3, 4) if x.shape[-1] % n == 0]
    if not divisors:
        return _conv(draw, x)
    groups = draw(st.sampled_from(divisors))
    return layers.Conv2D(groups * draw(st.integers(1, 3)), 3, padding="same", groups=groups)(x)


def _channelwise(draw: Draw, x: Any) -> Any:
    width = x.shape[-1]
    return layers.Conv2D(width * draw(st.integers(1, 2)), 2, padding="same", groups=width)(x)


def _depthwise(draw: Draw, x: Any) -> Any:
    return layers.DepthwiseConv2D(3, padding="same", depth_multiplier=draw(st.integers(1, 2)))(x)


def _separable(draw: Draw, x: Any) -> Any:
    return layers.SeparableConv2D(
        draw(st.integers(2, 8)), 3, padding="same", depth_multiplier=draw(st.integers(1, 2))
    )(x)


def _transposed(draw: Draw, x: Any) -> Any:
    x = layers.Conv2DTranspose(draw(st.integers(2, 8)), 2, strides=2)(x)
    return layers.MaxPooling2D()(x)


def _batch_norm(draw: Draw, x: Any) -> Any:
    return layers.BatchNormalization(scale=draw(st.booleans()), center=draw(st.booleans()))(x)


def _norm(draw: Draw, x: Any) -> Any:
    kind = draw(st.sampled_from(["layer", "rms", "group", "instance", "one"]))
    if kind == "layer":
        return layers.LayerNormalization()(x)
    if kind == "rms":
        return layers.RMSNormalization()(x)
    width = x.shape[-1]
    groups = {"instance": width, "one": 1}.get(kind, 2 if width % 2 == 0 else 1)
    return layers.GroupNormalization(groups)(x)


def _activation(draw: Draw, x: Any) -> Any:
    kind = draw(st.sampled_from(["relu", "leaky", "prelu", "shared", "silu", "op", "clip"]))
    if kind == "op":
        return ops.relu6(x) + 0.5
    if kind == "clip":
        return ops.clip(x * 2.0, -1.0, 3.0)
    made = {
        "relu": layers.ReLU,
        "leaky": layers.LeakyReLU,
        "prelu": layers.PReLU,
        "shared": lambda: layers.PReLU(shared_axes=[1, 2]),
        "silu": lambda: layers.Activation("silu"),
    }[kind]
    return made()(x)


def _squeeze(draw: Draw, x: Any) -> Any:
    width = x.shape[-1]
    s = layers.GlobalAveragePooling2D(keepdims=draw(st.booleans()))(x)
    s = s if len(s.shape) == 4 else layers.Reshape((1, 1, width))(s)
    s = layers.Dense(draw(st.integers(2, 4)), activation="relu")(s)
    return layers.Multiply()([x, layers.Dense(width, activation="sigmoid")(s)])


def _gate(draw: Draw, x: Any) -> Any:
    return x * layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)


def _slice(draw: Draw, x: Any) -> Any:
    width = x.shape[-1]
    if width < 3:
        return x
    start = draw(st.integers(0, width - 2))
    stop = draw(st.integers(start + 2, width))
    return x[..., start:stop]


def _split(draw: Draw, x: Any) -> Any:
    width = x.shape[-1]
    if width < 4:
        return x
    point = draw(st.integers(2, width - 2))
    a, b = ops.split(x, [point], axis=-1)
    if draw(st.booleans()):
        b = _conv(draw, b)
    return ops.concatenate([b, a], axis=-1)


def _pad(draw: Draw, x: Any) -> Any:
    before, after = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    return ops.pad(x, [[0, 0], [0, 0], [0, 0], [before, after]])


def _shuffle(draw: Draw, x: Any) -> Any:
    width = x.shape[-1]
    divisors = [n for n in (2, 3, 4) if width % n == 0]
    if not divisors:
        return ops.flip(x, axis=-1)
    groups = draw(st.sampled_from(divisors))
    x = layers.Reshape((SIDE, SIDE, groups, width // groups))(x)
    return layers.Reshape((SIDE, SIDE, width))(layers.Permute((1, 2, 4, 3))(x))


def _places(draw: Draw, x: Any) -> Any:
    kind = draw(st.sampled_from(["pool", "crop", "bilinear", "mix"]))
    if kind == "pool":
        return layers.UpSampling2D()(layers.AveragePooling2D(2)(x))
    if kind == "crop":
        return layers.ZeroPadding2D()(layers.Cropping2D()(x))
    if kind == "bilinear":
        return layers.UpSampling2D(interpolation="bilinear")(layers.MaxPooling2D()(x))
    # A dense layer along the places, as in a mixer.
    y = layers.Permute((2, 1))(layers.Reshape((SIDE * SIDE, x.shape[-1]))(x))
    y = layers.Permute((2, 1))(layers.Dense(SIDE * SIDE)(y))
    return layers.Reshape((SIDE, SIDE, x.shape[-1]))(y)


def _dense(draw: Draw, x: Any) -> Any:
    return layers.Dense(draw(st.integers(2, 8)), activation=draw(st.sampled_from([None, "elu"])))(x)


def _shared(draw: Draw, x: Any) -> Any:
    layer = layers.Conv2D(x.shape[-1], 3, padding="same", activation="relu")
    return layer(layer(x))


def _nested(draw: Draw, x: Any) -> Any:
    inside = keras.Input(tuple(x.shape[1:]))
    y = _activation(draw, _batch_norm(draw, _conv(draw, inside)))
    model = keras.Model(inside, y)
    if y.shape[-1] == x.shape[-1] and draw(st.booleans()):
        return model(model(x))
    return model(x)


def _attention(draw: Draw, x: Any) -> Any:
    width = x.shape[-1]
    y = layers.Reshape((SIDE * SIDE, width))(layers.UpSampling2D()(layers.MaxPooling2D()(x)))
    y = layers.MultiHeadAttention(draw(st.integers(1, 3)), draw(st.integers(2, 3)))(y, y)
    return layers.Reshape((SIDE, SIDE, width))(y)


STEPS = (
    *(_conv, _grouped, _channelwise, _depthwise, _separable, _transposed, _batch_norm, _norm),
    *(_activation, _squeeze, _gate, _slice, _split, _pad, _shuffle, _places, _dense, _shared),
    *(_nested, _attention),
)
JOINS = ("add", "multiply", "maximum", "concatenate", "op", "space")


def _join(draw: Draw, x: Any, y: Any) -> Any:
    kind = draw(st.sampled_from(JOINS))
    if kind == "concatenate" or x.shape[-1] != y.shape[-1]:
        return layers.Concatenate()([x, y])
    if kind == "op":
        return ops.where(x > y, x, 0.3 * y)
    if kind == "space":
        return layers.MaxPooling2D((2, 1))(layers.Concatenate(axis=1)([x, y]))
    made = {"add": layers.Add, "multiply": layers.Multiply, "maximum": layers.Maximum}[kind]
    return made()([x, y])


def graph(draw: Draw) -> keras.Model:
    """A model on (SIDE, SIDE, 3) images with one or two outputs.

    It is built inside the test, since Keras draws seeds of its own while it builds.
    """
    keras.backend.clear_session()
    inputs = keras.Input((SIDE, SIDE, 3))
    known = [_conv(draw, inputs)]
    for _ in range(draw(st.integers(2, 7))):
        x = known[draw(st.integers(0, len(known) - 1))]
        if len(known) > 1 and draw(st.integers(0, 2)) == 0:
            y = known[draw(st.integers(0, len(known) - 1))]
            x = x if x is y else _join(draw, x, y)
        else:
            x = draw(st.sampled_from(STEPS))(draw, x)
        if x.shape[-1] <= WIDEST:
            known.append(x)
    last = known[-1]
    last = layers.Flatten()(last) if draw(st.booleans()) else layers.GlobalAveragePooling2D()(last)
    outputs = [layers.Dense(3)(last)]
    if draw(st.integers(0, 3)) == 0:
        outputs.append(layers.Conv2D(2, 1)(known[len(known) // 2]))
    return keras.Model(inputs, outputs)

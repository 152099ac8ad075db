"""Models of the table for each kind of layer."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops
from narrow_zoo import block, case, head, image

from ckrm_tf import Layout, Stage, Widths, channel_rule, resnet
from ckrm_tf.layers.cam import CAMHead, cam_model
from ckrm_tf.pruning.constraint import SliceMask


@case(free=6)
def residual():
    i = image()
    first = block(i, 8)
    x = layers.Add()([first, block(first, 8)])
    x = layers.Average()([x, block(x, 8)])
    x = layers.Maximum()([x, layers.Minimum()([x, block(x, 8)])])
    x = layers.Concatenate()([block(x, 12), first])
    x = layers.Subtract()([block(x, 6), block(x, 6)])
    x = layers.Activation("gelu")(block(x, 6, dilation_rate=2))
    x = layers.Conv2D(8, 1, activation="relu")(x)
    return keras.Model(i, head(layers.Dense(6, activation=layers.LeakyReLU())(x)))


@case(free=2)
def plain():
    return keras.Sequential(
        [
            image(),
            layers.RandomFlip("horizontal"),
            layers.RandomBrightness(0.1, value_range=(-3, 3)),
            layers.Rescaling(1 / 2, offset=0.1),
            layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0]),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.SpatialDropout2D(0.2),
            layers.Conv2D(12, 3, activation="elu", use_bias=False),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


@case(free=3)
def softmax_head():
    i = image()
    x = layers.Flatten()(layers.ELU()(block(block(i, 8), 6)))
    x = layers.Dense(10, activation="tanh")(x)
    return keras.Model(i, layers.Dense(4, activation="softmax")(x))


@case(free=2)
def softmax_inside():
    i = image()
    x = block(i, 8)
    x = layers.Conv2D(6, 3, activation="softmax")(x)
    x = layers.Activation("sparsemax")(layers.Conv2D(6, 3)(x))
    x = ops.log_softmax(layers.Conv2D(6, 3)(x))
    x = layers.Conv2D(6, 3)(x)
    x = layers.Softmax(axis=[1, 2])(x)
    return keras.Model(i, layers.Dense(3)(layers.GlobalMaxPooling2D()(x * 16.0)))


@case(free=4)
def grouped():
    i = image()
    x = block(block(i, 16), 16, groups=4)
    x = layers.Conv2D(24, 3, groups=4, padding="same")(x)
    x = layers.Conv2D(24, 3, groups=24)(x)
    x = layers.Conv2D(48, 3, groups=24)(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.SeparableConv2D(10, 3, depth_multiplier=2)(x)
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@case(free=5)
def resnext():
    i = image()
    x = block(i, 16)
    for _ in range(2):
        y = block(block(x, 16, 1), 16, groups=4)
        x = layers.Add()([x, layers.BatchNormalization()(layers.Conv2D(16, 1)(y))])
    return keras.Model(i, head(x))


@case(free=2)
def depthwise_first():
    i = image()
    x = layers.DepthwiseConv2D(3, depth_multiplier=4)(i)
    x = layers.SeparableConv2D(12, 3)(layers.PReLU()(x))
    x = layers.PReLU(shared_axes=[1, 2])(layers.SeparableConv2D(8, 3, padding="same")(x))
    return keras.Model(i, head(x))


@case(free=4)
def unet_batch_norm():
    return _unet(layers.BatchNormalization)


@case(free=4)
def unet_group_norm():
    return _unet(lambda: layers.GroupNormalization(4))


@case(free=4)
def unet_layer_norm():
    return _unet(layers.LayerNormalization)


def _unet(norm):
    i = image()
    x = norm()(layers.Conv2D(8, 3, padding="same", activation="relu")(i))
    y = norm()(layers.Conv2D(16, 3, padding="same", activation="relu")(layers.MaxPooling2D()(x)))
    z = norm()(layers.Conv2DTranspose(8, 2, strides=2, activation="relu")(y))
    u = layers.Concatenate()([x, z])
    u = norm()(layers.Conv2D(8, 3, padding="same", activation="relu")(u))
    u = layers.Concatenate()([u, layers.UpSampling2D(interpolation="bilinear")(y)])
    return keras.Model(i, layers.Conv2D(2, 1)(u))


@case(free=4)
def norms():
    i = image()
    x = layers.GroupNormalization(4)(layers.Conv2D(16, 3)(i))
    x = layers.GroupNormalization(-1)(layers.Conv2D(12, 3)(x))
    x = layers.GroupNormalization(1)(layers.Conv2D(12, 3)(x))
    x = layers.RMSNormalization()(layers.Conv2D(12, 3)(x))
    x = layers.LayerNormalization(axis=[1, 2, 3])(layers.UnitNormalization()(x))
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@case(free=3)
def one_dimension():
    i = image(32, 2)
    x = layers.Conv1D(8, 3, dilation_rate=2, padding="causal", activation="relu")(i)
    x = layers.SeparableConv1D(12, 3)(layers.DepthwiseConv1D(3, depth_multiplier=2)(x))
    x = layers.UpSampling1D()(layers.ZeroPadding1D()(layers.Cropping1D()(x)))
    x = layers.Conv1DTranspose(6, 3)(layers.AveragePooling1D(2)(layers.MaxPooling1D()(x)))
    x = layers.GlobalAveragePooling1D()(layers.SpatialDropout1D(0.1)(x))
    return keras.Model(i, layers.Dense(3)(x))


@case(free=3)
def three_dimensions():
    i = image(8, 8, 8, 2)
    x = layers.Conv3D(8, 3, padding="same")(i)
    x = layers.BatchNormalization()(layers.MaxPooling3D()(x))
    x = layers.Conv3DTranspose(6, 2, strides=2)(layers.ReLU()(x))
    x = layers.Conv3D(4, 1)(layers.AveragePooling3D(2)(layers.SpatialDropout3D(0.1)(x)))
    x = layers.Cropping3D()(layers.ZeroPadding3D()(layers.UpSampling3D()(x)))
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling3D(keepdims=True)(x)))


@case(free=2)
def places():
    i = image()
    x = layers.ZeroPadding2D()(layers.Conv2D(8, 3)(i))
    x = layers.Cropping2D()(layers.AveragePooling2D(2)(layers.Identity()(x)))
    x = layers.Resizing(9, 9)(layers.GaussianNoise(0.1)(x))
    x = layers.Conv2D(6, 3)(layers.GaussianDropout(0.1)(layers.AlphaDropout(0.1)(x)))
    x = layers.ActivityRegularization(1e-4)(layers.GlobalMaxPooling2D(keepdims=True)(x))
    return keras.Model(i, layers.Dense(3)(layers.Flatten()(x)))


@case(free=2)
def decoder():
    i = keras.Input((10,))
    x = layers.Reshape((4, 4, 6))(layers.Dense(4 * 4 * 6, activation="relu")(i))
    return keras.Model(i, layers.Conv2D(1, 1)(block(layers.UpSampling2D()(x), 8)))


@case(free=4)
def squeeze_and_gates():
    i = image()
    x = block(i, 12)
    s = layers.Reshape((1, 1, 12))(layers.GlobalAveragePooling2D()(x))
    s = layers.Dense(12, activation="sigmoid")(layers.Dense(4, activation="relu")(s))
    x = block(layers.Multiply()([x, s]), 8)
    x = layers.Multiply()([x, layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x)])
    # Efficient channel attention: the channels are places for a while.
    e = layers.Reshape((8, 1))(layers.GlobalAveragePooling2D()(x))
    x = x + layers.Reshape((1, 1, 8))(e)
    return keras.Model(i, head(block(x, 6)))


@case(free=2)
def cbam():
    i = image()
    x = block(i, 8)
    mean, most = ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)
    gate = layers.Conv2D(1, 3, padding="same", activation="sigmoid")
    x = x * gate(layers.Concatenate()([mean, most]))
    return keras.Model(i, head(block(block(x, 8), 6)))


@case(free=3)
def shuffle():
    i = image()
    x = block(i, 18)
    h = layers.Permute((1, 2, 4, 3))(layers.Reshape((16, 16, 3, 6))(x))
    h = block(layers.Reshape((16, 16, 18))(h), 12, groups=3)
    return keras.Model(i, head(block(h, 8)))


@case(free=5)
def vision_transformer():
    i = image()
    x = layers.Reshape((16, 16))(layers.Conv2D(16, 4, 4)(i))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 6)(y, y)])
        y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(16)(y)
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@case(free=5)
def cross_attention():
    i, j = image(), keras.Input((7, 5))
    x = layers.Reshape((64, 8))(layers.Conv2D(8, 2, 2)(i))
    y = layers.Conv1D(12, 1)(j)
    z = layers.MultiHeadAttention(2, 4, value_dim=5, output_shape=10)(x, y, key=y)
    z = layers.Dense(6, activation="relu")(z)
    return keras.Model([i, j], layers.Dense(3)(layers.GlobalMaxPooling1D()(z)))


@case(free=3)
def grouped_attention():
    i = image()
    x = layers.Reshape((64, 8))(layers.Conv2D(8, 2, 2)(i))
    x = x + layers.GroupQueryAttention(4, 8, 4)(x, x)
    x = layers.Dense(6, activation="relu")(x)
    return keras.Model(i, layers.Dense(3)(layers.GlobalMaxPooling1D()(x)))


@case(free=2)
def mixer():
    i = image()
    x = layers.Permute((2, 1))(layers.Reshape((64, 8))(layers.Conv2D(8, 2, 2)(i)))
    x = layers.Dense(64)(layers.Dense(10, activation="relu")(x))
    x = layers.GlobalAveragePooling1D()(layers.Permute((2, 1))(x))
    return keras.Model(i, layers.Dense(3)(x))


@case(free=2)
def text():
    i = keras.Input((12,), dtype="int32")
    x = layers.Conv1D(6, 3, activation="relu")(layers.Embedding(8, 10)(i))
    x = layers.Masking()(layers.Conv1D(5, 3, activation="relu")(x))
    return keras.Model(i, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


@case(free=2, without=("trains",), compiled=True)
def channels_first():
    form = {"data_format": "channels_first"}
    # Keras 3.15 adds the bias along the columns where there are as many of them as filters.
    i = image(3, 12, 12)
    x = layers.Conv2D(8, 3, padding="same", **form)(i)
    x = layers.ReLU()(layers.BatchNormalization(axis=1)(x))
    x = layers.MaxPooling2D(**form)(x)
    x = layers.Conv2D(5, 3, padding="same", **form)(layers.PReLU(shared_axes=[2, 3])(x))
    return keras.Model(i, layers.Dense(3)(layers.Flatten(**form)(x)))


# One step of the format is .4 %, and of float16 .05 %.
@case(free=2, tolerance=1e-2)
def mixed_bfloat16():
    return _mixed("mixed_bfloat16")


@case(free=2, tolerance=2e-3)
def mixed_float16():
    return _mixed("mixed_float16")


def _mixed(policy):
    i = image()
    x = layers.Conv2D(8, 3, activation="relu", dtype=policy)(i)
    x = layers.BatchNormalization(dtype=policy)(x)
    x = layers.Conv2D(6, 3, dtype=policy)(x)
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    return keras.Model(i, layers.Dense(3, dtype="float32")(x))


@case(free=4)
def efficientnet_like():
    i = image()
    x = block(i, 8)
    y = layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(block(x, 24, 1)))
    y = layers.Activation("swish")(y)
    s = layers.Reshape((1, 1, 24))(layers.GlobalAveragePooling2D()(y))
    s = layers.Conv2D(2, 1, activation="swish")(s)
    y = layers.multiply([y, layers.Conv2D(24, 1, activation="sigmoid")(s)])
    y = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
    x = layers.add([layers.Dropout(0.2, noise_shape=(None, 1, 1, 1))(y), x])
    return keras.Model(i, head(block(x, 10, 1)))


@keras.saving.register_keras_serializable(package="zoo")
class StandardisedConv2D(layers.Conv2D):
    """A convolution that is not one: its kernel is standardised at every call."""

    def call(self, inputs):
        mean, variance = ops.moments(self.kernel, [0, 1, 2], keepdims=True)
        kernel = (self.kernel - mean) / ops.sqrt(variance + 1e-5)
        return ops.conv(inputs, kernel, self.strides[0], self.padding)


@case(free=1, frozen=("weighed",))
def weight_standardised():
    i = image()
    x = StandardisedConv2D(8, 3, name="weighed", use_bias=False)(block(i, 8))
    return keras.Model(i, head(block(x, 8)))


@keras.saving.register_keras_serializable(package="zoo")
class Scale(layers.Layer):
    """One gain a channel."""

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gamma")

    def call(self, x):
        return x * self.gain


@keras.saving.register_keras_serializable(package="zoo")
class UnknownScale(Scale):
    """The same without a rule."""


@channel_rule(Scale)
def _scale(call):
    call.use(call.layer.gain, 0, call.channels(-1))
    return call.same()


@case(free=2)
def own_layer_with_rule():
    i = image()
    return keras.Model(i, head(block(Scale()(block(i, 8)), 6)))


@case(free=1, frozen=("gain",))
def own_layer_without_rule():
    i = image()
    return keras.Model(i, head(block(UnknownScale(name="gain")(block(i, 8)), 6)))


@case(free=2, frozen=("lambda", "own"), without=("saved",))
def functions():
    i = image()
    x = layers.Lambda(lambda x: x[..., ::-1] * 2.0, name="lambda")(block(i, 8))
    x = layers.Activation(lambda x: ops.relu(x) + 1.0, name="own")(block(x, 6))
    return keras.Model(i, head(block(block(x, 6), 4)))


@case(free=3, frozen=("lstm", "bidirectional", "einsum"))
def recurrent():
    i = keras.Input((5, 8, 8, 3))
    x = layers.TimeDistributed(layers.Conv2D(8, 3, activation="relu"))(i)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.Conv1D(6, 1)(x)
    x = layers.LSTM(6, return_sequences=True, name="lstm")(x)
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="bidirectional")(x)
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 6), name="einsum")(x)
    x = layers.TimeDistributed(layers.Dense(5, activation="relu"))(x)
    return keras.Model(i, layers.Dense(3)(layers.Conv1D(8, 3)(x)[:, -1]))


@case(free=1, frozen=("spectral",))
def spectral():
    i = image()
    x = layers.SpectralNormalization(layers.Conv2D(8, 3), name="spectral")(block(i, 8))
    return keras.Model(i, head(block(x, 8)))


WIDTHS = Widths(8, (Stage(1, 8, 16), Stage(2, 8, 16)))


@case(free=9)
def own_resnet():
    return resnet(WIDTHS, (16, 16, 1))


@case(free=11, share=0.7)
def slim_resnet():
    return resnet(
        Widths(8, (Stage(1, 16, 16), Stage(1, 32, 16))),
        (16, 16, 1),
        layout=Layout(conv="slim"),
        head="cam",
    )


@case(free=9)
def activation_maps():
    return cam_model(resnet(WIDTHS, (16, 16, 1), head="cam"))


@case(free=1)
def cam_head():
    i = image()
    logits, maps = CAMHead(3)(block(i, 8))
    return keras.Model(i, [logits, maps])


@case(free=2)
def constraints_and_arrays():
    i = image()
    mask = np.random.default_rng(0).random((3, 8)) < 0.7
    ramp = keras.initializers.Constant(np.linspace(-1, 1, 8).tolist())
    x = layers.Conv2D(
        8, 3, kernel_constraint=SliceMask(mask), bias_initializer=ramp, kernel_regularizer="l2"
    )(i)
    x = layers.Conv2D(6, 3, kernel_constraint=keras.constraints.MaxNorm(2, axis=[0, 1, 2]))(x)
    return keras.Model(i, head(layers.ReLU()(x)))

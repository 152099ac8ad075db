"""What Keras builds against the arithmetic, and against the sizes a real forward pass has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckrm_tf import CKRMError, Layout, Stage, Widths, resnet

TINY = Widths(3, (Stage(2, 4, 6), Stage(1, 2, 5)))


def trainable(model: keras.Model) -> int:
    return sum(math.prod(w.shape) for w in model.trainable_weights)


def observed_macs(model: keras.Model, image: np.ndarray) -> int:
    """Kernel size times output positions of every convolution and dense layer that really runs."""
    total = 0
    patch = pytest.MonkeyPatch()
    for kind in (keras.layers.Conv2D, keras.layers.Dense):
        call = kind.call

        def spy(layer: Any, inputs: Any, _call: Any = call, **options: Any) -> Any:
            nonlocal total
            outputs = _call(layer, inputs, **options)
            total += math.prod(layer.kernel.shape) * math.prod(outputs.shape[1:-1])
            return outputs

        patch.setattr(kind, "call", spy)
    with patch.context():
        model(image)
    patch.undo()
    return total


@pytest.mark.parametrize(
    ("widths", "params", "total"),
    [
        (Widths.from_rule(64, 2), 23_534_467, 23_587_587),
        (Widths.from_rule(16, 0.75), 128_062, 131_302),
    ],
)
def test_published_totals_as_built(widths: Widths, params: int, total: int) -> None:
    model = resnet(widths)
    assert trainable(model) == params
    assert model.count_params() == total


STAGES = st.lists(
    st.builds(Stage, st.integers(1, 2), st.integers(1, 5), st.integers(1, 5)),
    min_size=1,
    max_size=3,
)


@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    stem=st.integers(1, 5),
    stages=STAGES,
    pool=st.booleans(),
    first_stride=st.sampled_from([1, 2]),
    stride_conv=st.sampled_from([1, 2]),
    bias=st.booleans(),
    groups=st.sampled_from([1, 1, 2]),
    height=st.integers(8, 19),
    width=st.integers(8, 19),
    channels=st.integers(1, 3),
    classes=st.integers(2, 4),
)
def test_arithmetic_is_what_keras_builds(
    stem: int,
    stages: list[Stage],
    pool: bool,
    first_stride: int,
    stride_conv: int,
    bias: bool,
    groups: int,
    height: int,
    width: int,
    channels: int,
    classes: int,
) -> None:
    layout = Layout(pool, first_stride, stride_conv, bias, groups=groups)
    widths = Widths(stem, tuple(Stage(s.blocks, s.mid * groups, s.out) for s in stages))
    shape = (height, width, channels)
    model = resnet(widths, shape, classes, layout=layout)
    cost = widths.cost(shape, classes, layout)
    assert trainable(model) == cost.params
    assert model.count_params() == cost.total
    assert observed_macs(model, np.zeros((1, *shape), "float32")) == cost.macs


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    mids=st.lists(st.integers(1, 40), min_size=1, max_size=2),
    folds=st.sampled_from([2, 3, 4, 5]),
    stride_conv=st.sampled_from([1, 2]),
    bias=st.booleans(),
    pool=st.booleans(),
    grouped=st.booleans(),
    side=st.integers(4, 13),
)
def test_arithmetic_is_what_keras_builds_with_slim_convolutions(
    mids: list[int],
    folds: int,
    stride_conv: int,
    bias: bool,
    pool: bool,
    grouped: bool,
    side: int,
) -> None:
    if grouped:  # two groups divide the upper 3x3 of any multiple of twice the folds
        mids = [(mid % 3 + 1) * 2 * folds for mid in mids]
    layout = Layout(pool, 2, stride_conv, bias, "slim", folds / 1.5, 1 + grouped)
    widths = Widths(3, tuple(Stage(1, mid, 4) for mid in mids))
    shape = (side, side + 1, 2)
    model = resnet(widths, shape, 2, layout=layout)
    cost = widths.cost(shape, 2, layout)
    assert trainable(model) == cost.params
    assert model.count_params() == cost.total
    assert observed_macs(model, np.zeros((1, *shape), "float32")) == cost.macs


def test_ports_and_names() -> None:
    model = resnet(TINY, (32, 24, 1), 3)
    assert model.output_names == ["logits"]
    assert [t.name for t in model.inputs] == ["image"]
    assert model.output_shape == (None, 3)
    convs = {la.name for la in model.layers if isinstance(la, keras.layers.Conv2D)}
    blocks = ["stage1_block1", "stage1_block2", "stage2_block1"]
    expected = {"stem_conv", "stage1_block1_shortcut", "stage2_block1_shortcut"}
    expected |= {f"{b}_conv{i}" for b in blocks for i in (1, 2, 3)}
    assert convs == expected
    norms = {la.name for la in model.layers if isinstance(la, keras.layers.BatchNormalization)}
    assert norms == {f"{name}_bn" for name in expected}


@pytest.mark.parametrize(("stride_conv", "strided"), [(1, "conv1"), (2, "conv2")])
def test_where_the_stride_is(stride_conv: int, strided: str) -> None:
    model = resnet(TINY, (32, 32, 1), layout=Layout(stride_conv=stride_conv))
    for conv in ("conv1", "conv2", "conv3"):
        strides = model.get_layer(f"stage2_block1_{conv}").strides
        assert strides == ((2, 2) if conv == strided else (1, 1))


def test_total_stride_of_the_papers_layout_is_32() -> None:
    model = resnet(Widths(1, (Stage(1, 1, 1),) * 4), (1536, 1280, 1))
    assert model.get_layer("stage4_block1_relu").output.shape[1:3] == (48, 40)


def test_block_adds_the_shortcut_and_ends_with_relu() -> None:
    """A block whose last batch norm has gain zero passes its shortcut on, rectified."""
    model = resnet(TINY, (16, 16, 1))
    name = "stage1_block1"
    model.get_layer(f"{name}_conv3_bn").gamma.assign(np.zeros(6))
    inner = keras.Model(
        model.input,
        [model.get_layer(f"{name}_shortcut_bn").output, model.get_layer(f"{name}_relu").output],
    )
    image = np.random.default_rng(0).normal(size=(2, 16, 16, 1)).astype("float32")
    shortcut, out = (np.asarray(t) for t in inner(image))
    assert (shortcut < 0).any()
    np.testing.assert_array_equal(out, np.maximum(shortcut, 0))


def test_regularizer_is_on_every_convolution() -> None:
    model = resnet(TINY, (16, 16, 1), kernel_regularizer=keras.regularizers.L2(0.5))
    kernels = [la.kernel for la in model.layers if isinstance(la, keras.layers.Conv2D)]
    expected = 0.5 * sum(float(np.sum(np.square(k))) for k in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)


# TensorFlow's variables do not know NumPy 2's copy keyword yet; saving copies them.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_saved_and_loaded(tmp_path: Path) -> None:
    model = resnet(TINY, (16, 16, 1))
    image = np.random.default_rng(1).normal(size=(2, 16, 16, 1)).astype("float32")
    model.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(np.asarray(model(image)), np.asarray(loaded(image)))


def test_bad_input_is_refused_before_keras_sees_it() -> None:
    with pytest.raises(CKRMError, match="at least 4 pixels"):
        resnet(TINY, (3, 64, 1))
    with pytest.raises(CKRMError, match="input_shape"):
        resnet(TINY, (64, 64))  # type: ignore[arg-type]
    with pytest.raises(CKRMError, match="classes"):
        resnet(TINY, classes=1)
    with pytest.raises(CKRMError, match="multiple of groups=4"):
        resnet(TINY, layout=Layout(groups=4))

"""What criteria say of a width: by hand on kernels made for it, and over a whole network."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from ckrm_tf.criteria.ckrm import ckrm_signal
from ckrm_tf.criteria.registry import CRITERIA, criterion
from ckrm_tf.criteria.signals import width_signals
from ckrm_tf.criteria.slices import slice_signal
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.functional import ModelFamily
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.widths import Stage, Widths
from ckrm_tf.layers.slim_conv import SlimConv2D
from ckrm_tf.measures.kernels import ConvolutionKernel
from ckrm_tf.measures.null import kernel_null, null
from ckrm_tf.measures.redundancy import ckrm, omega
from ckrm_tf.measures.similarity import energy_epsilon, kernel_similarity
from ckrm_tf.models.facts import ModelFacts

WIDTHS = Widths(4, (Stage(1, 6, 8), Stage(2, 5, 8)))
FAMILY = ResNetFamily(WIDTHS, (16, 16, 1))


def glorot(*shape: int, seed: int = 0) -> np.ndarray:
    return np.array(keras.initializers.GlorotUniform(seed=seed)(shape))


def own_ckrm(weights: np.ndarray) -> float:
    return ckrm(weights, epsilon=energy_epsilon(weights))


def as_kernel(weights: np.ndarray, pointwise: bool = False) -> ConvolutionKernel:
    groups = (weights.reshape(weights.shape[-2], 1, -1),) if pointwise else (weights,)
    return ConvolutionKernel("conv", weights.shape, groups, pointwise=pointwise)


def test_random_kernels_carry_no_redundancy():
    found = ckrm_signal([as_kernel(glorot(3, 3, 32, 24))])
    assert found.redundancy == 0
    assert found.needed == 1
    assert abs(found.excess) < 0.05


def test_dead_kernels_are_redundant_and_not_needed():
    weights = glorot(3, 3, 32, 24)
    weights[..., :12] *= 1e-3
    found = ckrm_signal([as_kernel(weights)])
    assert null(weights.shape).lam == 0
    assert found.redundancy == pytest.approx(own_ckrm(weights)) == pytest.approx(66 / 276)
    assert found.needed == pytest.approx(13 / 24)
    # Convolutions that share a width are averaged.
    both = ckrm_signal([as_kernel(weights), as_kernel(glorot(3, 3, 32, 24, seed=1))])
    assert both.redundancy == pytest.approx(found.redundancy / 2)
    assert both.needed == pytest.approx((found.needed + 1) / 2)


def test_pointwise_convolutions_of_one_sum_are_judged_together():
    dead, alive = glorot(1, 1, 64, 16), glorot(1, 1, 64, 16, seed=1)
    dead[..., :8] *= 1e-3
    alone = ckrm_signal([as_kernel(dead, True)])
    together = ckrm_signal([as_kernel(dead, True), as_kernel(alive, True)])
    assert alone.needed == pytest.approx(9 / 16, abs=0.1)
    # A filter that is alive in one of the convolutions cannot go.
    assert together.needed > alone.needed
    assert together.redundancy < alone.redundancy


@pytest.mark.parametrize("name", [name for name in CRITERIA if name != "ckrm"])
def test_slice_criteria_count_dead_filters(name):
    weights = glorot(3, 3, 16, 10) * 10
    weights[..., :4] = 0
    found = slice_signal([as_kernel(weights)], name)
    assert found.needed == pytest.approx(0.6, abs=1e-3)
    # A third of random slices is below the bar of `min_eig`: only what exceeds that counts.
    assert found.redundancy == pytest.approx(0.4, abs=0.08)


@pytest.mark.parametrize("name", CRITERIA)
def test_random_kernels_exceed_no_null(name):
    """By any criterion; the stem, with its one slice a kernel, misled several of them."""
    shapes = [(7, 7, 1, 16), (3, 3, 1, 32), (3, 3, 3, 32), (3, 3, 64, 16), (3, 1, 4, 32)]
    for seed, shape in enumerate(shapes):
        alone = criterion(name)([as_kernel(glorot(*shape, seed=seed))])
        assert (alone.redundancy, alone.needed) == (0, 1)
        assert abs(alone.excess) < 0.25
    # Four 1x1 convolutions of one sum, each of few channels.
    joint = [as_kernel(glorot(1, 1, 4, 16, seed=seed), True) for seed in range(4)]
    found = criterion(name)(joint)
    assert (found.redundancy, found.needed) == (0, 1)
    # What is redundant is told.
    dead = glorot(3, 3, 16, 16)
    dead[..., :8] *= 1e-3
    assert criterion(name)([as_kernel(dead)]).redundancy > 0.1


def test_the_null_of_a_group_is_that_of_the_group():
    """A mean over four similarities varies less than one of them."""
    kernels = [as_kernel(glorot(1, 1, 4, 32, seed=seed), True) for seed in range(4)]
    alone, group = kernel_null(kernels[:1]), kernel_null(kernels)
    assert group.lam < 0.5 * alone.lam
    read = [
        np.mean(
            omega(np.mean([kernel_similarity(k.groups[0], k.epsilon()) for k in drawn], 0)) > 0.6
        )
        for drawn in (
            [as_kernel(glorot(1, 1, 4, 32, seed=100 * turn + n), True) for n in range(4)]
            for turn in range(6)
        )
    ]
    assert np.mean(read) == pytest.approx(group.lam, abs=3 * group.sd)


def test_every_width_of_the_network_is_heard():
    found = width_signals(FAMILY.build(FAMILY.start), FAMILY)
    assert set(found) == {"stem/filters", "stage1/mid", "stage1/out", "stage2/mid", "stage2/out"}
    for signal in found.values():
        assert 0 <= signal.redundancy <= 1
        assert 0 < signal.needed <= 1


def test_slim_convolutions_are_heard_under_the_same_widths():
    family = ResNetFamily(Widths(8, (Stage(1, 16, 16),)), (16, 16, 1), layout=Layout(conv="slim"))
    found = width_signals(family.build(family.start), family)
    assert set(found) == {"stem/filters", "stage1/mid", "stage1/out"}


def test_slim_convolutions_are_heard_in_the_default_network():
    """Five convolutions are named after one width, of which the two 3x3 make its channels."""
    widths = Widths.from_rule(64, 2.0, (1, 1))
    family = ResNetFamily(widths, (16, 16, 1), layout=Layout(conv="slim"))
    model = family.build(family.start)
    names = [kernel.name for kernel in family.kernels(model)["stage2/mid"]]
    assert names == [f"stage2_block1_conv2/conv_{place}" for place in ("top", "bottom")]
    found = width_signals(model, family)
    assert found["stage2/mid"].redundancy == 0
    # Half of the filters of the upper 3x3 die: a quarter of the mean over both.
    weights = model.get_layer("stage2_block1_conv2").conv_top.kernel
    weights.assign(np.array(weights) * np.where(np.arange(weights.shape[-1]) % 2, 1, 1e-3))
    assert width_signals(model, family)["stage2/mid"].needed == pytest.approx(0.75, abs=0.05)


def test_a_layer_of_several_convolutions_has_a_signal_for_each_width():
    """In a model that somebody brought: found from the channels, whatever the names."""
    image = keras.Input((8, 8, 4))
    x = SlimConv2D(name="any")(keras.layers.Conv2D(24, 3, padding="same", name="first")(image))
    x = keras.layers.Conv2D(6, 3, name="last")(x)
    model = keras.Model(
        image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)), name="brought"
    )
    facts = ModelFacts((8, 8, 4), 0.0, 1.0, 3, "logits", ("as given", "as given"))
    family = ModelFamily(model, facts, (8, 8, 4))
    network = family.build(family.start)
    heard = {k.name for kernels in family.kernels(network).values() for k in kernels}
    inside = {f"any/{part}" for part in ("conv_top", "conv_bottom", "conv_reduce")}
    assert {name.removeprefix("model_as_given/") for name in heard} >= {"first", "last"} | inside
    assert set(width_signals(network, family)) == set(family.kernels(network))


def test_convolutions_of_unlike_kinds_may_share_a_width():
    """A sum of a 3x3 and a 1x1, as in many networks: each is judged by its own kind of slice."""
    spatial, dead = glorot(3, 3, 16, 12), glorot(3, 3, 16, 12)
    dead[..., :6] *= 1e-3
    vectors = as_kernel(glorot(1, 1, 64, 12), True)
    alone = [ckrm_signal([kernel]) for kernel in (as_kernel(dead), vectors)]
    for order in ([vectors, as_kernel(dead)], [as_kernel(dead), vectors]):
        both = ckrm_signal(order)
        assert both.needed == pytest.approx(np.mean([s.needed for s in alone]))
        assert both.redundancy == pytest.approx(np.mean([s.redundancy for s in alone]))
    assert ckrm_signal([vectors, as_kernel(spatial)]).needed > both.needed


def test_other_criteria_by_name():
    model = FAMILY.build(FAMILY.start)
    assert criterion("ckrm") is ckrm_signal
    assert set(width_signals(model, FAMILY, criterion("spectral_norm"))) == set(
        width_signals(model, FAMILY)
    )
    with pytest.raises(CKRMError, match="Did you mean 'spectral_norm'"):
        criterion("spectral_nrm")

"""Counts by arithmetic alone; tests/test_resnet.py compares them with what Keras builds."""

from __future__ import annotations

from typing import Any

import pytest

from ckrm_tf import CKRMError, Layout, Stage, Widths
from ckrm_tf.design.cost import Cost
from ckrm_tf.families.arithmetic import conv_bn_cost, downsampled

STANDARD, SLIM = Widths.from_rule(64, 2), Widths.from_rule(16, 0.75)


@pytest.mark.parametrize(
    ("widths", "trainable", "total"),
    [(STANDARD, 23_534_467, 23_587_587), (SLIM, 128_062, 131_302)],
)
def test_published_totals(widths: Widths, trainable: int, total: int) -> None:
    """arXiv 2212.00272, Table 2; the second number adds the moving statistics."""
    cost = widths.cost()
    assert (cost.params, cost.total) == (trainable, total)
    assert widths.params() == trainable
    # Parameters do not depend on the size of the image.
    assert widths.params((1536, 1280, 1)) == trainable


def test_multiply_accumulates_of_the_published_networks() -> None:
    assert STANDARD.macs() == pytest.approx(3.78e9, rel=0.005)
    assert SLIM.macs() == pytest.approx(0.102e9, rel=0.005)
    assert STANDARD.macs((1536, 1280, 1)) == pytest.approx(148.0e9, rel=0.001)
    assert SLIM.macs((1536, 1280, 1)) == pytest.approx(4.00e9, rel=0.001)


@pytest.mark.parametrize(
    ("depth", "params", "gmacs"),
    [(50, 25_557_032, 4.089), (101, 44_549_160, 7.801), (152, 60_192_808, 11.514)],
)
def test_torchvision(depth: int, params: int, gmacs: float) -> None:
    """Parameter and operation counts that torchvision publishes with its weights."""
    cost = Widths.standard(depth).cost((224, 224, 3), 1000, Layout.torchvision())
    assert cost.params == params
    assert cost.macs / 1e9 == pytest.approx(gmacs, abs=5e-4)


def test_resnext_50_32x4d() -> None:
    """torchvision's resnext50_32x4d: 25,028,904 parameters, 4.23 G."""
    stages = [(3, 128, 256), (4, 256, 512), (6, 512, 1024), (3, 1024, 2048)]
    widths = Widths(64, tuple(Stage(*s) for s in stages))
    cost = widths.cost((224, 224, 3), 1000, Layout.torchvision(groups=32))
    assert cost.params == 25_028_904
    assert cost.macs / 1e9 == pytest.approx(4.23, abs=5e-3)


IMAGENET = ((224, 224, 3), 1000)
RESNEXT = ((4, 96, 256), (8, 192, 512), (18, 384, 1024), (3, 768, 2048))


@pytest.mark.parametrize(
    ("widths", "layout", "params", "gmacs", "statistics"),
    [
        (Widths.standard(50), {}, 16_758_740, 2.652, 53_356),
        (Widths.standard(101), {}, 27_956_708, 4.822, 105_852),
        (Widths.standard(152), {}, 37_181_908, None, None),
        (Widths.standard(50), {"ratio": 8 / 3}, 12_098_388, 1.880, 49_580),
        (Widths.standard(50), {"ratio": 2}, 13_413_470, 2.091, None),
        (
            Widths(64, tuple(Stage(*s) for s in RESNEXT)),
            {"ratio": 2, "groups": 32, "bottom_groups": 16},
            23_698_976,
            4.581,
            None,
        ),
    ],
    ids=["50", "101", "152", "50-8/3", "50-2", "resnext101"],
)
def test_published_slim_networks(
    widths: Widths,
    layout: dict[str, Any],
    params: int,
    gmacs: float | None,
    statistics: int | None,
) -> None:
    cost = widths.cost(*IMAGENET, Layout.torchvision(conv="slim", **layout))
    assert cost.params == params
    if statistics is not None:
        assert cost.statistics == statistics
    if gmacs is not None:
        assert cost.macs / 1e9 == pytest.approx(gmacs, abs=5e-4)


def test_resnext_50_slim() -> None:
    """32x4d at k = 4/3: the lower 3x3 has the groups of the upper one without being told."""
    stages = ((3, 128, 256), (4, 256, 512), (6, 512, 1024), (3, 1024, 2048))
    widths = Widths(64, tuple(Stage(*s) for s in stages))
    cost = widths.cost(*IMAGENET, Layout.torchvision(conv="slim", groups=32))
    assert cost.params == 22_492_512
    assert cost.macs / 1e9 == pytest.approx(3.821, abs=5e-4)


def test_costs_add_up() -> None:
    assert Cost(1, 2, 3) + Cost(10, 20, 30) == Cost(11, 22, 33)
    assert Cost(1, 2, 3).total == 3


def test_one_convolution_by_hand() -> None:
    cost = conv_bn_cost((5, 7), 4, 6, 3, bias=True, groups=2)
    assert cost == Cost(params=9 * 2 * 6 + 6 + 12, statistics=12, macs=9 * 2 * 6 * 35)


@pytest.mark.parametrize("side", range(1, 12))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_downsampled_counts_the_positions(side: int, stride: int) -> None:
    assert downsampled((side, 1), stride) == (len(range(0, side, stride)), 1)


@pytest.mark.parametrize(
    "shape", [(224, 224), (224, 224, 1, 1), (0, 224, 1), (224.0, 224, 1), None, 224]
)
def test_bad_shape(shape: object) -> None:
    with pytest.raises(CKRMError, match="input_shape"):
        SLIM.cost(shape)  # type: ignore[arg-type]


def test_other_bad_input() -> None:
    with pytest.raises(CKRMError, match="at least 16 pixels"):
        SLIM.cost((15, 64, 1))
    with pytest.raises(CKRMError, match="classes"):
        SLIM.cost(classes=1)
    with pytest.raises(CKRMError, match="multiple of groups=5"):
        SLIM.cost(layout=Layout(groups=5))


@pytest.mark.parametrize(
    "bad",
    [
        {"stride_conv": 3},
        {"first_stride": 0},
        {"conv": "thin"},
        {"ratio": 1.5},
        {"groups": 0},
        {"groups": 2.0},
        {"bottom_groups": 0},
    ],
)
def test_bad_layout(bad: dict) -> None:
    with pytest.raises(CKRMError, match=next(iter(bad)).removeprefix("bottom_")):
        Layout(**bad)

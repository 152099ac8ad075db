"""Which width groups each axis of a family drives."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from ckrm_tf import CKRMError, Layout, ResNetFamily, Stage, Widths
from ckrm_tf.design.design import Design
from ckrm_tf.families.functional import INNER, ModelFamily
from ckrm_tf.families.vgg import VGGFamily
from ckrm_tf.models.facts import read_facts
from ckrm_tf.narrowing.axis_groups import axis_groups, family_widths
from ckrm_tf.narrowing.plan import Channels

SHAPE, CLASSES = (16, 16, 1), 3
WIDTHS = Widths(8, (Stage(2, 8, 16), Stage(1, 12, 16)))

FAMILIES = {
    "resnet": ResNetFamily(WIDTHS, SHAPE, CLASSES),
    "resnet, grouped": ResNetFamily(WIDTHS, SHAPE, CLASSES, Layout(groups=4)),
    "vgg": VGGFamily((8, 8), (2, 1), SHAPE, CLASSES),
}
# Equal numbers in the start: nothing could be told from them.
SLICES = {
    "resnet": {"stem/filters": 5, "stage1/mid": 3, "stage1/out": 9, "stage2/mid": 7},
    "resnet, grouped": {"stage1/mid": 4, "stage2/mid": 8, "stage2/out": 11},
    "vgg": {"stage1/filters": 3, "stage2/filters": 7},
}


@pytest.fixture(scope="module", params=FAMILIES)
def case(request):
    family = FAMILIES[request.param]
    model = family.build(family.start)
    return family, model, axis_groups(family, model), SLICES[request.param]


def test_every_free_width_follows_one_axis(case):
    family, model, found, _ = case
    assert list(found) == list(family.start)
    assert not found.loose
    driven = [name for names in found.values() for name in names]
    assert sorted(driven) == sorted(Channels(model).groups.free)


def test_depth_drives_no_width_and_every_width_some(case):
    family, _, found, _ = case
    assert {a.name: bool(found[a.name]) for a in family.axes} == {
        a.name: a.kind == "width" for a in family.axes
    }


def test_a_slice_costs_what_the_family_says(case):
    """The family counts by its arithmetic, the channels by what stays of the model."""
    family, model, found, changes = case
    channels = Channels(model)
    count = channels.counter(channels.params)
    slice_ = family.start.replace(changes)
    assert count(found.widths(slice_)) == family.cost(slice_).params
    assert count(found.widths(family.start)) == family.cost(family.start).params
    # One group less, and the count is another.
    widths = found.widths(slice_)
    widths.pop(next(name for axis in changes for name in found[axis]))
    assert count(widths) != family.cost(slice_).params


def test_groups_of_a_resnet_by_name():
    family = FAMILIES["resnet"]
    model = family.build(family.start)
    found = axis_groups(family, model)
    assert found["stage1/mid"] == (
        "stage1_block1_conv1",
        "stage1_block1_conv2",
        "stage1_block2_conv1",
        "stage1_block2_conv2",
    )
    assert found["stage1/out"] == ("stage1_block1_shortcut",)
    design = family.start.replace({"stage1/mid": 3})
    widths = family_widths(family, model, design)
    assert {widths[name] for name in found["stage1/mid"]} == {3}
    assert widths["stem_conv"] == 8


def test_what_is_no_slice_is_refused(case):
    family, _, found, changes = case
    depth = next(a.name for a in family.axes if a.kind == "depth" and a.size > 1)
    with pytest.raises(CKRMError, match=depth):
        found.widths(family.start.replace({depth: 1}))
    width = next(iter(changes))
    with pytest.raises(CKRMError, match="at most"):
        found.widths(family.start.replace({width: 99}))


def test_a_number_between_two_units_is_refused():
    family = FAMILIES["resnet, grouped"]
    found = axis_groups(family, family.build(family.start))
    with pytest.raises(CKRMError, match="multiple of 4"):
        found.widths(family.start.replace({"stage1/mid": 6}))


def test_a_model_of_another_design_is_refused():
    family = FAMILIES["vgg"]
    small = family.start.replace({"stage1/filters": 5})
    model = family.build(small)
    with pytest.raises(CKRMError, match="8 channels by stage1/filters"):
        axis_groups(family, model)
    assert axis_groups(family, model, small).widths(small)["stage1_conv2"] == 5


def test_widths_that_follow_no_axis_are_told():
    family = ResNetFamily(Widths(8, (Stage(1, 16, 16),)), SHAPE, CLASSES, Layout(conv="slim"))
    found = axis_groups(family, family.build(family.start))
    assert found.loose
    with pytest.raises(CKRMError, match="follow none"):
        found.widths(family.start.replace({"stem/filters": 4}))


@pytest.fixture(scope="module")
def brought():
    """A hidden dense layer, which no convolution speaks for, and channels that go two by two."""
    x = image = keras.Input((16, 16, 1))
    x = layers.Conv2D(8, 3, name="first")(x)
    x = layers.Conv2D(12, 3, groups=2, activation="relu", name="grouped")(x)
    x = layers.Dense(6, activation="relu", name="hidden")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="last")(x))
    return ModelFamily(model, read_facts(model, pixels=(0, 1)), SHAPE)


def test_the_axes_of_a_brought_model_are_its_groups(brought):
    assert brought.start == Design({"first": 4, "grouped": 6, "hidden": 6})
    found = axis_groups(brought, brought.model)
    assert dict(found) == {name: (name,) for name in brought.start}
    design = brought.start.replace({"grouped": 5, "hidden": 2})
    assert found.widths(design) == dict(design)


def test_they_are_found_inside_the_network_of_a_search(brought):
    network = brought.build(brought.start)
    found = axis_groups(brought, network)
    assert found["hidden"] == (f"{INNER}/hidden",)
    assert found.widths(brought.start)[f"{INNER}/grouped"] == 6

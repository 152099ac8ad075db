"""A stage of no blocks: one network in every form, its stride and cost, and its use."""

from __future__ import annotations

import itertools
import json

import keras
import keras_tuner
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckrm_tf import (
    Axis,
    CKRMError,
    Design,
    Layout,
    ResNetFamily,
    Stage,
    Widths,
    cost,
    export_model,
    measure,
    narrow,
    resnet,
)
from ckrm_tf.design.axes import settled
from ckrm_tf.families.vgg import VGGFamily
from ckrm_tf.narrowing.axis_groups import axis_groups
from ckrm_tf.tuning.from_signals import propose_from_signals
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.moves import adapt, covers, grown_back, shrunk
from ckrm_tf.tuning.rule import Rule
from ckrm_tf.tuning.space import declare
from ckrm_tf.tuning.uniform import propose_uniform

SHAPE = (32, 32, 1)
GONE = Stage(0, 0, 0)
A, B, C = Stage(2, 4, 8), Stage(1, 6, 12), Stage(1, 5, 10)
# First, middle, last, two in a row, all.
SETS = {
    "first": (GONE, B, C),
    "middle": (A, GONE, C),
    "last": (A, B, GONE),
    "two": (A, GONE, GONE, C),
    "all": (GONE, GONE),
}
LAYOUTS = {
    "paper": Layout(),
    "torchvision": Layout.torchvision(),
    "slim": Layout(conv="slim"),
}

NUMBER = st.integers(1, 40)
# Any blocks, none among them; mid and out whatever they are.
STAGES = st.lists(st.tuples(st.integers(0, 3), NUMBER, NUMBER), min_size=1, max_size=5)


def widths_of(stages) -> Widths:
    return Widths(4, tuple(Stage(*stage) for stage in stages))


# One network, in every form


@given(STAGES, st.data())
def test_what_an_absent_stage_was_given_makes_no_difference(stages, data):
    others = [(0, data.draw(NUMBER), data.draw(NUMBER)) if not s[0] else s for s in stages]
    one, two = widths_of(stages), widths_of(others)
    assert one == two
    assert hash(one) == hash(two)
    assert str(one) == str(two)
    assert one.to_json() == two.to_json()
    assert one.to_design() == two.to_design()
    raw = {
        "stem": 4,
        "stages": [dict(zip(("blocks", "mid", "out"), s, strict=True)) for s in others],
    }
    items = {"stem/filters": 4} | {
        f"stage{i}/{key}": number
        for i, stage in enumerate(raw["stages"], start=1)
        for key, number in stage.items()
    }
    for again in (
        Widths.from_dict(raw),
        Widths.from_dict(one.to_dict()),
        Widths.from_json(json.dumps(raw)),
        Widths.from_items(items),
        Widths.from_items(one.to_design()),
    ):
        assert again == one
    # A stage that is there is another network.
    place = data.draw(st.integers(0, len(stages) - 1))
    deeper = widths_of([(s[0] + 1, *s[1:]) if i == place else s for i, s in enumerate(stages)])
    assert deeper != one
    assert deeper.to_design() != one.to_design()


def test_how_it_looks():
    widths = Widths(4, (Stage(1, 2, 3), Stage(0, 6, 7)))
    assert str(widths) == "4 | mid 2/0 | out 3/0 | blocks 1/0"
    assert widths.to_dict()["stages"][1] == {"blocks": 0, "mid": 0, "out": 0}
    assert widths != Widths(4, (Stage(1, 2, 3), Stage(1, 6, 7)))
    assert Widths.from_rule(8, 2, (1, 0, 1)).stages == (Stage(1, 8, 32), GONE, Stage(1, 32, 128))


@pytest.mark.parametrize(
    "bad",
    [(0, -1, 4), (0, 4, None), (0, 1.0, 4), (-1, 4, 4), (False, 4, 4), (1, 0, 4), (1, 4, 0)],
)
def test_bad_numbers_are_refused_whether_the_stage_is_there_or_not(bad):
    with pytest.raises(CKRMError, match=r"stage (blocks|mid|out)"):
        Stage(*bad)


def test_a_family_has_one_design_of_it():
    family = ResNetFamily(Widths(4, (A, B, C)), SHAPE)
    loose = family.start.replace({"stage2/blocks": 0})
    design = family.checked(loose)
    assert design == Widths(4, (A, GONE, C)).to_design()
    assert (design["stage2/mid"], design["stage2/out"]) == (0, 0)
    assert family.cost(loose) == family.cost(design) != family.cost(family.start)
    stages = [{"blocks": b, "mid": m, "out": o} for b, m, o in [(2, 4, 8), (0, 6, 12), (1, 5, 10)]]
    for record in (
        {"design": loose.to_dict()},
        {"widths": {"stem": 4, "stages": stages}},
        json.loads(json.dumps(family.to_record(design))),
    ):
        assert family.from_record(record) == design
    assert Design.from_json(design.to_json()) == design


def test_nothing_else_may_be_zero():
    family = ResNetFamily(Widths(4, (A, B)), SHAPE)
    for name in ("stem/filters", "stage1/mid", "stage2/out"):
        with pytest.raises(CKRMError, match=name):
            family.checked(family.start.replace({name: 0}))
    plain = VGGFamily((8, 8), (1, 2), SHAPE)
    for name in plain.start:
        gone = plain.start.replace({name: 0})
        for refuse in (plain.checked, plain.cost, plain.from_record):
            with pytest.raises(CKRMError, match=name):
                refuse(gone)
    assert plain.checked(plain.start) == plain.start


# Stride and cost


@pytest.mark.parametrize(
    ("blocks", "first", "strides"),
    [
        ((3, 4, 6, 3), 2, (2, 2, 2, 2)),
        ((3, 4, 6, 3), 1, (1, 2, 2, 2)),
        ((0, 4, 6, 3), 2, (1, 4, 2, 2)),
        ((0, 4, 6, 3), 1, (1, 2, 2, 2)),
        ((3, 0, 0, 3), 2, (2, 1, 1, 8)),
        ((3, 4, 0, 0), 2, (2, 2, 1, 1)),
        ((0, 0), 2, (1, 1)),
    ],
)
def test_the_stride_goes_to_the_next_stage_that_is_there(blocks, first, strides):
    assert Layout(first_stride=first).strides(blocks) == strides


# Large enough for seven stages.
PICTURES = st.tuples(st.integers(128, 170), st.integers(128, 170), st.integers(1, 3))


@given(STAGES, PICTURES, st.sampled_from(list(LAYOUTS)))
def test_absent_last_stages_are_as_none(stages, picture, layout):
    ended = (*stages, (0, 3, 3), (0, 4, 4))
    found = widths_of(ended).cost(picture, 3, LAYOUTS[layout])
    assert found == widths_of(stages).cost(picture, 3, LAYOUTS[layout])
    # Not so where they are there, nor in front.
    assert widths_of((*stages, (1, 3, 3))).cost(picture, 3, LAYOUTS[layout]).params != found.params


@given(STAGES, PICTURES, st.sampled_from([1, 2]), st.data())
def test_a_network_without_a_stage_costs_less_where_stages_widen(stages, picture, first, data):
    outs = sorted(out for _, _, out in stages)
    whole = Widths(1, tuple(Stage(b + 1, m, o) for (b, m, _), o in zip(stages, outs, strict=True)))
    place = data.draw(st.integers(0, len(stages) - 1))
    left = tuple(GONE if i == place else s for i, s in enumerate(whole.stages))
    layout = Layout(first_stride=first)
    costs = [w.cost(picture, 3, layout) for w in (whole, Widths(1, left))]
    assert costs[1].params < costs[0].params
    # A last stage gone may leave larger maps, but no work on them but the head's.
    assert costs[1].macs < costs[0].macs


def test_where_stages_narrow_a_stage_may_save_what_the_next_one_reads():
    wide, thin, next_ = Stage(1, 1, 400), Stage(1, 1, 1), Stage(1, 100, 100)
    with_, without = (Widths(1, (wide, s, next_)).params(SHAPE) for s in (thin, GONE))
    assert without > with_


def test_the_smallest_input_is_that_of_the_last_stage_there():
    assert Widths(4, (A, B, GONE)).cost((4, 4, 1)).params
    with pytest.raises(CKRMError, match=r"at least 8 pixels \(3 stages\)"):
        Widths(4, (A, GONE, C)).cost((7, 8, 1))


@pytest.mark.parametrize(
    ("name", "layout", "side"),
    [
        *itertools.product(SETS, ["paper"], [32]),
        ("first", "torchvision", 45),
        ("middle", "slim", 33),
        ("two", "torchvision", 23),
    ],
)
def test_the_arithmetic_is_that_of_the_network_built(name, layout, side):
    widths, shape = Widths(4, SETS[name]), (side, side - 3, 2)
    model = resnet(widths, shape, 3, layout=LAYOUTS[layout])
    counted, found = cost(model), widths.cost(shape, 3, LAYOUTS[layout])
    assert (found.params, found.macs) == (counted.params, counted.macs)
    assert found.total == model.count_params()
    assert np.asarray(model(np.ones((1, *shape), np.float32))).shape == (1, 3)
    other = Widths(4, (A, B, C)).cost(shape, 3, LAYOUTS[layout])
    assert (other.params, other.macs) != (counted.params, counted.macs)


def test_later_maps_keep_their_size_and_name():
    for layout in (Layout(), Layout.torchvision()):
        last = [
            resnet(Widths(4, (A, s, C)), (45, 32, 1), layout=layout).get_layer("stage3_block1_relu")
            for s in (B, GONE)
        ]
        assert last[0].output.shape == last[1].output.shape


# What is done with it


@pytest.fixture(scope="module")
def network() -> tuple[ResNetFamily, keras.Model]:
    """A start without its middle stage."""
    keras.utils.set_random_seed(2)
    family = ResNetFamily(Widths(4, (A, GONE, C)), SHAPE)
    return family, family.build(family.start)


def test_it_is_narrowed(network):
    family, model = network
    small = narrow(model, 0.5)
    assert cost(small).params == Widths(2, (Stage(2, 2, 4), GONE, Stage(1, 2, 5))).params(SHAPE)
    groups = axis_groups(family, model)
    assert not groups.loose
    assert [name for name in groups if groups[name]] == [
        axis.name for axis in family.axes if axis.kind == "width" and axis.size
    ]
    slice_ = family.start.replace({"stage3/out": 5})
    assert cost(narrow(model, groups.widths(slice_))).params == family.cost(slice_).params


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")
def test_it_is_exported(network, tmp_path):
    family, model = network
    report = export_model(
        model,
        tmp_path / "out",
        widths=family.widths,
        class_names=("a", "b", "c"),
        scale=255.0,
        input_shape=SHAPE,
        images=np.random.default_rng(1).integers(0, 256, (4, *SHAPE)).astype(np.uint8),
    )
    assert report.params == family.widths.params(SHAPE)
    written = json.loads((tmp_path / "out" / "widths.json").read_text())
    assert Widths.from_dict(written["widths"]) == family.widths


def test_it_is_measured(network):
    family, model = network
    names = set(measure(model)["name"])
    assert {"stem_conv", "stage1_block1_conv2", "stage3_block1_conv2"} <= names
    assert not [name for name in names if name.startswith("stage2")]
    heard = {axis.name for axis in family.axes if axis.kind == "width" and axis.size}
    assert set(family.kernels(model)) == heard


# The search

FAMILY = ResNetFamily(Widths(16, (Stage(1, 16, 32), Stage(2, 16, 32), Stage(1, 32, 64))), SHAPE)
START = FAMILY.start
BLOCKS = [axis.name for axis in FAMILY.axes if axis.kind == "depth"]


def by(factors):
    return lambda name, number: number * factors.get(name, 1.0)


def test_a_depth_goes_where_less_than_half_a_block_is_left():
    axis = Axis("stage1/blocks", 3, "depth", "stage1", floor=0)
    assert [axis.fit(n, most=3) for n in (2.6, 1.4, 0.5, 0.49, 0.0)] == [3, 1, 1, 0, 0]
    assert Axis("stage1/blocks", 3, "depth", "stage1").fit(0.1, most=3) == 1


def test_its_widths_go_with_it_and_the_last_stage_stays():
    rule = Rule()
    found = adapt(START, FAMILY.axes, rule, by({"stage1/blocks": 0.4}))
    assert found == Widths.from_items(START.replace({"stage1/blocks": 0})).to_design()
    assert found["stem/filters"] == START["stem/filters"]
    assert adapt(START, FAMILY.axes, Rule(depth=False), by({"stage1/blocks": 0.4})) == START
    none = adapt(START, FAMILY.axes, rule, by(dict.fromkeys(BLOCKS, 0.0)))
    assert [none[name] for name in BLOCKS] == [0, 0, 1]
    assert none["stage3/mid"] == 32
    # The last that the network has, not the last of the family.
    two = family_without("stage3")
    again = adapt(two, FAMILY.axes, rule, by(dict.fromkeys(BLOCKS, 0.0)))
    assert [again[name] for name in BLOCKS] == [0, 1, 0]


def family_without(stage: str) -> Design:
    return FAMILY.checked(START.replace({f"{stage}/blocks": 0}))


def test_an_absent_stage_is_narrower_than_any():
    gone, least = family_without("stage3"), START.replace({"stage3/mid": 1, "stage3/out": 1})
    assert covers(least, gone)
    assert not covers(gone, least)


def test_what_was_lost_with_a_stage_brings_it_back():
    parent, child = (Outcome(d, (0.9,), 1) for d in (START, family_without("stage3")))
    found = grown_back(parent, child, Rule(), FAMILY.axes)
    assert found["stage3/blocks"] == 1
    assert 1 < found["stage3/mid"] < START["stage3/mid"]


NUMBERS = st.fixed_dictionaries(
    {a.name: st.integers(0 if a.kind == "depth" else 1, a.size) for a in FAMILY.axes}
)


@settings(deadline=None)
@given(NUMBERS, st.floats(0.1, 0.9), st.floats(0.05, 0.9), st.booleans())
def test_moves_make_designs_of_the_family_only(numbers, step, keep, depth):
    parent = settled(numbers, FAMILY.axes, most=START)
    rule = Rule(keep=keep, floor=2, depth=depth)
    found = shrunk(Outcome(parent, (0.9,), 1), rule, step, set(START), FAMILY.axes)
    assert found == FAMILY.checked(found)
    assert any(found[name] for name in BLOCKS)
    assert covers(parent, found)
    assert FAMILY.cost(found).params > 0
    again = grown_back(Outcome(parent, (0.9,), 1), Outcome(found, (0.5,), 1), rule, FAMILY.axes)
    assert again == FAMILY.checked(again)
    assert covers(parent, again)
    assert covers(again, found)


@pytest.mark.parametrize("auc", [0.9, 0.5])
def test_a_search_with_stages_that_go_ends(auc):
    history = [Outcome(START, (0.9,), FAMILY.cost(START).params)]
    rule = Rule(floor=2, repeats=1)
    while (design := propose_from_signals(history, rule, FAMILY)) is not None:
        assert design == FAMILY.checked(design)
        history.append(Outcome(design, (auc,), FAMILY.cost(design).params))
        assert len(history) < 200
    absent = [o for o in history if not all(o.design[name] for name in BLOCKS)]
    assert absent
    assert all(any(o.design[name] for name in BLOCKS) for o in history)


def test_one_multiplier_is_read_off_a_stage_that_is_there():
    family = ResNetFamily(Widths(16, (A, GONE)), SHAPE)
    history = [Outcome(family.start, (0.9,), 1)]
    design = propose_uniform(history, Rule(floor=2), family)
    assert design == Widths(8, (Stage(2, 2, 4), GONE)).to_design()
    history.append(Outcome(design, (0.5,), 1))
    assert propose_uniform(history, Rule(floor=2), family) not in (None, design)


def test_the_space_holds_one_design_for_each_network():
    hp = keras_tuner.HyperParameters()
    hp.values = {**START, "stage2/blocks": 0, "stage2/mid": 7}
    assert declare(hp, FAMILY.axes) == family_without("stage2")
    hp.values = {**START, **dict.fromkeys(BLOCKS, 0)}
    kept = declare(hp, FAMILY.axes)
    assert [kept[name] for name in BLOCKS] == [0, 0, 1]
    assert kept["stage3/mid"] == START["stage3/mid"]
    # A start that lacks a stage has none to bring.
    start = ResNetFamily(Widths(16, (A, GONE, C)), SHAPE)
    assert declare(keras_tuner.HyperParameters(), start.axes) == start.start

"""Every row of the registry of families, through all the laws of `Family`."""

from __future__ import annotations

import json
import math
import random

import keras
import numpy as np
import pytest

from ckrm_tf import CKRMError, Layout, ResNetFamily, Stage, Widths
from ckrm_tf.criteria.signals import width_signals
from ckrm_tf.design.axes import settled
from ckrm_tf.families.base import StartOptions
from ckrm_tf.families.registry import FAMILIES, family
from ckrm_tf.families.vgg import VGGFamily
from ckrm_tf.layers.slim_conv import SlimConv2D
from ckrm_tf.tuning.descent import _Descent
from ckrm_tf.tuning.from_signals import propose_from_signals as propose
from ckrm_tf.tuning.history import Outcome
from ckrm_tf.tuning.rule import Rule
from ckrm_tf.tuning.uniform import propose_uniform

SHAPE, CLASSES = (32, 24, 2), 5
SMALL = Widths(8, (Stage(2, 8, 16), Stage(1, 12, 20)))

CASES = {
    **{name: family(name, StartOptions(12, 1.5, (2, 1)), SHAPE, CLASSES) for name in FAMILIES},
    **{
        f"{name}, multiples of 8": family(
            name, StartOptions(24, 1.5, (2, 1), multiple=8), SHAPE, CLASSES
        )
        for name in FAMILIES
    },
    "resnet, torchvision": ResNetFamily(SMALL, SHAPE, CLASSES, Layout.torchvision()),
    "resnet, slim": ResNetFamily(SMALL, SHAPE, CLASSES, Layout(conv="slim")),
    "resnet, a stage absent": ResNetFamily(
        Widths(8, (Stage(1, 8, 16), Stage(0, 8, 16), Stage(2, 12, 20))), SHAPE, CLASSES
    ),
    "resnet, grouped": ResNetFamily(SMALL, SHAPE, CLASSES, Layout(groups=4)),
    "resnet, slim, grouped": ResNetFamily(
        Widths(8, (Stage(1, 16, 16),)), SHAPE, CLASSES, Layout(conv="slim", groups=2)
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request):
    return request.param


def drawn(case, seed: int):
    """A design of the family, each number drawn from what its axis allows."""
    numbers = random.Random(seed)
    found = {
        a.name: a.fit(numbers.uniform(a.floor, a.size), most=a.size, floor=2) for a in case.axes
    }
    return settled(found, case.axes, most=case.start)


@pytest.mark.parametrize("seed", range(3))
def test_narrowed_widths_are_multiples(case, seed):
    widths = [a for a in case.axes if a.kind == "width"]
    design = drawn(case, seed)
    for axis in widths:
        assert design[axis.name] in (0, axis.size) or design[axis.name] % axis.multiple == 0
    if getattr(case, "multiple", 1) == 8:
        assert {a.multiple for a in widths} == {8}
        assert any(design[a.name] < a.size for a in widths)


def test_a_step_down_is_at_least_a_multiple():
    case = CASES["vgg, multiples of 8"]
    rule = Rule(margin=0.02, floor=4)
    moves = _Descent(case.start, {}, rule, case)._moves(
        case.start.replace({"stage1/filters": 16, "stage2/filters": 8})
    )
    # Four fifths of 16 is nearest to 16; 8 is the least.
    found = [d["stage1/filters"] for move, d in moves if move.lower == {"stage1/filters"}]
    assert found == [8]


def macs_of(model) -> int:
    """Multiply-accumulates counted on the layers of a model that was built: kernels x outputs."""
    found = 0
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, SlimConv2D):
            continue
        if type(layer).__name__ == "Conv2D":
            height, width = OUTPUTS[layer.name, layer.path]
            found += math.prod(layer.kernel.shape) * height * width
        elif type(layer).__name__ == "Dense":
            found += math.prod(layer.kernel.shape)
    return found


OUTPUTS: dict = {}


def watched(model):
    """Run a model on one image while the size of every convolution's output is written down."""
    OUTPUTS.clear()
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ == "Conv2D":

            def call(x, layer=layer, plain=layer.call):
                y = plain(x)
                OUTPUTS[layer.name, layer.path] = y.shape[1:3]
                return y

            layer.call = call
    model(np.zeros((1, *model.input_shape[1:]), np.float32))
    return model


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_arithmetic_is_that_of_the_network_built(case, seed):
    design = case.start if seed is None else drawn(case, seed)
    model, cost = watched(case.build(design)), case.cost(design)
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert cost.params == trainable
    assert cost.total == model.count_params()
    assert cost.macs == macs_of(model)
    assert model.input_shape[1:] == SHAPE
    assert model.output_shape[1:] == (CLASSES,)
    assert (model.input.name, model.output_names) == ("image", ["logits"])


def test_other_numbers_cost_less(case):
    costs = {case.cost(drawn(case, seed)) for seed in range(6)}
    assert len(costs) > 1
    assert all(c.params < case.cost(case.start).params for c in costs - {case.cost(case.start)})
    for axis in case.axes:
        if axis.fit(1, axis.size) < axis.size:
            narrower = case.start.replace({axis.name: axis.fit(1, axis.size)})
            assert case.cost(narrower).params < case.cost(case.start).params


def test_axes_name_every_number_once_and_begin_at_its_size(case):
    assert [a.name for a in case.axes] == list(case.start)
    assert [a.size for a in case.axes] == list(case.start.values())
    assert {a.kind for a in case.axes} == {"width", "depth"}
    for axis in case.axes:
        assert axis.least() <= axis.size
        assert axis.fit(axis.size, axis.size) == axis.size


def test_designs_survive_as_records(case):
    for seed in range(4):
        design = drawn(case, seed)
        record = json.loads(json.dumps(case.to_record(design)))
        assert case.from_record(record) == design
        assert case.from_record({"design": design.to_dict()}) == design
        assert case.from_record(design.to_dict()) == design
    assert json.dumps(case.facts())
    assert len({case.describe(drawn(case, seed)) for seed in range(6)}) > 1


@pytest.mark.parametrize("bad", [{}, {"design": {"a": 1}}, {"design": 3}, {"widths": 3}])
def test_a_record_of_something_else_is_refused(case, bad):
    with pytest.raises(CKRMError, match="design"):
        case.from_record(bad)


@pytest.mark.parametrize("seed", [None, 3])
def test_kernels_speak_for_every_width_with_as_many_filters(case, seed):
    design = case.start if seed is None else drawn(case, seed)
    found = case.kernels(case.build(design))
    widths = [a.name for a in case.axes if a.kind == "width" and a.size]
    assert set(found) <= set(widths)
    if seed is None:
        assert set(found) == set(widths)
    for name, kernels in found.items():
        assert kernels
        assert all(kernel.reason is None for kernel in kernels)
        assert all(kernel.shape[-1] <= design[name] for kernel in kernels)


def test_signals_tell_dead_kernels(case):
    # The kernels are so few that chance alone makes some alike.
    keras.utils.set_random_seed(1)
    model = case.build(case.start)
    quiet = width_signals(model, case)
    assert {name: s.redundancy for name, s in quiet.items()} == pytest.approx(
        dict.fromkeys(quiet, 0), abs=0.2
    )
    name, kernels = list(case.kernels(model).items())[-1]
    for kernel in kernels:
        layer = model
        for part in kernel.name.split("/"):
            layer = getattr(layer, part) if layer is not model else model.get_layer(part)
        weights = np.array(layer.kernel)
        # So many die that one filter is left of each group.
        layer.kernel.assign(weights * np.where(np.arange(weights.shape[-1]) == 0, 1, 1e-4))
    loud = width_signals(model, case)[name]
    assert loud.redundancy > quiet[name].redundancy + 0.3
    assert loud.needed < quiet[name].needed


def test_names_are_the_same_in_every_network(case):
    """Weights, journals and masks are found by name."""
    first, again = case.build(case.start), case.build(case.start)
    assert [w.path for w in first.weights] == [w.path for w in again.weights]
    shallow = {layer.name for layer in case.build(drawn(case, 5)).layers}
    assert shallow <= {layer.name for layer in first.layers}


def test_every_strategy_proposes_what_can_be_built(case):
    for strategy in (propose, propose_uniform):
        history = [Outcome(case.start, (0.9,), case.cost(case.start).params)]
        while (design := strategy(history, Rule(floor=2, repeats=1), case)) is not None:
            params = case.cost(design).params  # refuses what cannot be built
            assert params < history[-1].params
            history.append(Outcome(design, (0.9,), params))
        assert len(history) > 2
        case.build(history[-1].design)


def test_a_regularizer_is_on_every_convolution(case):
    model = case.build(case.start, kernel_regularizer="l1")
    convolutions = [
        layer
        for layer in model._flatten_layers(include_self=False)
        if type(layer).__name__ == "Conv2D"
    ]
    assert convolutions
    assert all(layer.kernel_regularizer is not None for layer in convolutions)


def test_an_unknown_family_is_refused_with_the_nearest():
    with pytest.raises(CKRMError, match="Did you mean 'resnet'"):
        family("resnett", StartOptions(8, 2, (1,)), SHAPE, CLASSES)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_cannot_be_built_is_refused_in_the_users_words(name):
    small = family(name, StartOptions(8, 2, (1,) * 4), (8, 8, 1), 3)
    with pytest.raises(CKRMError, match="image size too small"):
        small.cost(small.start)
    one = family(name, StartOptions(8, 2, (1,)), SHAPE, 1)
    with pytest.raises(CKRMError, match="classes"):
        one.cost(one.start)
    with pytest.raises(CKRMError):
        family(name, StartOptions(0, 2, (1,)), SHAPE, 3)


def test_options_that_a_family_has_not_are_refused():
    with pytest.raises(CKRMError, match="plain for the family vgg"):
        family("vgg", StartOptions(8, 2, (1,), conv="slim"), SHAPE, CLASSES)
    with pytest.raises(CKRMError, match="stages"):
        VGGFamily((8, 8), (1,))


def test_the_resnet_is_exact_to_the_parameter():
    for widths, params in ((Widths.standard(), 23_534_467), (Widths.from_rule(16, 0.75), 128_062)):
        case = ResNetFamily(widths)
        assert case.cost(case.start).params == params
        assert widths.params() == params
    assert ResNetFamily(Widths.standard(), classes=1000).cost(Widths.standard().to_design()) == (
        Widths.standard().cost(classes=1000)
    )

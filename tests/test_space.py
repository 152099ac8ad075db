from __future__ import annotations

import math

import keras_tuner
import pytest

from ckrm_tf import Axis, Design, ResNetFamily, Stage, Widths
from ckrm_tf.tuning.bounds import design_in
from ckrm_tf.tuning.space import FamilyHyperModel, declare

START = Widths(16, (Stage(2, 16, 64), Stage(3, 3, 32)))
FAMILY = ResNetFamily(START, (16, 16, 1), 2)
AXES = FAMILY.axes


def test_the_default_is_the_starting_network():
    assert declare(keras_tuner.HyperParameters(), AXES) == START.to_design()


def test_the_space_has_a_width_each_under_its_name_and_range():
    hp = keras_tuner.HyperParameters()
    declare(hp, AXES, floor=4)
    space = {p.name: p for p in hp.space}
    assert list(space) == [name for name, _ in START.items()]
    assert (space["stem/filters"].min_value, space["stem/filters"].max_value) == (4, 16)
    assert (space["stage1/blocks"].min_value, space["stage1/blocks"].max_value) == (0, 2)
    assert space["stage1/out"].sampling == "log"
    # A start below the floor is not widened.
    assert (space["stage2/mid"].min_value, space["stage2/mid"].max_value) == (3, 3)


def test_values_given_are_the_widths_returned():
    wanted = Widths(5, (Stage(1, 7, 9), Stage(2, 3, 11)))
    hp = keras_tuner.HyperParameters()
    hp.values = dict(wanted.items())
    assert declare(hp, AXES) == wanted.to_design()


@pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:getName:DeprecationWarning")
def test_a_random_oracle_of_keras_tuner_samples_it(tmp_path):
    """Any oracle may search the space: its draws are networks inside the box."""
    oracle = keras_tuner.oracles.RandomSearchOracle(
        objective=keras_tuner.Objective("score", "max"), max_trials=12, seed=1
    )
    oracle._set_project_dir(str(tmp_path), "random")
    hp = keras_tuner.HyperParameters()
    declare(hp, AXES)
    oracle.update_space(hp)
    drawn = set()
    for number in range(12):
        trial = oracle.create_trial(f"tuner{number}")
        widths = Widths.from_items(design_in(trial.hyperparameters.values, AXES))
        drawn.add(widths)
        for (name, most), (_, width) in zip(START.items(), widths.items(), strict=True):
            gone = name.startswith("stage") and not dict(widths.items())[f"{name[:6]}/blocks"]
            least = min(4, most) if not name.endswith("/blocks") else 0
            assert width == 0 if gone else least <= width <= most
        assert any(stage.blocks for stage in widths.stages)
    assert len(drawn) == 12
    assert any(not stage.blocks for widths in drawn for stage in widths.stages)


def test_the_hypermodel_builds_the_network_of_the_hyperparameters():
    wanted = Widths(4, (Stage(1, 4, 8), Stage(1, 3, 4)))
    hyper = FamilyHyperModel(FAMILY)
    hp = keras_tuner.HyperParameters()
    hp.values = dict(wanted.items())
    model = hyper.build(hp)
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert trainable == wanted.params((16, 16, 1), 2)


def test_multiples_of_an_axis_are_those_of_the_space():
    hp = keras_tuner.HyperParameters()
    axes = (Axis("wide", 32, "width", "stage1", multiple=8), Axis("deep", 3, "depth", "stage1"))
    assert declare(hp, axes, floor=4) == Design({"wide": 32, "deep": 3})
    space = {p.name: p for p in hp.space}
    assert (space["wide"].min_value, space["wide"].step) == (8, 8)
    assert (space["deep"].min_value, space["deep"].max_value) == (1, 3)

"""The table of hand-made models: every law holds for every one."""

from __future__ import annotations

import keras
import narrow_laws
import narrow_zoo_graphs  # noqa: F401 - fills the table
import narrow_zoo_layers  # noqa: F401 - fills the table
import numpy as np
import pytest
from narrow_zoo import ZOO

from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.rules import rule_for
from ckrm_tf.narrowing.rules.base import OPS, RULES


def compiled(function):
    import tensorflow as tf  # noqa: PLC0415 - one model needs it

    return tf.function(function, jit_compile=True)


def subject_of(name):
    keras.utils.set_random_seed(0)
    case = ZOO[name]
    model = case.build()
    return narrow_laws.Subject(
        model,
        narrow_laws.images(model, np.random.default_rng(1)),
        share=case.share,
        call=compiled if case.compiled else None,
        tolerance=case.tolerance,
    )


@pytest.fixture(scope="module", params=list(ZOO))
def subject(request):
    return request.param, subject_of(request.param)


@pytest.mark.parametrize("law", narrow_laws.LAWS)
def test_law(subject, law):
    name, made = subject
    if law in ZOO[name].without:
        pytest.skip("no training on a CPU" if law == "trains" else "not in its kind")
    narrow_laws.LAWS[law](made)


def test_saved_and_read_back(subject, tmp_path):
    name, made = subject
    if "saved" in ZOO[name].without:
        pytest.skip("Keras does not read the original back")
    narrow_laws.saved(made, tmp_path)


def test_what_is_free(subject):
    name, made = subject
    case, groups = ZOO[name], made.channels.groups
    assert len(groups.free) == case.free, str(groups)
    assert sorted(groups.frozen) == sorted(case.frozen)
    assert all(layer in groups.frozen[layer] for layer in case.frozen)


@pytest.mark.parametrize("name", ["residual", "grouped", "unet_batch_norm", "squeeze_and_gates"])
def test_reference_is_the_model_with_its_weights_at_zero(name):
    made = subject_of(name)
    with narrow_laws.zeroed(made.channels, made.alive):
        plain = made.outputs(made.model)
    assert narrow_laws.error(plain, made.reference) < narrow_laws.TOLERANCE
    assert narrow_laws.error(plain, made.outputs(made.model)) > narrow_laws.BROKEN


def test_every_rule_is_used_by_a_model_of_the_table():
    used = {
        rule_for(operation)
        for case in ZOO.values()
        for _, operation in Channels(case.build()).trace.layers
    }
    rules = set(RULES.values()) | set(OPS.values())
    assert {rule.__name__ for rule in rules - used} == set()

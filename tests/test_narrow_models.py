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

PAIRS = [
    (name, law)
    for name in ZOO
    for law in (*narrow_laws.LAWS, "saved")
    if law not in ZOO[name].without
]


def compiled(function):
    import tensorflow as tf  # noqa: PLC0415 - one model needs it

    return tf.function(function, jit_compile=True)


@pytest.fixture(scope="module")
def subject(request):
    keras.utils.set_random_seed(0)
    case = ZOO[request.param]
    model = case.build()
    inputs = narrow_laws.images(model, np.random.default_rng(1))
    return narrow_laws.Subject(
        model,
        inputs,
        share=case.share,
        call=compiled if case.compiled else None,
        tolerance=case.tolerance,
    )


@pytest.mark.parametrize(("subject", "law"), PAIRS, indirect=["subject"])
def test_law(subject, law, tmp_path):
    if law == "saved":
        narrow_laws.saved(subject, tmp_path)
    else:
        narrow_laws.LAWS[law](subject)


@pytest.mark.parametrize("subject", list(ZOO), indirect=True)
def test_what_is_free(subject, request):
    case = ZOO[request.node.callspec.params["subject"]]
    groups = subject.channels.groups
    assert len(groups.free) == case.free, str(groups)
    assert sorted(groups.frozen) == sorted(case.frozen)
    for name in case.frozen:
        assert name in groups.frozen[name]


@pytest.mark.parametrize(
    "subject", ["residual", "grouped", "unet_batch_norm", "squeeze_and_gates"], indirect=True
)
def test_reference_is_the_model_with_its_weights_at_zero(subject):
    with narrow_laws.zeroed(subject.channels, subject.alive):
        plain = subject.outputs(subject.model)
    assert narrow_laws.error(plain, subject.reference) < narrow_laws.TOLERANCE
    assert narrow_laws.error(plain, subject.outputs(subject.model)) > narrow_laws.BROKEN


def test_every_rule_is_used_by_a_model_of_the_table():
    used = {
        rule_for(operation)
        for case in ZOO.values()
        for _, operation in Channels(case.build()).trace.layers
    }
    rules = set(RULES.values()) | set(OPS.values())
    assert {rule.__name__ for rule in rules - used} == set()

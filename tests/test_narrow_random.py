"""The laws on random graphs: 50 in the ordinary run, 500 in the long one."""

from __future__ import annotations

import keras
import narrow_laws
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from narrow_random import graph

from ckrm_tf import cost
from ckrm_tf.narrowing.rewrite import Rewriter

# The least that outputs must vary over the images for a comparison to count.
VISIBLE = 1e-3
SHOWN: dict[str, list[float]] = {}


# A norm over one channel is x / s - mean / s in float32: two large equal numbers cancel.
ONE_CHANNEL = 1e-4


def lonely_norm(subject):
    """Whether a norm over channels is left with one of them."""
    by_path = dict(subject.channels.trace.layers)
    return any(
        ids is not None and subject.channels.mask(ids, subject.alive).sum() == 1
        for path in subject.channels.trace.inexact
        for variable in by_path[path].variables
        for ids in subject.channels.trace.uses.get(id(variable), {}).values()
    )


def check(model, seed, share, run):
    keras.utils.set_random_seed(seed)
    inputs = narrow_laws.images(model, np.random.default_rng(seed))
    subject = narrow_laws.Subject(model, inputs, seed, share)
    channels = subject.channels
    same = Rewriter(channels, channels.alive(channels.all())).build()
    before, after = subject.outputs(model), subject.outputs(same)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    found = narrow_laws.error(subject.outputs(subject.small), subject.reference)
    assert found <= (ONE_CHANNEL if lonely_norm(subject) else narrow_laws.TOLERANCE)
    table = cost(subject.small)
    assert channels.costs(subject.keep) == (table.params, table.macs)
    assert table.params == narrow_laws.count_params(subject.small)
    SHOWN.setdefault(run, []).append(found)
    SHOWN.setdefault(f"{run}, spread", []).append(narrow_laws.spread(subject.reference))
    widths = {name: len(kept) for name, kept in subject.keep.items()}
    quick = channels.counter(channels.params)(widths), channels.counter(channels.trace.macs)(widths)
    assert quick == channels.costs(channels.first(widths))
    removed = channels.costs(subject.keep)[0] < channels.costs(channels.all())[0]
    SHOWN.setdefault(f"{run}, narrowed", []).append(float(removed))


def report(run, count):
    spread, narrowed = SHOWN[f"{run}, spread"], SHOWN[f"{run}, narrowed"]
    visible = np.mean(np.array(spread) > VISIBLE)
    print(
        f"{len(SHOWN[run])} graphs: masked error at most {max(SHOWN[run]):.1e}, spread over images "
        f"{np.median(spread):.1e} in the median and visible in {visible:.1%}, "
        f"narrowed {np.mean(narrowed):.1%}"
    )
    assert len(SHOWN[run]) >= count
    assert visible > 0.9
    assert np.mean(narrowed) > 0.8


ORDINARY = settings(
    max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
LONG = settings(ORDINARY, max_examples=500)
DRAWN = {"data": st.data(), "seed": st.integers(0, 999), "share": st.floats(0.2, 0.9)}


def test_laws_hold_on_random_graphs():
    @ORDINARY
    @given(**DRAWN)
    def every(data, seed, share):
        check(graph(data.draw), seed, share, "ordinary")

    every()
    report("ordinary", 50)


@pytest.mark.long
def test_laws_hold_on_many_random_graphs():
    @LONG
    @given(**DRAWN)
    def every(data, seed, share):
        check(graph(data.draw), seed, share, "long")

    every()
    report("long", 500)

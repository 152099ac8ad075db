from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckrm_tf import Axis, CKRMError, Design

NUMBERS = st.dictionaries(st.text(min_size=1), st.integers(0, 10**6), min_size=1, max_size=12)


@given(NUMBERS)
def test_every_form_gives_the_same_design_back(numbers):
    design = Design(numbers)
    assert dict(design) == numbers
    assert list(design) == list(numbers)
    for again in (
        Design.from_dict(design.to_dict()),
        Design.from_json(design.to_json()),
        Design(design.items()),
        pickle.loads(pickle.dumps(design)),
        copy.deepcopy(design),
    ):
        assert again == design
        assert hash(again) == hash(design)
        assert list(again) == list(design)


@given(NUMBERS, st.data())
def test_another_number_is_another_design(numbers, data):
    name = data.draw(st.sampled_from(list(numbers)))
    design = Design(numbers)
    other = design.replace({name: numbers[name] + 1})
    assert other != design
    assert len({design, other}) == 2
    assert other.replace({name: numbers[name]}) == design
    assert list(other) == list(design)


def test_order_is_kept_and_makes_no_difference():
    one, two = Design({"a": 1, "b": 2}), Design({"b": 2, "a": 1})
    assert one == two
    assert hash(one) == hash(two)
    assert (list(one), list(two)) == (["a", "b"], ["b", "a"])
    assert str(one) == "a 1, b 2"


def test_it_is_frozen_whatever_it_was_made_from():
    numbers = {"a": 1}
    design = Design(numbers)
    numbers["a"] = 2
    assert design["a"] == 1
    with pytest.raises(AttributeError, match="frozen"):
        design.a = 2
    with pytest.raises(TypeError):
        design["a"] = 2


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({}, "at least one"),
        ({"a": -1}, "a: expected a whole number of at least 0, received -1"),
        ({"a": True}, "received True"),
        ({"a": 1.0}, "received 1.0"),
        ({"a": "8"}, "received '8'"),
        ({"": 1}, "texts"),
        ({3: 1}, "received 3"),
    ],
)
def test_what_is_no_design_is_refused(numbers, words):
    with pytest.raises(CKRMError, match=words):
        Design(numbers)


@pytest.mark.parametrize("text", ["", "[1]", "3", "null", '{"a": 1.5}'])
def test_json_that_is_no_design_is_refused(text):
    with pytest.raises(CKRMError, match="design"):
        Design.from_json(text)


def test_a_misspelt_name_is_refused_with_the_nearest():
    with pytest.raises(CKRMError, match="Did you mean 'stage1/mid'"):
        Design({"stage1/mid": 8}).replace({"stage1/mids": 4})


@given(
    st.one_of(
        st.builds(
            Axis,
            st.just("a"),
            st.integers(1, 300),
            st.just(kind),
            st.just("stage1"),
            floor=st.integers(least, 40),
            multiple=st.integers(1, 32),
        )
        for kind, least in (("width", 1), ("depth", 0))
    ),
    st.floats(0, 400),
    st.integers(1, 20),
    st.data(),
)
def test_what_an_axis_allows(axis, wish, floor, data):
    most = data.draw(st.integers(1, axis.size))
    found = axis.fit(wish, most, floor)
    assert min(axis.floor, 1) <= found <= most
    assert found == most or found % axis.multiple == 0 or found == axis.size
    least = max(axis.floor, floor if axis.kind == "width" else 0)
    assert found >= min(least, most)
    if axis.multiple == 1 and least <= wish <= most:
        # Half of one stays one.
        assert found == (1 if wish == 0.5 else round(wish))
    assert axis.fit(found, most, floor) == found


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0},
        {"kind": "blocks"},
        {"floor": 0},
        {"multiple": 0},
        {"kind": "depth", "size": 0},
        {"kind": "depth", "floor": -1},
        {"size": -1, "within": "b"},
    ],
)
def test_an_impossible_axis_is_refused(changes):
    with pytest.raises(CKRMError, match="axis a"):
        Axis(**{"name": "a", "size": 8, "kind": "width", "group": "stage1"} | changes)

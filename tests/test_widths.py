from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckrm_tf import CKRMError, Stage, Widths

WIDTHS = st.builds(
    Widths,
    st.integers(1, 3000),
    st.lists(
        st.builds(Stage, st.integers(1, 50), st.integers(1, 3000), st.integers(1, 3000)),
        min_size=1,
        max_size=6,
    ).map(tuple),
)


def test_rule_gives_the_two_published_networks() -> None:
    standard = Widths.from_rule(64, 2)
    assert standard.stem == 64
    assert [s.mid for s in standard.stages] == [64, 128, 256, 512]
    assert [s.out for s in standard.stages] == [256, 512, 1024, 2048]
    slim = Widths.from_rule(16, 0.75)
    assert slim.stem == 16
    assert [s.mid for s in slim.stages] == [16, 32, 24, 18]
    assert [s.out for s in slim.stages] == [64, 48, 36, 27]
    assert [s.blocks for s in slim.stages] == [3, 4, 6, 3]


@pytest.mark.parametrize(
    ("depth", "blocks"), [(50, (3, 4, 6, 3)), (101, (3, 4, 23, 3)), (152, (3, 8, 36, 3))]
)
def test_standard_depths(depth: int, blocks: tuple[int, ...]) -> None:
    widths = Widths.standard(depth)
    assert tuple(s.blocks for s in widths.stages) == blocks
    # Three convolutions per block, the stem and the dense head make up the name.
    assert 3 * sum(blocks) + 2 == depth


@given(WIDTHS)
def test_round_trips(widths: Widths) -> None:
    assert Widths.from_json(widths.to_json()) == widths
    assert Widths.from_dict(widths.to_dict()) == widths
    assert Widths.from_items(dict(widths.items())) == widths
    assert hash(Widths.from_json(widths.to_json())) == hash(widths)
    assert "\n" not in widths.to_json()


@given(WIDTHS)
def test_items_ignore_other_names(widths: Widths) -> None:
    items = {"learning_rate": 7, **dict(widths.items())}
    assert Widths.from_items(items) == widths


def test_names_and_text() -> None:
    widths = Widths(4, (Stage(1, 2, 3), Stage(5, 6, 7)))
    assert dict(widths.items()) == {
        "stem/filters": 4,
        "stage1/blocks": 1,
        "stage1/mid": 2,
        "stage1/out": 3,
        "stage2/blocks": 5,
        "stage2/mid": 6,
        "stage2/out": 7,
    }
    assert str(widths) == "4 | mid 2/6 | out 3/7 | blocks 1/5"


def test_is_a_value() -> None:
    widths = Widths.standard()
    assert widths == Widths(64, tuple((s.blocks, s.mid, s.out) for s in widths.stages))  # type: ignore[arg-type]
    assert len({widths, Widths.from_rule(64, 2), Widths.from_rule(16, 0.75)}) == 2
    with pytest.raises(AttributeError):
        widths.stem = 3  # type: ignore[misc]


@pytest.mark.parametrize("bad", [0, -1, 1.5, "8", True, None])
def test_counts_must_be_whole_and_positive(bad: object) -> None:
    with pytest.raises(CKRMError, match="at least 1"):
        Widths(bad, (Stage(1, 1, 1),))  # type: ignore[arg-type]
    with pytest.raises(CKRMError, match="stage mid"):
        Stage(1, bad, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("growth", [0, -1, "2", float("nan")])
def test_growth_must_be_positive(growth: object) -> None:
    with pytest.raises(CKRMError, match="growth"):
        Widths.from_rule(8, growth)  # type: ignore[arg-type]


def test_rule_that_dies_out_is_refused() -> None:
    with pytest.raises(CKRMError, match="stage"):
        Widths.from_rule(1, 0.1)


def test_other_bad_input() -> None:
    with pytest.raises(CKRMError, match="at least one Stage"):
        Widths(8, ())
    with pytest.raises(CKRMError, match="ResNet depth"):
        Widths.standard(18)
    with pytest.raises(CKRMError, match="expected JSON"):
        Widths.from_json("{")
    for text in ("{}", "[]", "3", '{"stem": 1, "stages": [{"mid": 2}]}', '{"stem": 1}'):
        with pytest.raises(CKRMError, match="widths"):
            Widths.from_json(text)

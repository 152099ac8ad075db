from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckrm_tf import CKRMError, Stage, Widths
from ckrm_tf.criteria.base import Signal
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.tuning import from_signals as proposal_module
from ckrm_tf.tuning import moves, noise, uniform
from ckrm_tf.tuning.answers import Stop, Train
from ckrm_tf.tuning.history import Outcome, merged
from ckrm_tf.tuning.rule import Rule


def widths_of(outcome: Outcome) -> Widths:
    return Widths.from_items(outcome.design)


def on_widths(strategy):
    """A strategy that answers with the widths of the ResNet whose history it is given."""

    def ask(history, rule, running=()):
        first = widths_of(history[0]) if history else START
        running = [widths.to_design() for widths in running]
        found = strategy(history, rule, ResNetFamily(first), running)
        design = getattr(found, "design", None) if isinstance(found, Train | Stop) else found
        return None if design is None else Widths.from_items(design)

    return ask


propose = on_widths(proposal_module.propose_from_signals)
propose_uniform = on_widths(uniform.propose_uniform)


def noisy(seed: int):
    return on_widths(noise.NoisyPropose(seed))


def levelled(parent, rule, step, groups) -> Widths:
    family = ResNetFamily(widths_of(parent))
    return Widths.from_items(moves.levelled(parent, rule, step, groups, family))


def shrunk(parent, rule, step, group) -> Widths:
    axes = ResNetFamily(widths_of(parent)).axes
    return Widths.from_items(moves.shrunk(parent, rule, step, group, axes))


START = Widths(64, (Stage(3, 64, 256), Stage(4, 128, 512)))
FILTERS = tuple(name for name, _ in START.items() if not name.endswith("/blocks"))
QUIET = Signal(redundancy=0.0, needed=1.0, excess=0.0)
# Proportions are kept, so that what a move does is plain to see.
RULE = Rule(depth=False, repeats=1, level=False)
LEVEL = replace(RULE, level=True)


def outcome(widths: Widths, *aucs: float, **signals: Signal) -> Outcome:
    """A trial whose widths are all quiet but for those given (`stage1_mid` for `stage1/mid`)."""
    loud = {name.replace("_", "/"): signal for name, signal in signals.items()}
    return Outcome(widths.to_design(), aucs, widths.params(), dict.fromkeys(FILTERS, QUIET) | loud)


def scaled(widths: Widths, factor: float) -> Widths:
    return Widths.from_items(
        {k: v if k.endswith("/blocks") else round(v * factor) for k, v in widths.items()}
    )


def change(widths: Widths, **items: int) -> Widths:
    named = {k.replace("_", "/"): v for k, v in items.items()}
    return Widths.from_items(dict(widths.items()) | named)


def redundant(needed: float, redundancy: float = 0.5, excess: float = 0.3) -> Signal:
    return Signal(redundancy, needed, excess)


def test_lambda_zero_everywhere_goes_on_shrinking():
    assert propose([outcome(START, 0.9)], RULE) == scaled(START, 0.5)
    history = [outcome(START, 0.9), outcome(scaled(START, 0.5), 0.9)]
    assert propose(history, RULE) == scaled(START, 0.25)


def test_auc_within_the_margin_counts_as_held_and_just_below_it_does_not():
    held = [outcome(START, 0.9), outcome(scaled(START, 0.5), 0.881)]
    assert propose(held, RULE) == scaled(START, 0.25)
    lost = [outcome(START, 0.9), outcome(scaled(START, 0.5), 0.879)]
    assert propose(lost, RULE) != scaled(START, 0.25)


def test_no_signal_at_all_counts_as_no_redundancy():
    bare = Outcome(START.to_design(), (0.9,), START.params())
    assert propose([bare], RULE) == scaled(START, 0.5)


def test_redundant_width_shrinks_by_what_is_needed_on_top_of_the_bold_step():
    history = [outcome(START, 0.9, stage1_mid=redundant(0.75))]
    assert propose(history, RULE) == change(scaled(START, 0.5), stage1_mid=24)


def test_redundant_width_never_shrinks_below_keep():
    rule = replace(RULE, keep=0.3)
    history = [outcome(START, 0.9, stage1_mid=redundant(0.9), stage2_out=redundant(0.01))]
    assert propose(history, rule) == change(
        scaled(START, 0.5), stage1_mid=round(64 * 0.9 * 0.5), stage2_out=round(0.3 * 512)
    )


def test_redundancy_up_to_the_tolerance_is_none():
    at = outcome(START, 0.9, stage1_mid=redundant(0.25, redundancy=0.01))
    above = outcome(START, 0.9, stage1_mid=redundant(0.25, redundancy=0.011))
    assert propose([at], RULE) == scaled(START, 0.5)
    assert propose([above], RULE) == change(scaled(START, 0.5), stage1_mid=16)


def test_depth_shrinks_too_when_asked_and_stays_above_zero():
    proposal = propose([outcome(START, 0.9)], Rule(level=False))
    assert [s.blocks for s in proposal.stages] == [2, 2]
    shallow = Widths(8, (Stage(1, 8, 8),))
    assert propose([outcome(shallow, 0.9)], Rule()).stages[0].blocks == 1


def follow(history: list[Outcome], rule: Rule, auc: float, **signals: Signal) -> list[Widths]:
    """The proposals made when every further network comes out with `auc`, to the end."""
    history, found = list(history), []
    while (widths := propose(history, rule)) is not None:
        found.append(widths)
        history.append(outcome(widths, auc, **signals))
        assert len(found) < 200
    return found


def touched(widths: Widths) -> set[str]:
    """The stages of START whose widths are narrower here."""
    before = dict(START.items())
    return {name.partition("/")[0] for name, width in widths.items() if width < before[name]}


def test_lost_auc_keeps_the_least_redundant_stage_first():
    signals = {"stage2_mid": Signal(0.1, 0.9, 0.2), "stage1_out": redundant(0.9, 0.4)}
    found = follow([outcome(START, 0.9, **signals)], RULE, auc=0.5)
    assert [touched(w) for w in found[:3]] == [
        {"stem", "stage1", "stage2"},
        {"stem", "stage1"},
        {"stage2"},
    ]


def test_excess_ranks_the_stages_where_nothing_is_redundant_then_the_later_one_goes_first():
    loud = outcome(START, 0.9, stage1_mid=Signal(0.0, 1.0, 0.2))
    assert touched(follow([loud], RULE, auc=0.5)[1]) == {"stem", "stage1"}
    equal = outcome(START, 0.9)
    assert touched(follow([equal], RULE, auc=0.5)[1]) == {"stage2"}


def test_lost_auc_grows_back_halfway_where_the_lost_network_is_not_redundant():
    start = outcome(START, 0.9)
    signals = {"stage1_mid": redundant(0.5)}
    last = change(START, stem_filters=32, stage1_mid=32, stage1_out=128)
    history = [
        start,
        outcome(scaled(START, 0.5), 0.7),
        outcome(change(START, stage2_mid=64, stage2_out=256), 0.7),
        outcome(last, 0.7, **signals),
    ]
    assert propose(history, replace(RULE, least=0.0)) == change(
        last, stem_filters=round(64 * math.sqrt(0.5)), stage1_out=round(256 * math.sqrt(0.5))
    )


def test_a_child_that_lost_has_the_parent_and_the_start_trained_again_first():
    rule = replace(RULE, repeats=3)
    half, quarter = scaled(START, 0.5), scaled(START, 0.25)
    start, parent, child = [0.9], [0.9], outcome(quarter, 0.6)
    asked = []
    while (widths := propose([outcome(START, *start), outcome(half, *parent), child], rule)) in (
        START,
        half,
    ):
        asked.append(widths)
        (start if widths == START else parent).append(0.9)
    assert asked == [half, START, half, START]
    assert widths == propose([outcome(START, 0.9), outcome(half, 0.9), child], RULE)


def test_a_parent_that_was_lucky_gives_way_to_the_one_before():
    rule = replace(RULE, repeats=2)
    half, quarter = scaled(START, 0.5), scaled(START, 0.25)
    held, lost = outcome(START, 0.9, 0.9), outcome(quarter, 0.6)
    assert propose([held, outcome(half, 0.9, 0.9), lost], rule).params() < half.params()
    lucky = outcome(half, 0.9, 0.8)
    assert propose([held, lucky, lost], rule).params() > half.params()


def test_a_network_already_being_trained_again_is_left_alone():
    half = scaled(START, 0.5)
    history = [outcome(START, 0.9), outcome(half, 0.6)]
    assert propose(history, replace(RULE, repeats=2)) == START
    found = propose(history, replace(RULE, repeats=2), running=[START])
    assert found == propose(history, RULE)


def test_merged_networks_have_all_seeds_and_the_mean_of_the_signals():
    half = scaled(START, 0.5)
    tries = [
        outcome(START, 0.9, stage1_mid=Signal(0.2, 0.5, 0.1)),
        outcome(half, 0.8),
        outcome(START, 0.7, 0.8, stage1_mid=Signal(0.5, 0.8, 0.4)),
        Outcome(half.to_design(), (), half.params()),
    ]
    start, other = merged(tries)
    assert start.aucs == (0.9, 0.7, 0.8)
    found = start.signals["stage1/mid"]
    assert (found.redundancy, found.needed, found.excess) == pytest.approx((0.4, 0.7, 0.3))
    assert (widths_of(other), other.aucs, other.signals) == (half, (0.8,), tries[1].signals)


@pytest.mark.parametrize(("lost", "condemned"), [(0.861, False), (0.859, True)])
def test_only_a_clear_loss_condemns_all_that_is_narrower(lost, condemned):
    half = scaled(START, 0.5)
    kept = change(half, stage2_mid=128, stage2_out=512)
    history = [outcome(START, 0.9), outcome(half, lost), outcome(kept, 0.9)]
    assert (propose(history, RULE) != scaled(kept, 0.5)) == condemned


@pytest.mark.parametrize("step", [0.5, 0.7, 0.84])
def test_levelling_takes_from_the_heaviest_stage_until_the_parameters_are_down(step):
    start = Widths.from_rule(32, 2.0, (1, 1, 1, 1))
    found = propose([outcome(start, 0.9)], replace(LEVEL, bold=step))
    # As many parameters as all widths alike would leave; the last small step may go too far.
    target = scaled(start, step).params()
    assert 0.85 * target < found.params() <= target
    stages = dict(zip(("stage1", "stage2", "stage3", "stage4"), start.stages, strict=True))
    shares = [b.mid / a.mid for a, b in zip(stages.values(), found.stages, strict=True)]
    assert shares == sorted(shares, reverse=True)
    assert shares[:2] == [1, 1]
    assert found.stem == start.stem


def test_levelling_makes_no_stage_outweigh_the_others():
    history = [outcome(Widths.from_rule(32, 2.0, (1, 1, 1, 1)), 0.9)]
    while history[-1].params > 30_000:
        history.append(outcome(propose(history, LEVEL), 0.9))
    narrow = widths_of(history[-1])
    assert max(s.mid for s in narrow.stages) <= 2 * min(s.mid for s in narrow.stages)


def test_levelling_goes_further_where_kernels_are_redundant():
    loud = outcome(START, 0.9, stage1_mid=redundant(0.5), stage2_mid=redundant(0.9))
    plain, found = (propose([o], LEVEL) for o in (outcome(START, 0.9), loud))
    assert found.stages[0].mid <= 32
    assert found.stages[0].mid < plain.stages[0].mid
    assert found.params() <= shrunk(loud, LEVEL, 0.5, FILTERS).params() < plain.params()


def test_levelling_keeps_what_it_is_not_given_and_stops_at_keep_and_floor():
    first = frozenset(n for n in FILTERS if not n.startswith("stage2"))
    found = levelled(outcome(START, 0.9), LEVEL, 0.5, [first])
    assert found.stages[1] == START.stages[1]
    # The first stage cannot give so much: it gives what it may.
    assert LEVEL.keep * 64 <= found.stem < 64
    small = Widths(4, (Stage(1, 4, 4),))
    assert levelled(outcome(small, 0.9), LEVEL, 0.5, [frozenset(FILTERS)]) == small


def test_gentler_steps_follow_and_the_rule_ends():
    found = follow([outcome(START, 0.9)], RULE, auc=0.5)
    shares = [w.stages[1].out / 512 for w in found]
    assert 0.5 in shares
    assert round(0.7 * 512) / 512 in shares
    assert shares.index(0.5) < shares.index(round(0.7 * 512) / 512)
    assert all(touched(w) for w in found)


def test_a_move_that_saves_too_little_is_skipped():
    for widths in follow([outcome(START, 0.9)], RULE, auc=0.5):
        assert widths.params() <= 0.9 * START.params()
    assert propose([outcome(START, 0.9)], replace(RULE, least=0.99)) is None


def test_a_lost_network_wider_than_the_parent_somewhere_is_not_grown_back():
    parent = scaled(START, 0.5)
    aside = outcome(change(scaled(START, 0.25), stem_filters=64, stage2_mid=16), 0.5)
    history = [outcome(START, 0.9), aside, outcome(parent, 0.9)]
    assert all(_within(w, parent) for w in follow(history, RULE, auc=0.5))


def _within(narrow: Widths, wide: Widths) -> bool:
    return all(a <= b for (_, a), (_, b) in zip(narrow.items(), wide.items(), strict=True))


def test_a_move_covered_by_a_lost_network_is_skipped():
    """All at 0.84 lost, so all at 0.7 and 0.5, which are narrower everywhere, are hopeless."""
    history = [outcome(START, 0.9), outcome(scaled(START, 0.84), 0.5)]
    proposal = propose(history, RULE)
    assert proposal is not None
    assert not _within(proposal, scaled(START, 0.84))


def test_a_failed_trial_does_not_make_narrower_networks_hopeless():
    failed = Outcome(scaled(START, 0.84).to_design(), (), 1)
    assert failed.failed
    assert propose([outcome(START, 0.9), failed], RULE) == scaled(START, 0.5)


def test_running_networks_are_not_proposed_again():
    history = [outcome(START, 0.9)]
    first = propose(history, RULE)
    second = propose(history, RULE, running=[first])
    assert second not in (None, first)
    assert propose(history, RULE, running=[first, second]) not in (None, first, second)


def test_none_when_every_move_is_exhausted():
    floor = Widths(4, (Stage(1, 4, 4),))
    assert propose([outcome(floor, 0.9)], Rule()) is None


def test_a_start_below_the_floor_is_kept_not_widened():
    small = Widths(2, (Stage(1, 2, 64),))
    proposal = propose([Outcome(small.to_design(), (0.9,), 10)], Rule(level=False))
    assert proposal == Widths(2, (Stage(1, 2, 32),))


def test_the_smallest_acceptable_network_is_the_parent_not_the_best_or_the_last():
    half, other = scaled(START, 0.5), scaled(START, 0.7)
    history = [outcome(START, 0.9), outcome(half, 0.885), outcome(other, 0.95)]
    assert propose(history, RULE) == scaled(START, 0.25)


@pytest.mark.parametrize("strategy", [propose, propose_uniform, noisy(1)])
@pytest.mark.parametrize("history", [[], [Outcome(START.to_design(), (), 1)]])
def test_no_finished_starting_network_is_an_error(strategy, history):
    if not history and strategy not in (propose, propose_uniform):
        # Where scores may be had the first answer is the start.
        assert strategy(history, RULE) == START
        return
    with pytest.raises(CKRMError, match="starting network"):
        strategy(history, RULE)


@pytest.mark.parametrize(
    "bad", [{"bold": 1.0}, {"bold": 0.0}, {"keep": 1.5}, {"gentle": (0.5, 1.0)}, {"floor": 0},
            {"margin": -0.1}, {"margin": float("nan")}],
)  # fmt: skip
def test_bad_rules_are_refused(bad):
    with pytest.raises(CKRMError, match="rule"):
        Rule(**bad)


signals = st.builds(
    Signal,
    redundancy=st.floats(0, 1),
    needed=st.floats(0.01, 1),
    excess=st.floats(-1, 1),
)
networks = st.builds(
    Widths,
    st.integers(1, 64),
    st.tuples(*(st.builds(Stage, st.integers(1, 4), st.integers(1, 64), st.integers(1, 64)),) * 2),
)


@pytest.mark.parametrize("strategy", [propose, propose_uniform, noisy(3)])
@settings(deadline=None, max_examples=25)
@given(start=networks, data=st.data())
def test_any_course_stays_in_the_box_and_repeats_only_what_it_may(strategy, start, data):
    rule = Rule(
        floor=data.draw(st.integers(1, 8)),
        depth=data.draw(st.booleans()),
        level=data.draw(st.booleans()),
        repeats=data.draw(st.integers(1, 3)),
    )

    def finished(widths: Widths, may_fail: bool = True) -> Outcome:
        good = data.draw(st.lists(st.floats(0, 1), min_size=0 if may_fail else 1, max_size=2))
        names = [n for n, _ in widths.items() if not n.endswith("/blocks")]
        known = data.draw(st.dictionaries(st.sampled_from(names), signals))
        return Outcome(widths.to_design(), tuple(good), sum(w for _, w in widths.items()), known)

    history = [finished(start, may_fail=False)]
    for _ in range(12):
        again, proposal = strategy(history, rule), strategy(history, rule)
        assert again == proposal
        if proposal is None:
            return
        # Again only for another seed, and only while there are some left.
        assert all(len(o.aucs) < rule.repeats for o in history if widths_of(o) == proposal)
        for (name, least), (_, width) in zip(start.items(), proposal.items(), strict=True):
            gone = name.startswith("stage") and not dict(proposal.items())[f"{name[:6]}/blocks"]
            floor = 0 if name.endswith("/blocks") else min(rule.floor, least)
            assert width == 0 if gone else floor <= width <= least
        assert any(stage.blocks for stage in proposal.stages)
        if not rule.depth or strategy is propose_uniform:
            assert [s.blocks for s in proposal.stages] == [s.blocks for s in start.stages]
        history = merged([*history, finished(proposal)])


@pytest.mark.parametrize("auc", [0.9, 0.5])
@pytest.mark.parametrize("strategy", [propose, propose_uniform, noisy(3)])
@pytest.mark.parametrize("level", [True, False])
def test_every_search_ends(level, strategy, auc):
    """Nothing lost ends at the floor, everything lost when the moves are used up."""
    history, rule = [outcome(START, 0.9)], replace(RULE, level=level)
    while (widths := strategy(history, rule)) is not None:
        history.append(outcome(widths, auc))
        assert len(history) < 200
    widths = [w for n, w in history[-1].design.items() if not n.endswith("/blocks")]
    # Levelling ends where a tenth can no longer be saved.
    assert (max(widths) <= (8 if level else 4)) == (auc == 0.9)


def test_uniform_bisects_between_the_last_good_and_the_first_bad():
    """The AUC breaks below a quarter of the width: every proposal is closer to it."""
    history, found = [outcome(START, 0.9)], []
    for _ in range(6):
        widths = propose_uniform(history, RULE)
        multiplier = widths.stages[-1].out / 512
        found.append(multiplier)
        history.append(outcome(widths, 0.9 if multiplier >= 0.25 else 0.6))
    expected = [0.5, 0.25, 0.125]
    good, bad = 0.25, 0.125
    for _ in range(3):
        middle = math.sqrt(good * bad)
        expected.append(middle)
        bad = middle
    assert found == pytest.approx(expected, abs=1 / 512)
    assert len({tuple(w for _, w in o.design.items()) for o in history}) == 7


def test_uniform_scales_all_filters_alike():
    assert propose_uniform([outcome(START, 0.9)], Rule()) == scaled(START, 0.5)


def test_noise_is_deterministic_and_keeps_the_distribution():
    loud = {n: Signal(i / 10, 1 / (1 + i), i) for i, n in enumerate(FILTERS)}
    trial = Outcome(START.to_design(), (0.9,), START.params(), loud)
    dealer = noise.NoisyPropose(5)
    dealt = dealer._shuffled(0, trial).signals
    assert sorted(s.excess for s in dealt.values()) == sorted(s.excess for s in loud.values())
    assert set(dealt) == set(loud)
    assert dealt == noise.NoisyPropose(5)._shuffled(0, trial).signals
    assert noisy(5)([trial], RULE) == noisy(5)([trial], RULE)
    proposals = {noisy(seed)([trial], RULE) for seed in range(8)}
    assert len(proposals) > 1
    # The trial handed in is left alone.
    assert trial.signals == loud


ALONE = """
import sys
import ckrm_tf.tuning.propose, ckrm_tf.tuning.noise
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_proposal_needs_neither_keras_nor_tensorflow():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "ckrm_tf" in loaded
    assert not loaded & {"keras", "tensorflow", "keras_tuner", "jax", "torch", "numpy"}

"""Scores of slices in a search: real trainings, real files."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from ckrm_tf import CKRMError, Design, ResNetFamily, Stage, Widths
from ckrm_tf.data.hold_out import hold_out
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.opened import LOG, log_opening, opening, remember
from ckrm_tf.store.record import COMPLETED, Training
from ckrm_tf.store.scores import ScoreBook
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.way import Way
from ckrm_tf.tuning.answers import NotScorableError, Score
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.slices import SliceScorer, _kinds, dealt_out

WIDTHS = Widths(4, (Stage(1, 6, 12),))


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_data):
    """One small network, trained once, its data and the images kept apart."""
    folder = tmp_path_factory.mktemp("slices")
    less, judge = hold_out(tiny_data, 0.3)
    family = ResNetFamily(WIDTHS, tiny_data.input_shape, tiny_data.classes)
    runner = Runner(
        less,
        Recipe(epochs=2, batch_size=8),
        Journal(folder / "trials.jsonl", family),
        family,
        weights_dir=folder / "weights",
    )
    assert runner.run(family.start, 1).val_auc is not None
    return runner, judge


def scorer_of(trained, book=None, **options):
    runner, judge = trained
    return SliceScorer(runner, runner.data, judge, book or ScoreBook(), **options)


def lowered(start, **numbers):
    return start.replace({k.replace("_", "/"): v for k, v in numbers.items()})


def test_a_score_is_what_the_trained_slice_is_worth_and_is_recorded(trained, tmp_path):
    start = trained[0].family.start
    designs = (start, lowered(start, stage1_mid=2), lowered(start, stage1_out=3, stage1_mid=1))
    book, told = ScoreBook(tmp_path / "scores.jsonl"), []
    scorer = scorer_of(trained, book, on_score=lambda asked, scores: told.append(scores))
    scorer(Score((start,), designs))
    scores = [scorer.known[start, d] for d in designs]
    assert told == [scores]
    assert len(set(scores)) > 1
    assert all(0 <= s <= 1 for s in scores)
    # From a slice that covers them the scores are the same.
    base = lowered(start, stage1_mid=3)
    narrow = lowered(base, stage1_mid=2)
    other = scorer_of(trained)
    other(Score((start, base), (narrow,)))
    assert other.known[start, narrow] == pytest.approx(scores[1], abs=1e-6)
    assert ScoreBook(tmp_path / "scores.jsonl").known == scorer.known


def test_weights_that_are_gone_and_slices_that_are_none_cannot_be_scored(trained):
    start = trained[0].family.start
    wider = start.replace({"stage1/mid": 7})
    with pytest.raises(NotScorableError, match=r"slice: stage1/mid: expected at most 6"):
        scorer_of(trained)(Score((start,), (wider,)))
    never = lowered(start, stage1_mid=5)
    with pytest.raises(NotScorableError, match="weights: expected those of"):
        scorer_of(trained)(Score((never,), (never,)))


def test_slices_are_those_of_the_training_that_the_search_made(trained, tmp_path):
    """A network that was confirmed plainly is scored on as it was before."""
    plain, judge = trained
    runner = copy.copy(plain)
    runner.way = Way(distill=0.5)
    runner.journal = Journal(tmp_path / "trials.jsonl", runner.family)
    runner.weights_dir = tmp_path
    small, begin = lowered(runner.family.start, stage1_mid=4), {}
    for how in ("distilled", "plain"):
        model = runner.build(small)
        begin[how] = model.get_weights()[0]
        model.save_weights(runner.weights_path(small, 1, how=how))
        runner.journal.append(Training(small, 1, 2, COMPLETED, 1, 1, val_auc=0.9, how=how))
        found = scorer_of((runner, judge))._trained(small).get_weights()[0]
        np.testing.assert_array_equal(found, begin["distilled"])
    assert not np.array_equal(begin["plain"], begin["distilled"])
    runner.way = Way()
    found = scorer_of((runner, judge))._trained(small).get_weights()[0]
    np.testing.assert_array_equal(found, begin["plain"])


def test_dealt_out_scores_are_the_same_numbers_elsewhere():
    scores = [0.1, 0.2, 0.3, 0.4, 0.5]
    found = {tuple(dealt_out(scores, number, 1)) for number in range(5)}
    assert all(sorted(f) == scores for f in found)
    assert len(found) > 1
    assert dealt_out(scores, 3, 1) == dealt_out(scores, 3, 1)


def test_scores_are_dealt_out_among_moves_of_one_kind():
    scores, kinds = [1.0, 2.0, 3.0, 4.0, 5.0], ["widths", "stage", "widths", "stage", "blocks"]
    found = {tuple(dealt_out(scores, number, 1, kinds)) for number in range(20)}
    assert found == {(a, b, 4 - a, 6 - b, 5) for a in (1, 3) for b in (2, 4)}
    family = ResNetFamily(Widths(4, (Stage(3, 6, 12), Stage(1, 6, 12))), (16, 16, 1), 3)
    whole = family.start
    designs = [
        whole.replace({"stage1/mid": 4}),
        whole.replace({"stage1/blocks": 1}),
        family.checked(whole.replace({"stage2/blocks": 0})),
    ]
    assert _kinds(family, designs) == ["widths", "blocks", "stage"]
    assert _kinds(family, designs[:1]) == ["widths"]


def test_scores_of_an_earlier_version_are_made_anew(tmp_path):
    path = tmp_path / "scores.jsonl"
    ScoreBook(path).add(Score((A,), (A, B)), [0.9, 0.8])
    assert len(ScoreBook(path).known) == 2
    path.write_text(path.read_text().replace('"schema": 2', '"schema": 1'))
    assert ScoreBook(path).known == {}


def test_a_stage_that_is_gone_is_passed(trained, tmp_path, tiny_data):
    """Scores are the same from whatever base they are computed."""
    runner, judge = trained
    family = ResNetFamily(
        Widths(4, (Stage(1, 4, 8), Stage(2, 6, 12))), tiny_data.input_shape, tiny_data.classes
    )
    other = copy.copy(runner)
    other.family, other.weights_dir = family, tmp_path
    other.journal = Journal(tmp_path / "trials.jsonl", family)
    start = family.start
    assert other.run(start, 1).val_auc is not None
    gone = family.checked(start.replace({"stage2/blocks": 0}))
    slim = family.checked(gone.replace({"stage1/mid": 2, "stem/filters": 3}))
    shallow = start.replace({"stage2/blocks": 1})
    scorer = scorer_of((other, judge))
    scorer(Score((start,), (start, shallow, gone, slim)))
    scores = [scorer.known[start, d] for d in (start, shallow, gone, slim)]
    assert len(set(scores)) == 4
    again = scorer_of((other, judge))
    again(Score((start, gone), (gone, slim)))
    assert again._scorer.model.count_params() < family.build(start).count_params()
    assert again.known[start, gone] == pytest.approx(scores[2], abs=1e-6)
    assert again.known[start, slim] == pytest.approx(scores[3], abs=1e-6)
    # What a root lacks is not passed.
    assert set(family.bypasses(start)) == {"stage1/blocks", "stage2/blocks"}
    assert set(family.bypasses(gone)) == {"stage1/blocks"}


A, B = Design({"w": 4}), Design({"w": 2})


def test_a_line_cut_short_is_passed_over_and_another_is_refused(tmp_path):
    path = tmp_path / "scores.jsonl"
    ScoreBook(path).add(Score((A,), (A, B)), [0.9, 0.8])
    whole = path.read_bytes()
    for cut in range(len(whole) - 1):
        path.write_bytes(whole[:cut])
        book = ScoreBook(path)
        assert book.known == {}
        book.add(Score((A,), (B,)), [0.7])
        assert ScoreBook(path).known == {(A, B): 0.7}
    path.write_bytes(whole)
    assert ScoreBook(path).known == {(A, A): 0.9, (A, B): 0.8}
    for line in (b"[1]\n", b"some text\n", b'{"bases": 3}\n'):
        path.write_bytes(line + whole)
        with pytest.raises(CKRMError, match=r"scores\.jsonl, line 1: expected scores of slices"):
            ScoreBook(path)


def test_a_folder_remembers_when_its_test_split_was_opened(tmp_path):
    assert opening(tmp_path) is None
    first = remember(tmp_path, A, {"networks": {"difference": 0.01}}, ("test split   +0.010",))
    assert opening(tmp_path) == first
    log_opening(tmp_path, B, "final.json")
    log_opening(tmp_path, B, "final.json")
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [(x["report"], x["design"]) for x in lines] == [
        ("test_split.json", A.to_dict()),
        ("final.json", B.to_dict()),
    ]
    (tmp_path / "test_split.json").write_text("{}")
    with pytest.raises(CKRMError, match="when the test split was opened"):
        opening(tmp_path)


def test_each_training_sees_the_fold_of_its_seed(trained, tiny_data, tmp_path):
    family = trained[0].family
    parts = [replace(tiny_data, name=f"fold {n}") for n in range(2)]
    seen = []

    def make(design, recipe, data):
        seen.append(data.name)
        return runner.plain_trainer(design, recipe, data)

    runner = Runner(
        tiny_data,
        Recipe(epochs=1, batch_size=8),
        Journal(tmp_path / "trials.jsonl", family),
        family,
        make_trainer=make,
        folds=parts,
    )
    small = lowered(family.start, stage1_mid=2)
    found = [runner.run(small, seed) for seed in (1, 2, 3)]
    assert [t.fold for t in found] == [0, 1, 0]
    assert seen == ["fold 0", "fold 1", "fold 0"]
    read = Journal(tmp_path / "trials.jsonl", family).read()
    assert [t.fold for t in read] == [0, 1, 0]
    assert np.isfinite([t.val_auc for t in read]).all()

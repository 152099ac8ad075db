"""`search.final` on the folder of a search: reports, folds, refusals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ckrm_tf.data.folds import folds
from ckrm_tf.data.hold_out import held_apart
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.widths import Stage, Widths
from ckrm_tf.store.folder import open_folder
from ckrm_tf.store.record import FAILED, Training
from ckrm_tf.train.trainer import predict
from search.final import final
from search.retrain import train_all
from search.session import data_fingerprint, make_runner
from search.settings import load_settings

SMALLER = Widths(4, (Stage(1, 4, 8),))


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, tiny_data):
    """A run folder in which nothing has been trained yet."""
    root = tmp_path_factory.mktemp("final")
    arrays = {}
    for name, split in tiny_data.splits().items():
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = split.images[..., 0], split.labels
    np.savez(root / "tiny.npz", **arrays)
    flags = {"data": str(root / "tiny.npz"), "image_size": 16, "filters": 8, "blocks": [1]}
    settings = load_settings(None, flags | {"epochs": 1, "growth": 1.0})
    pixels = data_fingerprint(tiny_data)
    return settings, open_folder(str(root / "run"), settings.fingerprint() | {"pixels": pixels})


@pytest.fixture(scope="module")
def judged(run_folder):
    """The run folder once the folds have been trained, and its report."""
    _, folder = run_folder
    final(str(folder), seeds=2, folds=2, widths=SMALLER.to_dict())
    return folder, json.loads((folder / "folds2.json").read_text())


def test_folds_judge_every_image_with_the_network_that_has_not_seen_it(
    run_folder, judged, tiny_data
):
    (settings, _), (folder, report) = run_folder, judged
    assert report["seeds"] == [1, 2]
    assert report["candidate"]["params"] < report["start"]["params"]
    assert not {"val", "test"} & set(report)
    found = report["folds"]
    # Images on which the search scored slices are trained on and not judged.
    spent = held_apart(tiny_data, settings.held_out, settings.seed)
    judged_images = len(tiny_data.train) + len(tiny_data.test) - spent.sum()
    assert 0 < spent.sum() < len(tiny_data.train) / 2
    assert (found["folds"], found["images"]) == (2, judged_images)
    assert not {"anova", "delong"} & set(found)
    # The same from the weights on disk, with another library's AUC.
    start = settings.network(tiny_data.input_shape, tiny_data.classes).start
    for arm, widths in (("start", start), ("candidate", SMALLER.to_design())):
        expected = np.zeros((2, 2))
        for i, part in enumerate(folds(tiny_data, 2, settings.seed, spent)):
            runner = make_runner(settings, part, folder / "folds2" / f"fold{i + 1}")
            model = runner.build(widths)
            for seed in (1, 2):
                model.load_weights(runner.weights_path(widths, seed))
                scores = predict(model, part.test, tiny_data.scale)
                expected[seed - 1, i] = roc_auc_score(
                    part.test.labels, scores, multi_class="ovr", average="macro"
                )
        assert found[arm]["macro_auc_by_seed"]["values"] == pytest.approx(expected.mean(axis=1))
        assert found[arm]["macro_auc"]["value"] == pytest.approx(expected.mean())


def test_again_nothing_is_trained_and_the_report_is_the_same(judged):
    folder, report = judged
    journals = sorted(folder.glob("folds2/*/trials.jsonl"))
    before = [path.read_bytes() for path in journals]
    final(str(folder), seeds=2, folds=2, widths=SMALLER.to_json())
    assert [path.read_bytes() for path in journals] == before
    assert len(before) == 2
    assert [p.name for p in folder.glob("folds*.json")] == ["folds2.json"]
    # Another report is written beside it.
    final(str(folder), seeds=1, folds=2, widths=SMALLER.to_json())
    assert json.loads((folder / "folds2.json").read_text()) == report
    assert json.loads((folder / "folds2_2.json").read_text())["seeds"] == [1]


def test_networks_of_other_folds_are_not_taken_for_those(judged):
    folder, _ = judged
    marker = folder / "folds2" / "fold2" / "run.json"
    before = marker.read_text()
    marker.write_text(json.dumps({"pixels": "of another dealing"}))
    with pytest.raises(CKRMError, match="another pixels"):
        final(str(folder), seeds=2, folds=2, widths=SMALLER.to_json())
    marker.write_text(before)


def test_a_training_that_failed_is_named_with_its_record(run_folder, tiny_data, tmp_path):
    settings, _ = run_folder
    runner = make_runner(settings, tiny_data, tmp_path)
    failed = Training(SMALLER.to_design(), 1, settings.epochs, FAILED, 1, 1, reason="out of memory")
    runner.journal.append(failed)
    with pytest.raises(CKRMError, match=r"received out of memory[\s\S]*trials\.jsonl"):
        train_all(runner, SMALLER.to_design(), (1,))


def test_final_needs_a_run_folder(tmp_path):
    with pytest.raises(CKRMError, match=r"search\.run"):
        final(str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"folds": 1}, "--folds: expected 0, or at least 2"),
        ({"folds": -1}, "--folds"),
        ({"seeds": 0}, "--seeds"),
    ],
)
def test_bad_numbers_are_refused_before_training(run_folder, flags, named):
    _, folder = run_folder
    with pytest.raises(CKRMError, match=named):
        final(str(folder), **flags)

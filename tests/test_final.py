"""`search.final` on the folder of a search: reports, folds, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ckrm_tf.data.folds import folds
from ckrm_tf.errors import CKRMError
from ckrm_tf.training import predict
from ckrm_tf.widths import Stage, Widths
from search import final as command
from search.final import final
from search.session import data_fingerprint, make_runner, open_folder
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


def test_folds_judge_every_image_with_the_network_that_has_not_seen_it(run_folder, tiny_data):
    settings, folder = run_folder
    final(str(folder), seeds=2, folds=2, widths=SMALLER.to_dict())
    report = json.loads((folder / "folds.json").read_text())
    assert report["seeds"] == [1, 2]
    assert report["candidate"]["params"] < report["start"]["params"]
    assert not {"val", "test"} & set(report)
    # The same from the weights on disk, with another library's AUC.
    parts = folds(tiny_data, 2, settings.seed)
    truth = np.concatenate([part.test.labels for part in parts])
    for arm, widths in (("start", settings.start), ("candidate", SMALLER)):
        expected = []
        for seed in (1, 2):
            scores = []
            for i, part in enumerate(parts, start=1):
                runner = make_runner(settings, part, folder / "folds2" / f"fold{i}")
                model = runner.build(widths)
                model.load_weights(runner.weights_path(widths, seed))
                scores.append(predict(model, part.test, tiny_data.scale))
            found = np.concatenate(scores)
            expected.append(roc_auc_score(truth, found, multi_class="ovr", average="macro"))
        aucs = report["folds"][arm]["macro_auc_by_seed"]["values"]
        assert aucs == pytest.approx(expected, abs=1e-6)


def test_again_nothing_is_trained_and_the_earlier_report_stays(run_folder):
    _, folder = run_folder
    journals = sorted(folder.glob("folds2/*/trials.jsonl"))
    before = [path.read_bytes() for path in journals]
    earlier = (folder / "folds.json").read_bytes()
    final(str(folder), seeds=2, folds=2, widths=SMALLER.to_json())
    assert [path.read_bytes() for path in journals] == before
    assert len(before) == 2
    assert (folder / "folds.json").read_bytes() == earlier
    assert json.loads((folder / "folds2.json").read_text()) == json.loads(earlier)


def test_final_needs_a_run_folder(tmp_path):
    with pytest.raises(CKRMError, match=r"search\.run"):
        final(str(tmp_path))


@pytest.mark.parametrize(
    ("flags", "named"),
    [({"folds": 1}, "folds"), ({"folds": -1}, "--folds"), ({"seeds": 0}, "--seeds")],
)
def test_bad_numbers_are_refused_before_training(run_folder, flags, named):
    _, folder = run_folder
    with pytest.raises(CKRMError, match=named):
        final(str(folder), **flags)


def test_patients_are_not_dealt_out(run_folder, tiny_data):
    settings = replace(run_folder[0], data="egd-cxr:somewhere", split="patient")
    with pytest.raises(CKRMError, match="split by patient"):
        command._parts(settings, tiny_data, 2)
    assert len(command._parts(replace(settings, split="image"), tiny_data, 2)) == 2

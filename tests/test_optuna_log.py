"""Trainings written to an Optuna study for its dashboard, read back by Optuna."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import pytest

optuna = pytest.importorskip("optuna", reason="needs the extra optuna")

import told_trainings  # noqa: E402
from optuna.trial import TrialState  # noqa: E402
from told_trainings import ABSENT, FAMILY, START  # noqa: E402

from ckrm_tf import CKRMError  # noqa: E402
from ckrm_tf.store.record import FAILED  # noqa: E402
from ckrm_tf.tuning.optuna_log import FILE, StudyLog, shown  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)

SMALL = START.replace({"stem/filters": 3, **ABSENT})
training = partial(
    told_trainings.training, step_seconds=90.0, fold=1, finished="2026-01-02T03:04:05+00:00"
)

DEAD = replace(training(START, 3, 0.0), status=FAILED, val_auc=None, reason="loss is NaN")
TOLD = [training(START, 1, 0.8), training(START, 2, 0.9), training(SMALL, 1, 0.7), DEAD]


def studies(path) -> dict[str, optuna.Study]:
    url = f"sqlite:///{path}"
    return {
        n: optuna.load_study(study_name=n, storage=url) for n in optuna.get_all_study_names(url)
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    log = StudyLog(str(folder / "studies.db"), folder / "mine", FAMILY)
    for one in TOLD:
        log(one, True)
    return folder, log.name


def test_a_training_is_a_trial(written):
    folder, name = written
    (study,) = studies(folder / "studies.db").values()
    assert study.study_name == name
    assert name.startswith("mine ")
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["validation AUC", "parameters"]
    first, second, small, dead = study.trials
    assert first.values == [0.8, FAMILY.cost(START).params]
    assert first.params == dict(START)
    assert (first.user_attrs["seed"], second.user_attrs["seed"]) == (1, 2)
    assert first.user_attrs["redundancy"] == 0.25
    assert first.user_attrs["fold"] == 1
    assert first.duration.total_seconds() == 90
    # Any number stands for the widths of a stage that is absent.
    assert small.params | {"stage2/mid": 0, "stage2/out": 0} == dict(SMALL)
    assert dead.state == TrialState.FAIL
    assert dead.user_attrs["reason"] == "loss is NaN"
    assert {t.number for t in study.best_trials} == {1, 2}


def test_a_taught_training_is_another(tmp_path):
    log = StudyLog(str(tmp_path / "studies.db"), tmp_path / "mine", FAMILY)
    for how in ("distilled", "plain", "plain"):
        log(replace(training(SMALL, 1, 0.7), how=how), True)
    (study,) = studies(tmp_path / "studies.db").values()
    assert [t.user_attrs["how"] for t in study.trials] == ["distilled", "plain"]


def test_a_run_that_goes_on_adds_no_trial_twice(written):
    folder, name = written
    log = StudyLog(f"sqlite:///{folder / 'studies.db'}", folder / "mine", FAMILY)
    assert log.name == name
    for one in TOLD:
        log(one, False)
    assert len(studies(folder / "studies.db")[name].trials) == len(TOLD)
    # A failure that was tried again is another training.
    log(replace(DEAD, finished="2026-01-03T00:00:00+00:00"), True)
    assert len(studies(folder / "studies.db")[name].trials) == len(TOLD) + 1


def test_folders_of_one_name_have_studies_of_their_own(tmp_path):
    place = str(tmp_path / "studies.db")
    names = [StudyLog(place, tmp_path / top / "run", FAMILY).name for top in ("a", "b")]
    assert len(set(names)) == 2
    assert set(studies(place)) == set(names)
    told = json.loads((tmp_path / "a" / "run" / FILE).read_text())
    assert told == {"study": names[0]}


@pytest.mark.parametrize(
    "storage",
    ["nosuch://me:secret@host/x", "sqlite:////no/such/folder/x.db", "mysql://a:secret@b/c"],
)
def test_a_storage_that_cannot_be_opened_is_one_line_without_its_password(tmp_path, storage):
    with pytest.raises(
        CKRMError, match="--optuna-storage: expected the URL of a data base"
    ) as caught:
        StudyLog(storage, tmp_path, FAMILY)
    assert "secret" not in str(caught.value)
    assert shown(storage) in str(caught.value)


def test_a_damaged_name_is_a_clear_error(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(CKRMError, match=FILE):
        StudyLog(str(tmp_path / "x.db"), tmp_path, FAMILY)


def test_a_storage_that_fails_later_ends_no_search(tmp_path):
    path, said = tmp_path / "x.db", []
    log = StudyLog(str(path), tmp_path, FAMILY, said.append)
    log(TOLD[0], True)
    path.write_bytes(b"no data base any more" * 1000)
    log(TOLD[1], True)
    log(TOLD[2], True)
    (line,) = said
    assert line.startswith("trainings are written to no Optuna study any more")

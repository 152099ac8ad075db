from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from ckrm_tf import CKRMError, ResNetFamily, Stage, Widths
from ckrm_tf.store.folder import open_folder
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.tuning.history import outcomes
from ckrm_tf.tuning.noise import NoisyPropose
from ckrm_tf.tuning.propose import propose
from ckrm_tf.tuning.uniform import propose_uniform
from search.console import Progress, count, duration, show_data, show_trials
from search.session import data_fingerprint, make_oracle
from search.settings import load_settings

IDENTITY = {"epochs": 3, "blocks": [1, 1], "image_size": None, "pixels": "abc"}
WIDTHS = Widths(8, (Stage(1, 8, 8),))
SMALL = Widths(4, (Stage(1, 4, 4),))
FAMILY = ResNetFamily(WIDTHS)


def training(widths=WIDTHS, seed=1, auc=0.9, **changes) -> Training:
    values = {"params": widths.params(), "macs": 5_000_000, "val_auc": auc, "lam": {"stem_conv": 0}}
    values |= {"step_seconds": 10.0} | changes
    return Training(widths.to_design(), seed, 2, COMPLETED, **values)


def test_a_new_folder_is_made_and_may_be_gone_on_with(tmp_path):
    out = tmp_path / "a" / "b"
    assert open_folder(str(out), IDENTITY) == out
    assert json.loads((out / "run.json").read_text()) == {"schema": 1, **IDENTITY}
    (out / "trials.jsonl").write_text("")
    assert open_folder(str(out), dict(IDENTITY)) == out


def test_a_folder_of_version_0_1_had_no_choice_of_family(tmp_path):
    open_folder(str(tmp_path), IDENTITY)
    assert open_folder(str(tmp_path), IDENTITY | {"family": "resnet"}) == tmp_path
    with pytest.raises(CKRMError, match="expected family = resnet, received family = vgg"):
        open_folder(str(tmp_path), IDENTITY | {"family": "vgg"})


def test_an_empty_folder_is_taken(tmp_path):
    assert open_folder(str(tmp_path), IDENTITY) == tmp_path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 4}, ["begun with another epochs", "epochs = 3", "epochs = 4", "--out"]),
        ({"image_size": 32}, ["image_size = None", "image_size = 32"]),
        ({"new_key": 1}, ["new_key"]),
        ({"epochs": 4, "pixels": "x"}, ["another epochs, pixels"]),
    ],
)
def test_other_settings_are_refused_and_nothing_is_touched(tmp_path, change, words):
    open_folder(str(tmp_path), IDENTITY)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(CKRMError) as caught:
        open_folder(str(tmp_path), IDENTITY | change)
    for word in words:
        assert word in str(caught.value)
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_setting_that_is_now_none_is_still_named(tmp_path):
    open_folder(str(tmp_path), IDENTITY | {"image_size": 32})
    with pytest.raises(CKRMError, match="received image_size = None"):
        open_folder(str(tmp_path), IDENTITY)


def test_somebody_elses_folder_or_a_file_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(CKRMError, match="which holds other files"):
        open_folder(str(tmp_path), IDENTITY)
    with pytest.raises(CKRMError, match="expected a folder, received the file"):
        open_folder(str(tmp_path / "thesis.txt"), IDENTITY)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["", "{", "[1]", "3"])
def test_a_damaged_marker_is_a_clear_error(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CKRMError, match=r"run\.json"):
        open_folder(str(tmp_path), IDENTITY)


def test_one_pixel_or_label_changes_the_fingerprint(tiny_data):
    base = data_fingerprint(tiny_data)
    assert data_fingerprint(replace(tiny_data, name="other")) == base
    images = tiny_data.test.images.copy()
    images[-1, -1, -1, 0] ^= 1
    labels = np.roll(tiny_data.val.labels, 1)
    for change in (
        {"test": replace(tiny_data.test, images=images)},
        {"val": replace(tiny_data.val, labels=labels)},
        {"train": tiny_data.val, "val": tiny_data.train},
    ):
        assert data_fingerprint(replace(tiny_data, **change)) != base


@pytest.mark.parametrize(
    ("name", "kind"), [("ckrm", propose), ("uniform", propose_uniform), ("noise", NoisyPropose)]
)
def test_the_strategy_reaches_the_oracle(tiny_data, name, kind):
    settings = load_settings(None, {"strategy": name, "seed": 7, "trials": 3, "margin": 0.05})
    oracle = make_oracle(settings, tiny_data)
    assert oracle.strategy is kind or isinstance(oracle.strategy, kind)
    assert (oracle.max_trials, oracle.seed, oracle.rule.margin) == (3, 7, 0.025)
    assert oracle.family.input_shape == (16, 16, 1)


def test_trainings_gather_by_network_in_order():
    trainings = [
        training(auc=0.9),
        training(seed=2, auc=0.8),
        replace(training(SMALL), status=FAILED, val_auc=None),
        training(SMALL, seed=2, auc=0.7),
    ]
    first, second = outcomes(trainings)
    assert (first.design, first.aucs, first.params) == (
        WIDTHS.to_design(),
        (0.9, 0.8),
        WIDTHS.params(),
    )
    assert (second.design, second.aucs) == (SMALL.to_design(), (0.7,))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "1 h 30 min"),
                          (7500, "2 h 5 min")],
)  # fmt: skip
def test_durations_read_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(7, "7"), (999, "999"), (128_062, "128 k"), (999_999, "1 M"), (23_534_467, "23.5 M"),
     (1.2e9, "1.2 G")],
)  # fmt: skip
def test_counts_have_three_digits_and_a_unit(number, text):
    assert count(number) == text


def printed(act) -> str:
    text = io.StringIO()
    act(Console(file=text, width=160))
    return text.getvalue()


def test_the_data_are_shown_per_split_and_class(tiny_data):
    text = printed(lambda c: show_data(c, tiny_data))
    assert "16x16x1" in text
    for name, split in tiny_data.splits().items():
        line = next(x for x in text.splitlines() if f" {name} " in x)
        assert f"{len(split)} images" in line
        assert f"{(split.labels == 1).sum()} cardiomegaly" in line


def test_progress_prints_a_line_each_with_time_left():
    def act(console: Console) -> None:
        with Progress(console, trials=3, margin=0.02) as progress:
            progress.on_training(training(lam={"a": 0.0, "b_conv": 0.25}), True)
            progress.on_training(training(SMALL, auc=0.85), False)
            failed = replace(training(Widths(5, WIDTHS.stages)), status=FAILED, reason="OOM: big")
            progress.on_training(failed, True)

    first, second, third = printed(act).splitlines()
    assert "1/3" in first
    assert "AUC 0.900" in first
    assert "max λ 0.25 (b_conv)" in first
    assert "about 20 s left" in first
    assert "2/3" in second
    assert "λ 0" in second
    assert "from the journal" in second
    assert "3/3" in third
    assert "failed: OOM: big" in third


def test_confirming_is_no_trial():
    """Further seeds of what was found: no count beyond its total, no time left to tell."""

    def act(console: Console) -> None:
        with Progress(console, trials=2, margin=0.02) as progress:
            progress.on_training(training(), False)
            progress.on_training(training(SMALL), True)
            with progress.confirming():
                for seed in (1, 2, 3):
                    progress.on_training(training(seed=seed), seed > 1)
            assert (progress.done, len(progress.trainings)) == (2, 2)

    lines = printed(act).splitlines()
    assert [line.split()[0] for line in lines] == ["1/2", "2/2", *["confirming"] * 3]
    assert not any("left" in line for line in lines)


def test_a_training_that_is_asked_for_twice_counts_once():
    """A start that others of its fold were taught by, before the search asked for it."""

    def act(console: Console) -> None:
        with Progress(console, trials=3, margin=0.02) as progress:
            for one in (training(), training(seed=2), training(SMALL), training(seed=2)):
                progress.on_training(one, True)
            assert [t.seed for t in progress.trainings] == [1, 2, 1]
            assert progress.done == 3

    assert len(printed(act).splitlines()) == 4


def test_the_time_left_is_that_of_new_trainings():
    def act(console: Console) -> None:
        with Progress(console, trials=6, margin=0.02, seeds=2) as progress:
            for widths in (WIDTHS, SMALL):
                for seed in (1, 2):
                    progress.on_training(training(widths, seed, step_seconds=1e6), False)
            other = Widths(5, WIDTHS.stages)
            progress.on_training(training(other, step_seconds=60), True)
            progress.on_training(training(other, seed=2, step_seconds=60), True)

    lines = printed(act).splitlines()
    assert not any("left" in line for line in lines[:4])
    assert "about 6 min left" in lines[5]


def test_an_unknown_number_of_trials_has_no_total():
    def act(console: Console) -> None:
        with Progress(console, trials=None, margin=0.02) as progress:
            progress.on_training(training(), True)
            progress.on_training(training(SMALL), True)

    assert [line.split()[:2] for line in printed(act).splitlines()] == [
        ["1", "seed"],
        ["2", "seed"],
    ]


def test_what_was_assumed_of_the_data_is_shown(tiny_data):
    noted = replace(tiny_data, notes=("pixels 0 to 4095, int16: [divided] by 4095",))
    assert "pixels 0 to 4095, int16: [divided] by 4095" in printed(lambda c: show_data(c, noted))
    assert "4095" not in printed(lambda c: show_data(c, tiny_data))


def test_the_table_stars_the_recommended_network():
    found = outcomes([training(auc=0.9), training(seed=2, auc=0.88), training(SMALL, auc=0.88)])
    text = printed(lambda c: show_trials(c, found, FAMILY, found[1].design))
    rows = text.splitlines()
    assert "0.890 ± 0.014" in rows[1]
    assert "*1" in rows[2]
    assert f"{SMALL.params():,}" in rows[2]
    assert "*" not in rows[1]
    failed = outcomes([replace(training(), status=FAILED, val_auc=None)])
    assert "failed" in printed(lambda c: show_trials(c, failed, FAMILY, None))

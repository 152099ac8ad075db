from __future__ import annotations

from dataclasses import fields, replace

import pytest
import yaml

from ckrm_tf import CKRMError, Layout, Widths
from ckrm_tf.train.recipe import Recipe
from search.config_files import config_text
from search.settings import FREE, Settings, load_settings


def defaults() -> dict:
    return yaml.safe_load(config_text("default.yaml"))


def test_the_defaults_have_every_key_and_make_the_standard_network():
    assert set(defaults()) == {f.name for f in fields(Settings)}
    settings = load_settings(None, {})
    network = settings.network((48, 48, 1), 3)
    assert network.start == Widths.standard().to_design()
    assert replace(network.layout, ratio=4 / 3) == Layout()
    assert settings.ratio == pytest.approx(4 / 3, abs=1e-6)
    assert settings.recipe == Recipe(
        settings.epochs, settings.batch_size, settings.learning_rate, settings.l1, settings.shift
    )
    assert settings.rule.margin == settings.margin / 2
    assert settings.rule.repeats == settings.confirm
    assert (settings.rule.repeats, replace(settings, seeds=2).rule.repeats) == (3, 3)
    assert replace(settings, seeds=2).most_seeds == 4


def test_flags_win_over_the_file_which_wins_over_the_defaults(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("epochs: 3\ntrials: 7\nblocks: [1, 2]\nl1: 1\n")
    settings = load_settings(str(config), {"trials": 9, "image-size": 24})
    assert (settings.epochs, settings.trials, settings.image_size) == (3, 9, 24)
    assert settings.blocks == (1, 2)
    assert settings.l1 == 1.0
    assert type(settings.l1) is float
    assert settings.seed == defaults()["seed"]


def test_an_empty_file_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert load_settings(str(tmp_path / "empty.yaml"), {}) == load_settings(None, {})


def test_seeds_follow_the_first():
    assert load_settings(None, {"seed": 4, "seeds": 3}).seed_list == (4, 5, 6)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"trails": 3}, ["unknown flag", "'trails'", "Did you mean 'trials'?"]),
        ({"image-sise": 3}, ["Did you mean 'image_size'?"]),
        ({"strategy": "uniformly"}, ["strategy", "Did you mean 'uniform'?"]),
        ({"criterion": "min_eigs"}, ["criterion", "Did you mean 'min_eig'?"]),
        ({"trials": "many"}, ["--trials", "a whole number", "'many'"]),
        ({"trials": 2.5}, ["--trials", "a whole number", "2.5"]),
        ({"trials": True}, ["--trials", "a whole number", "True"]),
        ({"trials": None}, ["--trials", "a whole number", "None"]),
        ({"trials": 0}, ["--trials", "at least 1", "0"]),
        ({"seeds": 0}, ["--seeds", "at least 1"]),
        ({"seed": 0}, ["--seed", "at least 1"]),
        ({"confirm": -1}, ["--confirm", "0 or more"]),
        ({"depth": 1}, ["--depth", "true or false"]),
        ({"margin": "0,02"}, ["--margin", "a number"]),
        ({"margin": -0.1}, ["--margin", "between 0 and 1"]),
        ({"margin": 0}, ["--margin", "between 0 and 1"]),
        ({"margin": 1.0}, ["--margin", "between 0 and 1"]),
        ({"bold": 1.0}, ["between 0 and 1"]),
        ({"learning_rate": 0}, ["learning_rate", "positive"]),
        ({"l1": -1.0}, ["l1"]),
        ({"blocks": 3}, ["--blocks", "a list of whole numbers"]),
        ({"blocks": []}, ["--blocks", "a list of whole numbers"]),
        ({"blocks": [1, 0]}, ["blocks", "at least 1"]),
        ({"growth": -2.0}, ["growth"]),
        ({"filters": 0}, ["--filters", "at least 1"]),
        ({"conv": "slimm"}, ["conv"]),
        ({"out": None}, ["--out", "a text", "None"]),
        ({"data": True}, ["--data", "a text", "True"]),
    ],
)
def test_a_bad_value_is_named_before_any_work(flags, words):
    with pytest.raises(CKRMError) as caught:
        load_settings(None, flags)
    for word in words:
        assert word in str(caught.value)


def test_a_name_that_fire_reads_as_a_number_stays_a_name():
    assert load_settings(None, {"out": 2024}).out == "2024"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"epoch: 3\n", ["unknown key in bad.yaml", "Did you mean 'epochs'?"]),
        (b"- 3\n", ["keys and values", "list"]),
        (b"epochs: [3\n", ["bad.yaml", "YAML"]),
        (b"\xff\xfe\x00", ["bad.yaml", "YAML"]),
        (b"12: 3\n", ["unknown key in bad.yaml", "'12'"]),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, words):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(CKRMError) as caught:
        load_settings(str(path), {})
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CKRMError, match=r"--config: expected a YAML file.*nowhere\.yaml"):
        load_settings(str(tmp_path / "nowhere.yaml"), {})


def test_the_fingerprint_changes_with_everything_that_changes_a_result_and_nothing_else():
    base = load_settings(None, {}).fingerprint()
    assert load_settings(None, {"epochs": 3}).fingerprint() != base
    assert load_settings(None, {"blocks": [3, 4, 6, 2]}).fingerprint() != base
    free = {"trials": 3, "out": "elsewhere", "tensorboard": True}
    assert set(free) == set(FREE)
    assert load_settings(None, free).fingerprint() == base

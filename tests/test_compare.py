"""The comparison: its tables by hand, its oracles with no training, and one whole tiny run."""

from __future__ import annotations

import csv
import json
import math
import shutil
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from ckrm_tf.errors import CKRMError
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.widths import Stage, Widths
from ckrm_tf.store.journal import Journal
from ckrm_tf.store.record import COMPLETED, FAILED, Training
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.tuning.history import outcomes
from ckrm_tf.tuning.runner import Runner
from ckrm_tf.tuning.space import declare
from search import compare_tables as tables
from search.compare import compare, load_options
from search.compare_final import begun_within
from search.compare_folder import begin
from search.compare_rows import make_rows
from search.final_stats import compare_on
from search.finished import check_search
from search.retrain import confirmed
from search.screening import Screened, in_order
from search.strategies import ALL, BAYESIAN_INITIAL, SHORT, Objective, make_strategy

pytestmark = [
    # KerasTuner 1.4 asks for the thread's name in the old way.
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
    # Keras's optimizer of a model that is built anew for each trial.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # A Gaussian process on a few points ends its fit at a bound.
    pytest.mark.filterwarnings("ignore:.*close to the specified:UserWarning"),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge:UserWarning"),
]

TINY = {
    "filters": 8,
    "growth": 1.0,
    "blocks": [1],
    "image_size": 16,
    "epochs": 3,
    # So wide that every network passes: what is tested here is the book-keeping.
    "margin": 0.5,
    "shift": 0,
    "confirm": 1,
}
STRATEGIES = ["ckrm", "random", "hyperband"]


def training(out, auc, *, seed=1, epochs=4, seconds=1.0, status=COMPLETED):
    """A record whose parameters are 100 times its width."""
    return Training(
        Widths(8, (Stage(1, 8, out),)).to_design(),
        seed,
        epochs,
        status,
        params=100 * out,
        macs=1000 * out,
        val_auc=auc,
        steps=10 * epochs,
        step_seconds=seconds,
        cpu_seconds=2 * seconds,
    )


def rows_of(*trainings, seeds=1):
    return make_rows("s", 1, trainings, epochs=4, margin=0.02, seeds=seeds)


def test_rows_keep_the_smallest_acceptable():
    rows = rows_of(
        training(64, 0.90),
        training(32, 0.87),  # below the bar of .88
        training(40, 0.881, seconds=2.5),
        training(8, 0.95, epochs=2),  # too short to count
        training(50, 0.99),  # good, and larger than what is there
        training(16, None, status=FAILED),
        training(20, 0.88000001),
    )
    assert [r.acceptable for r in rows] == [True, False, True, False, True, False, True]
    assert [r.best_params for r in rows] == [6400, 6400, 4000, 4000, 4000, 4000, 2000]
    assert [r.best_macs for r in rows][-1] == 20000
    assert [r.number for r in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert [r.cumulative_seconds for r in rows] == [1, 2, 4.5, 5.5, 6.5, 7.5, 8.5]
    assert [r.full for r in rows] == [1, 2, 3, 3.5, 4.5, 5.5, 6.5]


def test_rows_judge_a_network_by_the_mean_of_its_seeds():
    rows = rows_of(
        training(64, 0.88, seed=1),
        training(64, 0.92, seed=2),  # the bar: .90 - .02
        training(32, 0.93, seed=1),
        training(32, 0.82, seed=2),  # a lucky first seed
        training(16, 0.87, seed=1),
        training(16, 0.90, seed=2),
        seeds=2,
    )
    assert [r.acceptable for r in rows] == [False, True, False, False, False, True]
    assert [r.best_params for r in rows] == [6400, 6400, 6400, 6400, 6400, 1600]


def test_a_network_proposed_twice_is_two_trials():
    rows = rows_of(training(64, 0.9), training(16, 0.9), training(16, 0.9))
    assert [r.best_params for r in rows] == [6400, 1600, 1600]


def test_a_network_that_comes_again_is_judged_anew():
    rows = rows_of(
        training(64, 0.90),
        training(16, 0.89),  # within .02 of .90
        training(16, 0.86, seed=2),  # their mean is not
        training(64, 0.86, seed=2),  # but it is of the starting network's new mean
    )
    assert [r.acceptable for r in rows] == [True, True, False, True]
    assert [r.best_params for r in rows] == [6400, 1600, 6400, 1600]
    smallest = tables.summarise({"s": [rows]}, 4, ())["strategies"]["s"]["smallest"]
    assert smallest[0]["params"] == 1600


def test_a_failed_start_makes_nothing_acceptable():
    rows = rows_of(training(64, None, status=FAILED), training(16, 0.99))
    assert [r.acceptable for r in rows] == [False, False]
    assert rows[-1].best_params == 6400


FAST = rows_of(training(64, 0.9, seconds=4), training(16, 0.9, seconds=1))
SLOW = rows_of(training(64, 0.9, seconds=4), training(32, 0.9, seconds=3), training(8, 0.9))


def test_best_after_and_to_targets():
    assert [tables.best_after(SLOW, n) for n in (1, 2, 3, 9)] == [6400, 3200, 800, 800]
    assert [tables.best_within(SLOW, s) for s in (0, 4, 6.9, 7, 99)] == [
        6400,
        6400,
        6400,
        3200,
        800,
    ]
    assert [tables.trainings_to(SLOW, p) for p in (6400, 3200, 3199, 799)] == [1, 2, 3, None]
    assert [tables.seconds_to(SLOW, p) for p in (3200, 799)] == [7, None]
    assert [tables.seconds_of(SLOW, n) for n in (1, 3, 4)] == [4, 8, None]
    assert [tables.cpu_seconds_of(SLOW, n) for n in (1, 3, 4)] == [8, 16, None]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([4, 6, 5], (5, 4, 6)),
        ([4, None, 6], (6, 4, None)),
        ([4, None], (None, 4, None)),
        ([None], (None, None, None)),
    ],
)
def test_never_is_above_every_number(values, expected):
    found = tables.spread_of(values)
    assert (found["median"], found["min"], found["max"]) == expected
    assert found["repeats"] == values


def test_summary_of_two_strategies():
    runs = {"ckrm": [FAST, FAST], "random": [SLOW, SLOW[:2]]}
    found = tables.summarise(runs, 3, (1600, 10))
    guided, random = found["strategies"]["ckrm"], found["strategies"]["random"]
    assert guided["best_params_after"][2]["median"] == 1600
    assert random["best_params_after"][3] == {
        "median": 2000,
        "min": 800,
        "max": 3200,
        "repeats": [800, 3200],
    }
    assert guided["trainings_to"][1600]["repeats"] == [2, 2]
    assert random["trainings_to"][1600]["repeats"] == [3, None]
    assert random["seconds_to"][1600]["repeats"] == [8, None]
    assert random["smallest"][0]["params"] == 800
    assert random["smallest"][0]["training"] == 3
    assert found["guided_after_10"] == {
        "params": [1600, 1600],
        "trainings": {"random": tables.spread_of([3, None])},
    }
    # In the 5 s that the first strategy takes for all it did, random has finished its start only.
    assert found["within_seconds"][-1]["seconds"] == 5
    assert found["within_seconds"][-1]["best_params"]["random"]["repeats"] == [6400, 6400]
    records = [r for r in tables.curves(runs) if r["strategy"] == "random"]
    assert [r["median"] for r in records] == [6400, 3200, 2000]
    assert records[-1]["repeat_1"] == 800


def test_objective_goes_back_to_the_auc_before_it_shrinks():
    objective = Objective(margin=0.02)
    found = [
        objective({"val_auc": auc, "params": params})["saving"]
        for auc, params in [(0.9, 1e6), (0.89, 1e4), (0.87, 10.0), (0.88, 1e3)]
    ]
    assert found == pytest.approx([0, 2, -0.1, 3])


def drive(name, folder, trainings, calls=60, **changes):
    """Let a strategy's oracle propose, with an AUC by arithmetic in place of training."""
    _, settings = load_options(None, TINY | {"epochs": 9} | changes)
    data = _Shape()
    oracle, metrics = make_strategy(name, settings, data, trainings)
    oracle._set_project_dir(str(folder), "oracle")
    oracle.verbose = 0
    space = oracle.get_space()
    family = settings.network(data.input_shape, data.classes)
    declare(space, family.axes, settings.floor)
    oracle.update_space(space)
    proposed = []
    for _ in range(calls):
        trial = oracle.create_trial("tuner0")
        if trial.status == "STOPPED":
            break
        values = trial.hyperparameters.values
        widths = Widths.from_items(values)
        params = widths.params(data.input_shape, data.classes)
        found = {"val_auc": 1 - 50 / params, "params": float(params)}
        oracle.update_trial(trial.trial_id, found | metrics(found))
        trial.status = "COMPLETED"
        oracle.end_trial(trial)
        proposed.append((widths, values.get("tuner/epochs")))
    return Widths.from_items(family.start), proposed


class _Shape:
    """What an oracle asks of a data set."""

    input_shape = (16, 16, 1)
    classes = 3


@pytest.mark.parametrize("name", ["random", "random_linear", "bayesian", *SHORT])
def test_oracles_begin_at_the_start_stay_in_the_space_and_repeat(name, tmp_path):
    # One more than the Bayesian search draws at random: its last proposal is from the model.
    count = BAYESIAN_INITIAL + 1
    start, first = drive(name, tmp_path / "a", count)
    _, second = drive(name, tmp_path / "b", count)
    assert first[0][0] == start
    assert first == second
    most = dict(start.items())
    for widths, _ in first:
        for key, value in widths.items():
            assert (1 if key.endswith("blocks") else 4) <= value <= most[key]
    if name in SHORT:
        epochs = [e or 9 for _, e in first]
        assert min(epochs) == 1
        # The budget is passed by the last training at most.
        assert sum(epochs[:-1]) < 9 * count <= sum(epochs)
    else:
        assert len(first) == count


def test_screening_finishes_the_front_of_size_and_auc_first():
    networks = [Screened({"a": n}, n, auc) for n, auc in ((4, 0.7), (1, 0.5), (3, 0.6), (2, 0.65))]
    assert [s.params for s in in_order(networks)] == [1, 2, 4, 3]
    # With the sizes turned round the largest is no longer on the front.
    turned = [Screened(s.values, 5 - s.params, s.auc) for s in networks]
    assert [s.params for s in in_order(turned)] == [1, 2, 3, 4]


def test_screening_trains_in_full_what_it_screened(tmp_path):
    start, found = drive("screening", tmp_path, 9)
    short = [w for w, epochs in found if epochs == 1]
    full = [w for w, epochs in found if epochs is None]
    assert full[0] == start
    # A quarter of the 72 epochs that the start leaves.
    assert len(short) == 18
    assert len(full) == 7
    assert set(full[1:]) <= set(short)


def test_a_linear_space_draws_wider_networks(tmp_path):
    found = {}
    for name in ("random", "random_linear"):
        start, proposed = drive(name, tmp_path / name, 40, filters=32)
        most = dict(start.items())["stage1/out"]
        found[name] = np.mean([dict(w.items())["stage1/out"] / most for w, _ in proposed[1:]])
    # Uniform over [4, most] against log-uniform, whose mean is lower.
    assert found["random_linear"] == pytest.approx(0.5 + 2 / most, abs=0.15)
    assert found["random"] < found["random_linear"] - 0.1


def test_repeats_draw_unlike_networks(tmp_path):
    # KerasTuner's neighbouring seeds give one stream of numbers, shifted by one: the stage 1 of
    # one repeat would be the stem of the other.
    streams = []
    for seed in (1, 2):
        start, proposed = drive("random", tmp_path / str(seed), 12, seed=seed)
        most = dict(start.items())
        streams.append([_place(v, most[k]) for w, _ in proposed[1:] for k, v in w.items()])
    first, second = map(np.array, streams)
    for shift in range(len(most)):
        for a, b in ((first, second), (second, first)):
            pairs = np.stack([a[shift:], b[: len(b) - shift]])
            known = pairs[:, ~np.isnan(pairs).any(axis=0)]
            assert np.corrcoef(known)[0, 1] < 0.7


def _place(value, most):
    """Where a value lies between 4 and its most, on a logarithmic scale."""
    return math.nan if most <= 4 else math.log((value + 0.5) / 4) / math.log((most + 1) / 4)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"strategies": "ckrm,randm"}, "random"),
        ({"strategies": 3}, "names"),
        ({"trainings": 0}, "--trainings"),
        ({"random_trainings": 0}, "--random-trainings"),
        ({"trainings": "many"}, "--trainings"),
        ({"trainings": 2, "seeds": 3}, "--seeds"),
        ({"repeats": 1.5}, "--repeats"),
        ({"final": -1}, "--final"),
        ({"trainigs": 3}, "trainings"),
        ({"epochz": 3}, "epochs"),
    ],
)
def test_bad_options_are_named(flags, word):
    with pytest.raises(CKRMError, match=word):
        load_options(None, flags)


def test_options_of_file_and_flags(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("trainings: 7\nepochs: 5\nstrategies: [uniform]\n")
    options, settings = load_options(str(path), {"epochs": 6, "strategies": ("ckrm", "random")})
    assert (options.trainings, settings.epochs) == (7, 6)
    assert options.strategies == ("ckrm", "random")
    assert load_options(None, {})[0].strategies == ALL
    assert load_options(None, {"random_trainings": 40})[0].budget("random") == 40
    assert load_options(None, {"random_trainings": 40})[0].budget("ckrm") == 20
    path.write_text("trainigs: 7\n")
    with pytest.raises(CKRMError, match=r"key in mine.yaml.*trainings"):
        load_options(str(path), {})


def probabilities(labels, strength, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, len(labels), 3)) + strength * np.eye(3)[labels]
    weights = np.exp(logits)
    return weights / weights.sum(axis=2, keepdims=True)


def test_final_statistics_tell_worse_from_equal():
    labels = np.arange(240) % 3
    start = probabilities(labels, 2.0, 1)
    worse = probabilities(labels, 0.3, 2)
    names = ("a", "b", "c")
    same = compare_on(labels, {"start": start, "candidate": start}, names, 0.02)
    lost = compare_on(labels, {"start": start, "candidate": worse}, names, 0.02)
    assert same["non_inferiority"]["difference"] == 0
    assert not lost["non_inferiority"]["non_inferior"]
    assert max(t["p_value"] for t in lost["delong"]["a"]) < 0.01
    assert min(t["p_value"] for t in same["delong"]["a"]) == 1
    assert lost["anova"]["p_value"] < 0.05
    # Pairs counted one by one: the independent reference of the class AUC.
    pairs = [np.mean(p[labels == 1, 1][:, None] > p[labels != 1, 1][None]) for p in start]
    assert same["start"]["classes"]["b"]["auc"]["value"] == pytest.approx(np.mean(pairs))
    hits = [np.mean(p[labels == 1].argmax(axis=1) == 1) for p in start]
    assert same["start"]["classes"]["b"]["sensitivity"]["value"] == pytest.approx(np.mean(hits))
    json.dumps(lost)


@pytest.fixture(scope="module")
def flags(tmp_path_factory, tiny_data):
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    arrays = {}
    for name, split in tiny_data.splits().items():
        arrays[f"{name}_images"], arrays[f"{name}_labels"] = split.images[..., 0], split.labels
    np.savez(path, **arrays)
    return TINY | {"data": str(path), "trainings": 3, "repeats": 1, "strategies": STRATEGIES}


@pytest.fixture(scope="module")
def finished(flags, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "run"
    storage = str(folder.parent / "studies.db") if find_spec("optuna") else None
    compare(**flags, out=str(folder), final=2, hold=2, optuna_storage=storage)
    return folder


def read_rows(folder):
    with (folder / "trainings.csv").open() as file:
        return list(csv.DictReader(file))


def test_run_gives_every_strategy_its_budget(finished):
    rows = read_rows(finished)
    by = {name: [r for r in rows if r["strategy"] == name] for name in STRATEGIES}
    assert len(by["random"]) == 3
    assert 2 <= len(by["ckrm"]) <= 3
    # 3 + 1 + 1 + 1 + 3 epochs: the budget of 3 trainings of 3 epochs.
    assert [int(r["epochs"]) for r in by["hyperband"]] == [3, 1, 1, 1, 3]
    assert [r["acceptable"] for r in by["hyperband"]] == ["True", *["False"] * 3, "True"]
    assert len({r["widths"] for name in STRATEGIES for r in by[name][:1]}) == 1
    # The starting network is trained once and costs every strategy what it cost.
    assert len({by[name][0]["seconds"] for name in STRATEGIES}) == 1
    lines = (finished / "trials.jsonl").read_text().splitlines()
    keys = {(r["widths"], r["seed"], r["epochs"]) for r in rows}
    assert len(lines) == len(keys)
    # Slices of them were scored.
    assert (finished / "weights").exists()
    assert (finished / "scores_ckrm_1.jsonl").exists()


def test_each_training_is_one_trial_of_a_study(finished):
    optuna = pytest.importorskip("optuna", reason="needs the extra optuna")
    url = f"sqlite:///{finished.parent / 'studies.db'}"
    for folder in (finished, finished / "final"):
        name = json.loads((folder / "optuna.json").read_text())["study"]
        trials = optuna.load_study(study_name=name, storage=url).trials
        assert len(trials) == len((folder / "trials.jsonl").read_text().splitlines())


def test_run_writes_summary_and_report(finished):
    summary = json.loads((finished / "summary.json").read_text())
    rows = read_rows(finished)
    for name in STRATEGIES:
        full = [r for r in rows if r["strategy"] == name and int(r["number"]) <= 3]
        smallest = min(int(r["params"]) for r in full if r["acceptable"] == "True")
        found = summary["strategies"][name]
        assert found["best_params_after"]["3"]["median"] == smallest
        assert found["smallest"][0]["params"] == smallest
    for plot in ("params_by_training", "params_by_cpu", "auc_by_strategy"):
        assert (finished / "figures" / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((finished / "report.json").read_text())
    assert (told["kind"], told["finished"]) == ("compare", True)
    assert {"keras", "ckrm-tf"} <= set(told["versions"])
    # Of the test split and of the validation split, the first about unseen images before the other.
    assert [(v["ours"], v["unseen"]) for v in told["verdicts"]] == [(True, True), (True, False)]
    text = (finished / "report.md").read_text()
    report = json.loads((finished / "final.json").read_text())
    assert f"{report['candidate']['params']:,} parameters." in text
    assert "## The verdict on unseen images" in text


def test_the_folder_of_a_search_that_ended_is_no_place_for_a_comparison(flags, tmp_path):
    folder = tmp_path / "run"
    options, settings = load_options(None, flags | {"out": str(folder)})
    folder.mkdir()
    begin(folder, options, settings)
    before = (folder / "summary.json").read_text()
    assert json.loads(before)["strategies"] == {}
    # What is there of a comparison stays until the next repeat has ended.
    begin(folder, options, replace(settings, seed=7))
    assert (folder / "summary.json").read_text() == before
    with pytest.raises(CKRMError, match="which is that of a comparison"):
        check_search(folder)
    (folder / "summary.json").write_text('{"recommended": {}}')
    check_search(folder)
    check_search(tmp_path / "new")
    with pytest.raises(CKRMError, match="which is that of a search"):
        begin(folder, options, settings)
    assert (folder / "summary.json").read_text() == '{"recommended": {}}'
    # One that was killed before its summary has a journal.
    (folder / "summary.json").unlink()
    (folder / "trials.jsonl").write_text("")
    with pytest.raises(CKRMError, match="which is that of a search"):
        begin(folder, options, settings)
    (folder / "scores_ckrm_1.jsonl").write_text("")
    begin(folder, options, settings)
    assert (folder / "summary.json").exists()


def test_final_uses_seeds_the_search_did_not(finished):
    report = json.loads((finished / "final.json").read_text())
    used = {int(r["seed"]) for r in read_rows(finished)}
    assert used.isdisjoint(report["seeds"])
    assert len(report["seeds"]) == 2
    for split in ("val", "test"):
        verdict = report[split]["non_inferiority"]
        assert verdict["seeds"] == [2, 2]
        aucs = report[split]["candidate"]["macro_auc_by_seed"]["values"]
        assert verdict["auc_candidate"] == pytest.approx(np.mean(aucs))
    assert report["candidate"]["params"] < report["start"]["params"]


def test_what_holds_over_new_seeds_is_a_network_that_was_acceptable(finished):
    held = json.loads((finished / "confirmed.json").read_text())
    rows = read_rows(finished)
    assert set(held["seeds"]).isdisjoint(int(r["seed"]) for r in rows)
    assert list(held["strategies"]) == STRATEGIES
    # The start's trainings in the searches, each seed once: strategies share them.
    first = rows[0]["widths"]
    started = {r["seed"]: float(r["val_auc"]) for r in rows if r["widths"] == first}
    assert sorted(held["known"]) == pytest.approx(sorted(started.values()))
    assert len(rows) > len(started)
    for name, budgets in held["strategies"].items():
        assert list(budgets) == ["3"]
        good = {
            int(r["params"]) for r in rows if r["strategy"] == name and r["acceptable"] == "True"
        }
        assert set(budgets["3"]["params"]["repeats"]) <= good


def test_a_budget_counts_full_trainings():
    trainings = [training(8, 0.9, epochs=e) for e in (4, 1, 1, 2, 4)]
    assert [len(begun_within(trainings, n, 4)) for n in (1, 2, 3, 9)] == [1, 4, 5, 5]


def test_a_budget_counts_whole_trials():
    trainings = [training(out, 0.9, seed=s) for out in (64, 32, 16) for s in (1, 2, 3)]
    assert [len(begun_within(trainings, n, 4, 3)) for n in (2, 3, 8, 9)] == [0, 3, 6, 9]
    # A hopeless network is given up after its first seed.
    assert len(begun_within([*trainings[:4], *trainings[6:]], 4, 4, 3)) == 4


def test_what_is_looked_at():
    options, _ = load_options(None, {"trainings": 16, "random_trainings": 40})
    assert options.looked_at("ckrm") == [10, 16]
    assert options.looked_at("random") == [10, 16, 40]
    options, _ = load_options(None, {"trainings": 5})
    assert options.looked_at("ckrm") == [5]


def test_a_killed_run_goes_on_with_the_same_proposals(finished, flags, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in (finished / "run.json", *finished.glob("scores_*.jsonl")):
        shutil.copy(path, folder)
    shutil.copytree(finished / "weights", folder / "weights")
    lines = (finished / "trials.jsonl").read_bytes().splitlines(keepends=True)
    # As a kill leaves it: the last training half written.
    (folder / "trials.jsonl").write_bytes(b"".join(lines[:-2]) + lines[-2][:50])
    compare(**flags, out=str(folder), hold=0)
    keys = ("strategy", "repeat", "number", "seed", "widths", "epochs")
    before, after = ([[r[k] for k in keys] for r in read_rows(f)] for f in (finished, folder))
    assert before == after
    old, new = read_rows(finished), read_rows(folder)
    differences = [
        math.fabs(float(a["val_auc"]) - float(b["val_auc"])) for a, b in zip(old, new, strict=True)
    ]
    assert max(differences) < 1e-6


def test_other_settings_need_another_folder(finished, flags):
    with pytest.raises(CKRMError, match="epochs"):
        compare(**flags | {"epochs": 4}, out=str(finished))


def recorded(path, data, aucs):
    """A runner whose journal already has the trainings: validation AUC, or None, by width."""
    family = ResNetFamily(Widths(8, (Stage(1, 8, 64),)), data.input_shape, data.classes)
    journal = Journal(path, family)
    for out, auc in aucs.items():
        for seed in (1, 2):
            journal.append(training(out, auc, seed=seed, status=COMPLETED if auc else FAILED))
    return Runner(data, Recipe(epochs=4), journal, family)


@pytest.mark.parametrize(
    ("aucs", "expected"),
    [
        # Half the margin of .02 is given away at most.
        ({64: 0.9, 32: 0.891, 16: 0.889}, 32),
        ({64: 0.9, 32: 0.889, 16: 0.87}, 64),
        ({64: 0.9, 32: 0.87, 16: 0.891}, 16),
    ],
)
def test_confirmed_passes_over_the_lucky(aucs, expected, tmp_path, tiny_data):
    sizes = {out: training(out, 0.9).design for out in aucs}
    runner = recorded(tmp_path / "trials.jsonl", tiny_data, aucs)
    found = confirmed(runner, outcomes(runner.journal.read()), (1, 2), 0.02)
    assert found == sizes[expected]


@pytest.mark.parametrize(
    ("known", "expected"), [((), 32), ((0.88,), 16), ((0.9, 0.9), 32), ((0.95, 0.95, 0.95), 64)]
)
def test_all_trainings_of_the_start_set_the_bar(known, expected, tmp_path, tiny_data):
    aucs = {64: 0.9, 32: 0.891, 16: 0.884}
    sizes = {out: training(out, 0.9).design for out in aucs}
    runner = recorded(tmp_path / "trials.jsonl", tiny_data, aucs)
    found = confirmed(runner, outcomes(runner.journal.read()), (1, 2), 0.02, known)
    assert found == sizes[expected]


def test_what_cannot_be_trained_does_not_hold_and_the_start_must_be(tmp_path, tiny_data):
    sizes = {out: training(out, 0.9).design for out in (64, 32, 16)}
    runner = recorded(tmp_path / "trials.jsonl", tiny_data, {64: 0.9, 32: 0.9, 16: None})
    # Of the smallest only one seed of the search could be trained.
    lucky = replace(training(16, 0.9), seed=3)
    history = outcomes([*runner.journal.read(), lucky])
    assert not history[2].failed
    assert confirmed(runner, history, (1, 2), 0.02) == sizes[32]
    runner = recorded(tmp_path / "others.jsonl", tiny_data, {64: None, 32: 0.9})
    history = outcomes([replace(training(64, 0.9), seed=3), *runner.journal.read()])
    with pytest.raises(CKRMError, match="finished training"):
        confirmed(runner, history, (1, 2), 0.02)

"""What a report measures on the networks themselves: time for a batch, single images."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from rich.console import Console

from ckrm_tf.errors import CKRMError
from ckrm_tf.families.resnet_model import resnet
from ckrm_tf.files import write_atomically
from ckrm_tf.reporting.collect import collect
from ckrm_tf.reporting.latency import RUNTIMES, measure_latency
from ckrm_tf.stats import compare_trained_models, macro_auc
from search.console import read_images
from search.report import report_run
from search.report_cases import MOST_PICTURES
from search.report_models import add_latency
from search.retrain import probabilities
from search.run_folder import read_run
from search.session import data_fingerprint, make_runner
from search.settings import load_settings


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_data):
    """A start and a smaller network, trained for an epoch each, with the summary of a search."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    source = folder.parent / "tiny.npz"
    np.savez(
        source,
        **{f"{n}_images": s.images[..., 0] for n, s in tiny_data.splits().items()},
        **{f"{n}_labels": s.labels[:, None] for n, s in tiny_data.splits().items()},
    )
    flags = {
        "data": str(source), "image_size": 16, "filters": 8, "growth": 1.0, "blocks": [1, 1],
        "epochs": 1, "batch_size": 16, "out": str(folder), "confirm": 0, "floor": 2,
    }  # fmt: skip
    settings = load_settings(None, flags)
    data = read_images(_quiet(), str(source), image_size=16, seed=1)
    marker = settings.fingerprint() | {"pixels": data_fingerprint(data)}
    write_atomically(folder / "run.json", json.dumps(marker))
    runner = make_runner(settings, data, folder)
    start = runner.family.start
    best = start.replace({"stage2/mid": 4, "stage2/out": 12})
    found = [runner.run(design, 1) for design in (start, best)]
    summary = {
        name: runner.family.to_record(t.design) | {"params": t.params, "macs": t.macs}
        for name, t in zip(("start", "recommended"), found, strict=True)
    }
    arms = [probabilities(runner, design, [1], data.test) for design in (start, best)]
    verdict = compare_trained_models(data.test.labels, arms[0][0], arms[1][0])
    summary["test_trained_models"] = asdict(verdict)
    export = folder / "export1"
    export.mkdir()
    facts = {"class_names": list(data.class_names), "scale": data.scale, "input_shape": [16, 16, 1]}
    (export / "widths.json").write_text(json.dumps(facts))
    write_atomically(folder / "summary.json", json.dumps(summary | {"export": "export1"}))
    return folder, data, runner, (start, best)


def _quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture(scope="module")
def reported(run):
    folder, *_ = run
    report_run(str(folder), cases=True)
    # The other formats take a converter's time.
    add_latency(_quiet(), folder, formats=("saved_model",))
    return collect(folder)


def test_the_cases_are_those_of_the_trained_networks(run, reported):
    _, data, runner, designs = run
    arms = [probabilities(runner, design, [1], data.test)[0] for design in designs]
    for network, arm in zip((reported.start, reported.recommended), arms, strict=True):
        assert network.trained_auc.value == pytest.approx(macro_auc(data.test.labels, arm))
    named = [arm.argmax(axis=1) for arm in arms]
    differ = np.flatnonzero(named[0] != named[1]).tolist()
    assert [d.image for d in reported.disagreements] == differ
    assert [bool(d.picture) for d in reported.disagreements] == [
        n < MOST_PICTURES for n in range(len(differ))
    ]
    counts = {name: len(split) for name, split in data.splits().items()}
    assert {name: sum(by.values()) for name, by in reported.counts.items()} == counts


def test_latency_is_there_for_both_networks_and_both_batches(reported):
    found = {(one.network, one.batch, one.runtime) for one in reported.latency}
    runtimes = {runtime for _, _, runtime in found}
    assert runtimes == {RUNTIMES["saved_model"]}
    networks = {network for network, _, _ in found}
    assert {"start", "recommended"} < networks
    assert len(found) == len(networks) * 2 * len(runtimes) == len(reported.latency)
    for one in reported.latency:
        assert 0 < one.low <= one.seconds <= one.high
        assert one.bytes > 0


def test_a_longer_job_takes_longer(tiny_widths):
    pytest.importorskip("ai_edge_litert")
    models = {
        "small": resnet(tiny_widths, (16, 16, 1), 3),
        "large": resnet(tiny_widths, (128, 128, 1), 3),
    }
    found = measure_latency(models, 255.0, batches=(4,), calls=5, formats=("litert",))
    times = {(one.runtime, one.network): one.low for one in found}
    for runtime in {one.runtime for one in found}:
        assert times[runtime, "large"] > times[runtime, "small"]


def test_other_images_are_refused(run, tmp_path, tiny_data):
    folder, *_ = run
    settings, _ = read_run(folder, {})
    other = tmp_path / "run"
    other.mkdir()
    marker = json.loads((folder / "run.json").read_text()) | {"pixels": "0" * 16}
    (other / "run.json").write_text(json.dumps(marker))
    for name in ("trials.jsonl", "summary.json"):
        (other / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(CKRMError, match="the images the search had"):
        report_run(str(other), cases=True)
    assert settings.epochs == 1


def test_a_search_that_goes_on_keeps_its_test_split_closed(run, tmp_path):
    folder, *_ = run
    other = tmp_path / "run"
    other.mkdir()
    for name in ("run.json", "trials.jsonl"):
        (other / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(CKRMError, match="one that has not"):
        report_run(str(other), cases=True)
    # Without the images it has its report.
    report_run(str(other))
    assert (other / "report.html").exists()


def test_a_closed_test_split_stays_closed(run, tmp_path):
    folder, *_ = run
    other = tmp_path / "run"
    other.mkdir()
    for name in ("run.json", "trials.jsonl"):
        (other / name).write_bytes((folder / name).read_bytes())
    summary = json.loads((folder / "summary.json").read_text()) | {"test_trained_models": None}
    (other / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(CKRMError, match="opened its test split"):
        report_run(str(other), cases=True)


def test_options_of_the_data_need_the_data(run):
    folder, *_ = run
    with pytest.raises(CKRMError, match="--cases beside it"):
        report_run(str(folder), scale=255.0)

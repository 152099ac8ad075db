"""Trainings in TensorBoard's HParams tab, read back with TensorBoard's own reader."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import told_trainings
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, get_experiment, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context
from told_trainings import ABSENT, FAMILY, START

from ckrm_tf.store.record import FAILED
from ckrm_tf.tuning.hparams import SHOWN, HParamsLog

SMALL = START.replace({"stem/filters": 8, **ABSENT})
training = partial(told_trainings.training, step_seconds=3.0)


def tab(folder):
    """What the tab shows: the experiment, and the groups of sessions by the name of their group."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = Context(TBContext(data_provider=provider, logdir=str(folder)))
    request = RequestContext()
    experiment = get_experiment.Handler(request, context, "", api_pb2.GetExperimentRequest()).run()
    asked = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=100,
        allowed_statuses=[api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE],
        aggregation_type=api_pb2.AGGREGATION_AVG,
        col_params=[
            api_pb2.ColParams(metric=api_pb2.MetricName(tag=name), include_in_result=True)
            for name in SHOWN
        ]
        + [api_pb2.ColParams(hparam=axis.name, include_in_result=True) for axis in FAMILY.axes],
    )
    found = list_session_groups.Handler(request, context, "", asked).run()
    return experiment, {group.name: group for group in found.session_groups}


def values_of(group) -> dict[str, float]:
    return {one.name.tag: one.value for one in group.metric_values}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard")
    log = HParamsLog(folder, FAMILY, penalty=0.1)
    log(training(START, 1, 0.8), True)
    log(training(START, 2, 0.9), True)
    log(training(SMALL, 1, 0.7), True)
    dead = replace(
        training(START.replace({"stem/filters": 4}), 1, 0.5), status=FAILED, val_auc=None
    )
    log(dead, True)
    return folder


def test_axes_are_hyperparameters_and_figures_are_metrics(folder):
    experiment, _ = tab(folder)
    domains = {h.name: (h.domain_interval.min_value, h.domain_interval.max_value)
               for h in experiment.hparam_infos}  # fmt: skip
    assert set(domains) == {axis.name for axis in FAMILY.axes}
    assert domains["stem/filters"] == (1, 16)
    assert domains["stage2/mid"] == (0, 8)
    shown = {m.name.tag: m.display_name for m in experiment.metric_infos}
    assert shown == SHOWN


def test_a_group_is_a_network_whose_sessions_are_its_seeds(folder):
    _, groups = tab(folder)
    assert set(groups) == {str(d) for d in (START, SMALL, START.replace({"stem/filters": 4}))}
    start = groups[str(START)]
    assert {name: value.number_value for name, value in start.hparams.items()} == dict(START)
    assert len(start.sessions) == 2
    found = values_of(start)
    assert set(found) == set(SHOWN)
    assert found["val_auc"] == pytest.approx(0.85)
    assert found["score"] == pytest.approx(0.85 - 0.1 * 0.25)
    assert found["params"] == FAMILY.cost(START).params
    assert (found["ckrm"], found["macs"], found["seconds"]) == (0.5, 5000, 3.0)
    small = groups[str(SMALL)]
    assert {name: value.number_value for name, value in small.hparams.items()} == dict(SMALL)
    assert values_of(small)["params"] < found["params"]


def test_a_failure_is_shown_as_one(folder):
    _, groups = tab(folder)
    (session,) = groups[str(START.replace({"stem/filters": 4}))].sessions
    assert session.status == api_pb2.STATUS_FAILURE
    (session,) = groups[str(SMALL)].sessions
    assert session.status == api_pb2.STATUS_SUCCESS
    assert not values_of(groups[str(START.replace({"stem/filters": 4}))])


def test_a_search_that_goes_on_writes_nothing_twice(tmp_path):
    first = training(START, 1, 0.8)
    HParamsLog(tmp_path, FAMILY)(first, True)
    before = sorted(tmp_path.rglob("events*"))
    again = HParamsLog(tmp_path, FAMILY)
    again(first, False)
    assert sorted(tmp_path.rglob("events*")) == before
    # From the journal, but never written: the flag was given later.
    again(training(SMALL, 1, 0.7), False)
    _, groups = tab(tmp_path)
    assert {name: len(group.sessions) for name, group in groups.items()} == {
        str(START): 1,
        str(SMALL): 1,
    }


def test_curves_beside_them_stay_of_the_same_session(tmp_path):
    """CKRMCallback writes into the folder of the training: both are one run of TensorBoard."""
    import tensorflow as tf  # noqa: PLC0415 - for this test alone

    place = tmp_path / "16_1_8_8_2_8_8_seed1"
    with tf.summary.create_file_writer(str(place)).as_default(step=0):
        tf.summary.scalar("ckrm", 0.9)
    HParamsLog(tmp_path, FAMILY)(training(START, 1, 0.8), True)
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [place.name]
    _, groups = tab(tmp_path)
    assert values_of(groups[str(START)])["val_auc"] == pytest.approx(0.8)

"""The trainings of a search in TensorBoard's HParams tab: networks beside what came of them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.plugins.hparams import api, summary
from tensorboard.plugins.hparams.api_pb2 import Status
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from ckrm_tf.families.base import Family
from ckrm_tf.store.record import FAILED, Training
from ckrm_tf.store.weights import training_name
from ckrm_tf.tuning.metrics import trial_metrics

# Of the metrics of a trial, by the name that the tab shows.
SHOWN = {
    "val_auc": "validation AUC",
    "score": "objective",
    "params": "parameters",
    "macs": "MACs of one image",
    "ckrm": "mean lambda",
    "seconds": "seconds",
}
# The end of the names of these event files; those of a training's curves end otherwise.
SUFFIX = ".hparams"


class HParamsLog:
    """Writes each training once, as one session of the group that is its network.

    The event files lie beside those that `CKRMCallback` writes of the same training. TensorBoard
    shows the mean over the sessions of a group, which are the seeds.

    Args:
        folder: the folder of all event files of a search.
        family: its axes are the hyperparameters.
        penalty: weight of the redundancy in the objective.
    """

    def __init__(self, folder: Path, family: Family, penalty: float = 0.0) -> None:
        self.folder, self.family, self.penalty = folder, family, penalty

    def __call__(self, training: Training, new: bool) -> None:
        """Write a training; one from the journal only where it was not written before."""
        if not _has_events(self.folder):
            _write(self.folder, [self._experiment()])
        place = self.folder / training_name(training.design, training.seed)
        if new or not _has_events(place):
            _write(place, self._session(training))

    def _experiment(self) -> Any:
        """What the hyperparameters and metrics are."""
        ranges = [
            api.HParam(axis.name, api.IntInterval(0 if axis.within else axis.floor, axis.size))
            for axis in self.family.axes
        ]
        metrics = [api.Metric(name, display_name=words) for name, words in SHOWN.items()]
        return api.hparams_config_pb(ranges, metrics)

    def _session(self, training: Training) -> Iterable[Any]:
        yield api.hparams_pb(training.design.to_dict(), trial_id=str(training.design))
        if training.status == FAILED:
            yield summary.session_end_pb(Status.STATUS_FAILURE)
            return
        metrics = trial_metrics([training], self.penalty)
        for name in SHOWN:
            yield scalar_pb(name, metrics[name])
        yield summary.session_end_pb(Status.STATUS_SUCCESS)


def _has_events(folder: Path) -> bool:
    return any(folder.glob(f"events.out.tfevents.*{SUFFIX}"))


def _write(folder: Path, summaries: Iterable[Any]) -> None:
    """An event file of its own with these summaries."""
    writer = EventFileWriter(str(folder), filename_suffix=SUFFIX)
    try:
        for one in summaries:
            event = Event(wall_time=time.time(), step=0)
            # Some summaries are of TensorFlow's own class of the same message.
            event.summary.ParseFromString(one.SerializeToString())
            writer.add_event(event)
    finally:
        writer.close()

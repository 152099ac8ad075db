"""Training under a radiologist's gaze (GG-CAM, arXiv 2202.07107): the loss changes, no more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from ckrm_tf.data.dataset import Dataset
from ckrm_tf.errors import CKRMError
from ckrm_tf.layers.cam import cam_model
from ckrm_tf.layers.gaze_grid import gaze_to_grid
from ckrm_tf.layers.ggcam_loss import GGCAMLoss
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trained, Trainer, TrainingNetwork


@dataclass(frozen=True, slots=True)
class GazeStart:
    """Where the loss's three scalars start, and its two options; see `GGCAMLoss`.

    The defaults suit short trainings: cross-entropy weighs 1 and the maps 3.7 from the first step.
    Adam moves a scalar by its learning rate a step, so the published start (`PUBLISHED`), which
    weighs them e^-14 and e^46 / 2, needs some ten thousand steps at a learning rate of 2e-3
    before the classes count.
    """

    a: float = 0.0
    e: float = -1.0
    lk: float = 0.0
    shift: float = 0.0
    released: bool = False


PUBLISHED = GazeStart(a=7.0, e=-23.0)


class GazeNetwork(TrainingNetwork):
    """A network with its class activation maps and the GG-CAM loss built in.

    It shares the layers of the model it is made from, so that model has the trained weights and
    stays what it was: from image to logits. Three trainable parameters are added: a, e and lk.

    Args:
        model: any that `cam_model` takes: a `resnet` with either head.
        start: the scalars' starts.
    """

    def __init__(self, model: keras.Model, start: GazeStart | None = None) -> None:
        with_maps = cam_model(model)
        super().__init__(with_maps.input, with_maps.outputs)
        self.gaze_loss = GGCAMLoss(**asdict(start or GazeStart()), name="ggcam_loss")

    def objective(self, y: Any, y_pred: Any) -> Any:
        """The GG-CAM loss of y = (labels, gaze maps) and y_pred = (logits, maps)."""
        (labels, gaze), (logits, maps) = y, y_pred
        return self.gaze_loss(maps, logits, labels, gaze)


class GazeTrainer(Trainer):
    """A `Trainer` whose loss hears the train split's gaze maps; made by `gaze_trainer`.

    A shift of the recipe moves images and not their gaze maps: keep it well below a grid cell.
    """

    def __init__(
        self, build: Callable[[], keras.Model], data: Dataset, recipe: Recipe, start: GazeStart
    ) -> None:
        check_gaze(data)
        super().__init__(build, data, recipe, wrap=lambda model: GazeNetwork(model, start))

    def train(self, seed: int, callbacks: Sequence[keras.callbacks.Callback] = ()) -> Trained:
        """Train from scratch with `seed`; see `Trainer.train`."""
        # The grid is known once the model is built, and the first build must have this seed.
        keras.utils.set_random_seed(seed)
        grid = cam_model(self.model).outputs[1].shape[1:3]
        self.beside = gaze_to_grid(check_gaze(self.data), grid)
        return super().train(seed, callbacks)


def gaze_trainer(
    build: Callable[[], keras.Model],
    data: Dataset,
    recipe: Recipe,
    start: GazeStart | None = None,
) -> Trainer:
    """A trainer of one architecture by the GG-CAM loss.

    Its `model` stays the plain functional one from image to logits: prediction, measure, saved
    weights and export need neither gaze nor this module.

    Args:
        build: makes a fresh model, with a dense head or a `CAMHead`.
        data: its train split must have gaze maps; they are averaged down to the maps' grid. The
            other splits need none.
        recipe: how to train.
        start: the loss's starts; `PUBLISHED` for the paper's.

    Raises:
        CKRMError: when the train split has no gaze maps.
    """
    return GazeTrainer(build, data, recipe, start or GazeStart())


def check_gaze(data: Dataset) -> np.ndarray:
    """The train split's gaze maps, (n, height, width).

    Raises:
        CKRMError: when there are none, or all are zero.
    """
    gaze = data.train.gaze
    if gaze is None or not gaze.any():
        raise CKRMError(
            f"{data.name}, train split: gaze maps",
            expected="a map for at least one image, which training with gaze needs",
            received="none" if gaze is None else "zeros alone",
            hint="Train without GG-CAM, or with data that have them, such as phantom or egd-cxr.",
        )
    return gaze

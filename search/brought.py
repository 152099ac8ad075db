"""A model of the user's own in place of the starting network of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from rich.console import Console

from ckrm_tf.data import Dataset
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.functional import ModelFamily
from ckrm_tf.models.facts import ModelFacts, as_pixels, probabilities, read_facts
from ckrm_tf.models.judged import check_above_chance
from ckrm_tf.models.load import load_model
from ckrm_tf.models.sent import SentModel
from ckrm_tf.narrowing.responses import evenly
from ckrm_tf.stats import macro_auc
from search.model_file import model_digest, model_path
from search.settings import Settings
from search.workers import wanted

# Training images that choose channels and mend.
IMAGES = 256


@dataclass(frozen=True)
class Brought:
    """A model, what it tells of itself, a hash of its file, and the file for workers."""

    model: keras.Model
    facts: ModelFacts
    digest: str
    sent: SentModel | None = None

    def side(self, asked: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        """The side of the images: the model's own, or the one asked for where it takes any."""
        return self.facts.side(asked, "--model")

    def family(self, console: Console, settings: Settings, data: Dataset) -> ModelFamily:
        """The family of its slices, once the model as given is above chance on these data.

        Raises:
            CKRMError: other classes than the model's, or a model that knows nothing of them.
        """
        if data.classes != self.facts.classes:
            raise CKRMError(
                f"data {settings.data}",
                expected=f"{self.facts.classes} classes, as the model",
                received=f"{data.classes}: {', '.join(data.class_names)}",
            )
        split = data.val
        found = probabilities(self.model, split.images, data.scale, self.facts)
        console.print(
            f"as given  validation AUC {macro_auc(split.labels, found):.3f}; the test split is "
            + ("taken as never seen by it" if settings.unseen == "test" else "not opened")
            + " (--unseen)",
            highlight=False,
        )
        check_above_chance(split.labels, found, "validation")
        return ModelFamily(
            self.model,
            self.facts,
            data.input_shape,
            images=as_pixels(evenly(data.train.images, IMAGES), data.scale, self.facts),
            select=settings.select,
            fresh=settings.from_ == "scratch",
            multiple=settings.multiple,
            sent=self.sent,
        )


def bring(console: Console, settings: Settings) -> Brought:
    """Read the model that the settings name and say what it tells.

    Raises:
        CKRMError: a file that cannot be read, a model that is no classifier of images, a fact that
            neither the model nor a flag tells.
    """
    if settings.ggcam:
        raise CKRMError("--model", expected="training without --ggcam", received="--ggcam")
    path = model_path(str(settings.model))
    model = load_model(path, custom=settings.custom, unsafe=settings.unsafe)
    facts = read_facts(model, pixels=pixel_range(settings.pixels), output=settings.output)
    console.print(f"model     {settings.model}: {facts}", highlight=False, soft_wrap=True)
    sent = SentModel.of(path, settings.custom, settings.unsafe) if wanted(settings) else None
    return Brought(model, facts, model_digest(path), sent)


def pixel_range(text: Any) -> tuple[float, float] | None:
    """The two numbers of --pixels LOW,HIGH."""
    if text is None:
        return None
    parts = text if isinstance(text, list | tuple) else str(text).strip("()[] ").split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError as error:
        raise CKRMError("--pixels", expected="LOW,HIGH, such as 0,255", received=text) from error
    return low, high

"""The line that shows how far a training is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from ckrm_tf import ResNetFamily
from ckrm_tf.data.phantom import phantom
from ckrm_tf.train.gaze import gaze_trainer
from ckrm_tf.train.recipe import Recipe
from ckrm_tf.train.trainer import Trainer
from search import live
from search.live import EpochLine, LiveLine

RECIPE = Recipe(epochs=3, batch_size=16)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    for name in ("FIRST_SECONDS", "LOOK_SECONDS"):
        monkeypatch.setattr(live, name, 0)
    monkeypatch.setattr(live, "LOOK_SHARE", 1e9)


def family_of(data, widths):
    return ResNetFamily(widths, data.input_shape, data.classes)


def shown_by(trainer, data):
    """The texts of one training, and what came of it."""
    texts = []
    line = EpochLine(lambda text, last: texts.append((text, last)), "net", RECIPE.epochs, data)
    return texts, line, trainer.train(1, [line])


def test_epoch_loss_and_auc_are_shown_and_change_nothing(tiny_data, tiny_widths):
    family = family_of(tiny_data, tiny_widths)

    def trainer():
        return Trainer(lambda: family.build(family.start), tiny_data, RECIPE)

    texts, line, trained = shown_by(trainer(), tiny_data)
    assert [text.split(",")[0] for text, _ in texts] == [f"net: epoch {n}/3" for n in (1, 2, 3)]
    assert all(", loss " in text and ", AUC 0." in text for text, _ in texts[:2])
    assert [last for _, last in texts] == [False, False, True]
    # The AUC is that of the weights as they are.
    line.on_epoch_end(0, {"loss": 0.25})
    assert texts[-1][0] == f"net: epoch 1/3, loss 0.250, AUC {trained.val_auc:.3f}"
    assert len({text.split("AUC ")[1] for text, _ in texts if "AUC" in text}) > 1
    plain = trainer().train(1)
    np.testing.assert_allclose(plain.probabilities, trained.probabilities, atol=1e-4)
    assert np.abs(trainer().train(2).probabilities - trained.probabilities).max() > 1e-2


def test_a_network_with_maps_is_looked_at_by_its_logits(tiny_widths):
    data = phantom(n=(32, 24, 24), image_size=16)
    family = family_of(data, tiny_widths)
    trainer = gaze_trainer(lambda: family.build(family.start), data, RECIPE)
    texts, line, trained = shown_by(trainer, data)
    line.on_epoch_end(0, {"loss": 0.5})
    assert texts[-1][0].endswith(f"AUC {trained.val_auc:.3f}")


def test_plain_lines_come_now_and_then(monkeypatch):
    def lines(count):
        console = Console(file=io.StringIO(), width=80)
        line = LiveLine(console, None)
        for number in range(count):
            line.show(f"step {number}", last=number == count - 1)
        return console.file.getvalue().split("\n")[:-1]

    # The next is due in a minute.
    assert lines(3) == ["    step 0"]
    monkeypatch.setattr(live, "PLAIN_SECONDS", 0)
    # The last is followed by a line of its own.
    assert lines(3) == ["    step 0", "    step 1"]
    monkeypatch.setattr(live, "FIRST_SECONDS", 60)
    assert lines(3) == []

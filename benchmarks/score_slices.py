"""CPU seconds to score a slice of a trained network, beside a forward pass of it, in one run.

    python benchmarks/score_slices.py
    python benchmarks/score_slices.py --networks standard --images 128

Slices are judged on phantoms of 48 px. Weights are random, batch norms calibrated: time does not
depend on what was learned. A move lowers one axis of the family to .65 of its width, a draw lowers
all to random shares; the forward pass is that of the same network, compiled, on the same images.
The first score is apart: it traces the pass and factorises the Gram matrices. Building is
`Narrower.build(mend="once")` and one eager pass. CPU seconds are those of the process over all its
threads.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fire
import keras
import numpy as np
import rich.box
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from ckrm_tf.data.phantom import phantom
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.resnet import ResNetFamily
from ckrm_tf.families.widths import Widths
from ckrm_tf.narrowing.axis_groups import axis_groups
from ckrm_tf.narrowing.forward import batches
from ckrm_tf.narrowing.narrower import Narrower
from ckrm_tf.narrowing.plan import Channels
from ckrm_tf.narrowing.recalibrate import recalibrate
from ckrm_tf.narrowing.scorer import Scorer

SIDE, CLASSES = 48, 3
FIT = 256
FACTOR = 0.65
PASSES, DRAWS = 5, 3
NETWORKS = {
    "start": Widths.from_rule(32, 2, (1, 1, 1, 1)),
    "standard": Widths.standard(),
}


def timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def passes(model: keras.Model, images: np.ndarray) -> float:
    """The median CPU seconds of a compiled forward pass over all images."""
    call = tf.function(lambda x: model(x, training=False), autograph=False)
    parts = [batch[0] for batch in batches(Channels(model), [images])]

    def once() -> None:
        for part in parts:
            call(part).numpy()

    once()
    return float(np.median([timed(once) for _ in range(PASSES)]))


def lowered(family: ResNetFamily, design: Design, share: Callable[[], float]) -> Design:
    return design.replace(
        {
            axis.name: axis.fit(share() * design[axis.name], design[axis.name])
            for axis in family.axes
            if axis.kind == "width"
        }
    )


def measured(name: str, images: int) -> list[tuple[str, ...]]:
    family = ResNetFamily(NETWORKS[name], (SIDE, SIDE, 1), CLASSES)
    keras.utils.set_random_seed(0)
    data = phantom(n=(FIT, images, 32), image_size=SIDE)
    fit, judge = (np.asarray(s.images, np.float32) / 255 for s in (data.train, data.val))
    model = family.build(family.start)
    recalibrate(model, fit[:64])
    groups = axis_groups(family, model)
    rng = np.random.default_rng(0)
    rows = []

    start = time.process_time()
    scorer = Scorer(model, fit, judge, data.val.labels)
    made = time.process_time() - start

    def score(design: Design) -> float:
        return timed(lambda: scorer.score(groups.widths(design)))

    half = lowered(family, family.start, lambda: 0.5)
    for design in (family.start, half):
        if design is half:
            made = timed(lambda: scorer.rebase(groups.widths(half)))
        forward = passes(scorer.model, judge)
        drawn = [lowered(family, design, lambda: rng.uniform(0.3, 1)) for _ in range(DRAWS + 1)]
        moves = [
            design.replace({axis.name: axis.fit(FACTOR * design[axis.name], design[axis.name])})
            for axis in family.axes
            if axis.kind == "width"
        ]
        first = score(drawn[0])
        again = [score(drawn[0]) for _ in range(PASSES)]
        draws = [score(other) for other in drawn[1:]]
        score(design)
        steps = [score(other) for other in moves]
        times = [forward, float(np.median(again)), *map(np.mean, (steps, draws))]
        rows.append(
            (
                name,
                f"{family.cost(design).params:,}",
                f"{made:.1f}",
                f"{first:.2f}",
                f"{forward:.3f}",
                *(f"{t:.3f} ({t / forward:.2f})" for t in times[1:]),
            )
        )
    narrower = Narrower(model, images=fit)
    kept = narrower.at(groups.widths(half))
    _ = narrower.evidence.grams

    def build() -> None:
        small = narrower.build(kept, mend="once")
        for part in batches(Channels(small), [judge]):
            small(part[0], training=False)

    took = timed(build)
    rows[-1] = (*rows[-1], f"{took:.2f}")
    rows[0] = (*rows[0], "")
    return rows


def main(networks: str = "start,standard", images: int = 256) -> None:
    """Prints one table; in brackets the number of forward passes."""
    chosen = networks if isinstance(networks, tuple | list) else networks.split(",")
    unknown = sorted(set(chosen) - set(NETWORKS))
    if unknown:
        raise CKRMError("--networks", expected=", ".join(NETWORKS), received=", ".join(unknown))
    table = Table(title=f"{images} images of {SIDE} px, CPU s", box=rich.box.MARKDOWN)
    for column in ("network", "parameters", "made", "first score", "forward", "same again",
                   "one move", "all drawn", "built instead"):  # fmt: skip
        table.add_column(column, overflow="fold")
    for name in chosen:
        for row in measured(name, images):
            table.add_row(*row)
    console = Console(width=160)
    console.print(table)
    console.print(f"keras {keras.__version__}, {platform.machine()}, {os.cpu_count()} cores")


if __name__ == "__main__":
    try:
        fire.Fire(main)
    except CKRMError as error:
        sys.exit(str(error))

"""A family of networks as its records show it: designs and what they cost, nothing to build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ckrm_tf.design.axes import Axis
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.base import Family, StartOptions
from ckrm_tf.families.registry import family
from ckrm_tf.train.way import Way

# No cost is asked of a family here: records hold them.
ANY_INPUT, ANY_CLASSES = (1024, 1024, 1), 2


class RecordedFamily(Family):
    """The networks of one journal: the first is the starting one.

    Args:
        start: the first design of the journal.
        multiple: widths are multiples of so many channels.
    """

    name = "model"

    def __init__(self, start: Design, multiple: int = 1) -> None:
        self._start = start
        self._axes = tuple(
            Axis(name, size, "width", name, 1, multiple) for name, size in start.items()
        )

    @property
    def start(self) -> Design:
        """See `Family`."""
        return self._start

    @property
    def axes(self) -> tuple[Axis, ...]:
        """See `Family`; each width is a group of its own."""
        return self._axes

    def cost(self, design: Design) -> Cost:
        """Not known here."""
        self._refuse()

    def build(self, design: Design, *, kernel_regularizer: Any = None) -> NoReturn:
        """Not possible here."""
        self._refuse()

    def kernels(self, model: Any) -> NoReturn:
        """Not known here."""
        self._refuse()

    @staticmethod
    def _refuse() -> NoReturn:
        raise CKRMError("network", expected="the model that was searched", received="its record")


def way_of(settings: Mapping[str, Any]) -> Way:
    """What the networks of a run took over from the start, by its run.json."""
    begins = settings.get("from")
    return Way.of(bool(settings.get("distill")), begins, given="model_file" in settings)


def family_of(settings: Mapping[str, Any], journal: Path) -> Family | None:
    """The family that a run searched; None for a model of the user's own before any training.

    Args:
        settings: of run.json.
        journal: trials.jsonl, which need not exist.

    Raises:
        CKRMError: a family that this version does not know; settings without a starting network.
    """
    if "model_file" not in settings:
        return family(str(settings["family"]), _options(settings), ANY_INPUT, ANY_CLASSES)
    start = _first_design(journal)
    multiple = settings.get("multiple", 1)
    return None if start is None else RecordedFamily(start, int(multiple or 1))


def _options(settings: Mapping[str, Any]) -> StartOptions:
    known = StartOptions.__dataclass_fields__
    options = {name: settings[name] for name in known if name in settings}
    try:
        return StartOptions(**options | {"blocks": tuple(options["blocks"])})
    except (KeyError, TypeError) as error:
        raise CKRMError(
            "run.json",
            expected="filters, growth and blocks of the starting network",
            received=str(error)[:80],
        ) from error


def _first_design(journal: Path) -> Design | None:
    if not journal.is_file():
        return None
    with journal.open("rb") as file:
        for line in file:
            try:
                return Design.from_dict(json.loads(line)["design"])
            except (ValueError, KeyError, TypeError):
                # A torn line, or one of another kind: the journal says so when it is read.
                continue
    return None

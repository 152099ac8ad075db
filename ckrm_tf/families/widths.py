"""The free widths of a bottleneck ResNet: one small frozen value that travels everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.resnet_cost import network_cost

DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def _check_count(what: str, value: object, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise CKRMError(what, expected=f"a whole number of at least {least}", received=repr(value))


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `blocks` bottlenecks whose 3x3 has `mid` filters and whose last 1x1 has `out`.

    A stage of 0 blocks is absent. It has no filters: its `mid` and `out` become 0, so that networks
    that differ only there are equal. `Layout.strides` says where its stride goes.

    Example:
        >>> Stage(0, 8, 32) == Stage(0, 16, 64)
        True
    """

    blocks: int
    mid: int
    out: int

    def __post_init__(self) -> None:
        _check_count("stage blocks", self.blocks, least=0)
        for name in ("mid", "out"):
            _check_count(f"stage {name}", getattr(self, name), least=min(self.blocks, 1))
            if not self.blocks:
                object.__setattr__(self, name, 0)


@dataclass(frozen=True, slots=True)
class Widths:
    """Stem filters and, per stage, blocks, mid (3x3) and out (1x1) filters.

    Hashable and comparable, so it can be a dictionary key: two trials with equal widths are the
    same network.

    Attributes:
        stem: filters of the first convolution.
        stages: one `Stage` each, or its three numbers.

    Raises:
        CKRMError: no stage, or a number that is too small.

    Example:
        >>> from ckrm_tf import Stage, Widths
        >>> Widths.standard().params()
        23534467
        >>> small = Widths(8, (Stage(1, 8, 16), Stage(2, 4, 16)))
        >>> print(small, small.params((32, 32, 1)), small.macs((32, 32, 1)))
        8 | mid 8/4 | out 16/16 | blocks 1/2 2499 170544
        >>> Widths.from_json(small.to_json()) == small
        True
    """

    stem: int
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        _check_count("stem filters", self.stem)
        stages = tuple(s if isinstance(s, Stage) else Stage(*s) for s in self.stages)
        if not stages:
            raise CKRMError("stages", expected="at least one Stage", received="none")
        object.__setattr__(self, "stages", stages)

    @classmethod
    def from_rule(cls, filters: int, growth: float, blocks: tuple[int, ...] = DEPTHS[50]) -> Widths:
        """Widths of the paper's two-number rule (arXiv 2212.00272, Table 2).

        `out_1 = 4f; mid_1 = f; mid_(i+1) = int(out_i / 2); out_(i+1) = int(growth * out_i)`:
        (64, 2) is the standard ResNet-50, (16, 0.75) the paper's slim one.
        """
        _check_count("filters", filters)
        if not isinstance(growth, int | float) or not growth > 0:
            raise CKRMError("growth", expected="a positive number", received=repr(growth))
        mid, out = filters, 4 * filters
        stages: list[Stage] = []
        for count in blocks:
            stages.append(Stage(count, mid, out))
            mid, out = out // 2, int(growth * out)
        return cls(filters, tuple(stages))

    @classmethod
    def standard(cls, depth: int = 50) -> Widths:
        """The widths of the standard ResNet-50, -101 or -152."""
        if depth not in DEPTHS:
            raise CKRMError("ResNet depth", expected=f"one of {list(DEPTHS)}", received=depth)
        return cls.from_rule(64, 2, DEPTHS[depth])

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Widths:
        """The inverse of `to_dict`."""
        try:
            stages = tuple(Stage(s["blocks"], s["mid"], s["out"]) for s in data["stages"])
            return cls(data["stem"], stages)
        except (KeyError, TypeError) as error:
            raise CKRMError(
                "widths",
                expected='{"stem": int, "stages": [{"blocks": int, "mid": int, "out": int}, ...]}',
                received=data,
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Widths:
        """The inverse of `to_json`."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise CKRMError("widths", expected="JSON", received=repr(text[:80])) from error

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON."""
        return {
            "stem": self.stem,
            "stages": [{"blocks": s.blocks, "mid": s.mid, "out": s.out} for s in self.stages],
        }

    def to_json(self) -> str:
        """One line of JSON from which `from_json` makes an equal value."""
        return json.dumps(self.to_dict())

    def items(self) -> Iterator[tuple[str, int]]:
        """The same numbers under the names they have as hyperparameters: `stem/filters`, ..."""
        yield "stem/filters", self.stem
        for i, stage in enumerate(self.stages, start=1):
            yield f"stage{i}/blocks", stage.blocks
            yield f"stage{i}/mid", stage.mid
            yield f"stage{i}/out", stage.out

    @classmethod
    def from_items(cls, items: Mapping[str, int]) -> Widths:
        """The inverse of `items`; names that are not widths are ignored."""
        stages: list[Stage] = []
        while f"stage{len(stages) + 1}/mid" in items:
            name = f"stage{len(stages) + 1}"
            stages.append(Stage(*(int(items[f"{name}/{key}"]) for key in ("blocks", "mid", "out"))))
        return cls(int(items["stem/filters"]), tuple(stages))

    def to_design(self) -> Design:
        """The same numbers as a design."""
        return Design(self.items())

    def cost(
        self,
        input_shape: tuple[int, int, int] = (224, 224, 1),
        classes: int = 3,
        layout: Layout | None = None,
    ) -> Cost:
        """Parameters and multiply-accumulates by arithmetic, without building the network.

        Args:
            input_shape: (height, width, channels) of one image.
            classes: number of outputs.
            layout: what surrounds the widths; the paper's network by default.
        """
        return network_cost(self, input_shape, classes, layout or Layout())

    def params(
        self,
        input_shape: tuple[int, int, int] = (224, 224, 1),
        classes: int = 3,
        layout: Layout | None = None,
    ) -> int:
        """Trainable parameters: 23,534,467 for the standard widths, 1 channel and 3 classes."""
        return self.cost(input_shape, classes, layout).params

    def macs(
        self,
        input_shape: tuple[int, int, int] = (224, 224, 1),
        classes: int = 3,
        layout: Layout | None = None,
    ) -> int:
        """Multiply-accumulates of the convolutions and the dense head for one image."""
        return self.cost(input_shape, classes, layout).macs

    def __str__(self) -> str:
        mid, out, blocks = (
            "/".join(str(getattr(s, key)) for s in self.stages) for key in ("mid", "out", "blocks")
        )
        return f"{self.stem} | mid {mid} | out {out} | blocks {blocks}"

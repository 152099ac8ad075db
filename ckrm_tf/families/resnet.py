"""Bottleneck ResNets as a family: `Widths` under the names of a `Design`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from ckrm_tf.design.axes import Axis
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.families.base import Family, StartOptions
from ckrm_tf.families.layout import Layout
from ckrm_tf.families.widths import Widths
from ckrm_tf.layers.slim_shape import fold_count

if TYPE_CHECKING:
    import keras

    from ckrm_tf.measures.kernels import ConvolutionKernel
    from ckrm_tf.narrowing.bypass import Bypass


@dataclass(frozen=True)
class ResNetFamily(Family):
    """The networks that `ckrm_tf.resnet` builds, in one layout, for one input.

    Attributes:
        widths: the starting network.
        input_shape: (height, width, channels) of one image.
        classes: number of outputs.
        layout: what surrounds the widths; the paper's network by default.
        multiple: widths that are narrowed are multiples of so many channels.

    Example:
        >>> family = ResNetFamily(Widths.standard())
        >>> family.cost(family.start).params
        23534467
    """

    name = "resnet"

    widths: Widths
    input_shape: tuple[int, int, int] = (224, 224, 1)
    classes: int = 3
    layout: Layout = field(default_factory=Layout)
    multiple: int = 1

    @classmethod
    def from_options(
        cls, options: StartOptions, input_shape: tuple[int, int, int], classes: int
    ) -> ResNetFamily:
        """The family whose starting network follows the paper's rule (2212.00272, Table 2)."""
        widths = Widths.from_rule(options.filters, options.growth, options.blocks)
        layout = Layout(conv=options.conv, ratio=options.ratio)  # type: ignore[arg-type]
        return cls(widths, input_shape, classes, layout, options.multiple)

    @property
    def start(self) -> Design:
        """See `Family`."""
        return self.widths.to_design()

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """See `Family`; the stem belongs to the first stage. Stages may go while one stays."""
        several = sum(stage.blocks > 0 for stage in self.widths.stages) > 1
        found = []
        for name, size in self.widths.items():
            stage, _, part = name.partition("/")
            if part == "blocks":
                floor = int(size > 0 and not several)
                found.append(Axis(name, size, "depth", stage, floor))
            elif stage == "stem":
                found.append(Axis(name, size, "width", "stage1", 1, self.multiple))
            else:
                groups = self._groups() if part == "mid" else 1
                multiple = math.lcm(self.multiple, groups)
                within = f"{stage}/blocks"
                found.append(Axis(name, size, "width", stage, 1, multiple, within))
        return tuple(found)

    def _groups(self) -> int:
        """What the channels of a 3x3 must divide by, for its groups."""
        layout = self.layout
        if layout.conv == "plain" or layout.groups == (layout.bottom_groups or 1) == 1:
            return layout.groups
        folds = fold_count(layout.ratio)
        return folds * math.lcm(layout.groups, 2 * (layout.bottom_groups or 1))

    def cost(self, design: Design) -> Cost:
        """See `Family`."""
        return _cost(self, design)

    def build(self, design: Design, *, kernel_regularizer: Any = None) -> keras.Model:
        """See `Family`."""
        from ckrm_tf.families.resnet_model import resnet  # noqa: PLC0415 - arithmetic needs no Keras

        return resnet(
            Widths.from_items(design),
            self.input_shape,
            self.classes,
            layout=self.layout,
            kernel_regularizer=kernel_regularizer,
        )

    def kernels(self, model: keras.Model) -> Mapping[str, Sequence[ConvolutionKernel]]:
        """See `Family`.

        `stem/filters` hears the stem, `stageN/mid` the 3x3 convolutions of the stage, `stageN/out`
        its last 1x1 convolutions and shortcut, which feed one sum and so share their filters. Of a
        layer of several convolutions in place of the 3x3 only those are heard whose filters are
        channels of its output: the others make weights and channels of its own.
        """
        from ckrm_tf.measures.kernels import comparable_kernels  # noqa: PLC0415 - as above

        found: dict[str, list[ConvolutionKernel]] = {}
        for kernel in comparable_kernels(model):
            axis = _axis_of(kernel.name) if kernel.outward else None
            if axis is not None:
                found.setdefault(axis, []).append(kernel)
        return found

    def bypasses(self, design: Design) -> Mapping[str, Bypass]:
        """See `Family`: the first block of a stage has a shortcut with weights."""
        from ckrm_tf.narrowing.bypass import Bypass  # noqa: PLC0415 - arithmetic needs no Keras

        found = {}
        for name, number in design.items():
            stage, _, part = name.partition("/")
            if part == "blocks" and number:
                blocks = [f"{stage}_block{n}" for n in range(1, number + 1)]
                shortcut = f"{blocks[0]}_shortcut"
                found[name] = Bypass(
                    conv=shortcut,
                    norm=f"{shortcut}_bn",
                    ends=tuple(f"{block}_conv3_bn" for block in blocks),
                    sums=tuple(f"{block}_add" for block in blocks),
                    inner=(f"{stage}/mid",),
                )
        return found

    def describe(self, design: Design) -> str:
        """See `Family`."""
        return str(Widths.from_items(design))

    def facts(self) -> dict[str, Any]:
        """See `Family`."""
        return {"layout": asdict(self.layout)}

    def to_record(self, design: Design) -> dict[str, Any]:
        """See `Family`; `widths` is the form of `Widths.to_dict`."""
        return super().to_record(design) | {"widths": Widths.from_items(design).to_dict()}

    def from_record(self, record: Mapping[str, Any]) -> Design:
        """See `Family`; records of version 0.1 have `widths` alone."""
        form = record.get("widths", record)
        if "design" not in record and isinstance(form, Mapping) and "stages" in form:
            return self.checked(Widths.from_dict(form).to_design())
        return super().from_record(record)


# A search asks for the same networks again and again.
@lru_cache(maxsize=4096)
def _cost(family: ResNetFamily, design: Design) -> Cost:
    return Widths.from_items(design).cost(family.input_shape, family.classes, family.layout)


def _axis_of(name: str) -> str | None:
    """The axis that a convolution named by `ckrm_tf.families.resnet_model` speaks for."""
    if name == "stem_conv":
        return "stem/filters"
    # `stage1_block1_conv2`, or inside a layer of several `stage1_block1_conv2/conv_top`.
    stage, _, rest = name.partition("/")[0].partition("_")
    place = rest.partition("_")[2]
    if place == "conv2":
        return f"{stage}/mid"
    return f"{stage}/out" if place in ("conv3", "shortcut") else None

"""Plain networks in the manner of VGG (arXiv 1409.1556): stages of 3x3 convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ckrm_tf.design.axes import Axis
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError
from ckrm_tf.families.arithmetic import conv_bn_cost
from ckrm_tf.families.base import Family, StartOptions

if TYPE_CHECKING:
    import keras

    from ckrm_tf.measures.kernels import ConvolutionKernel


@dataclass(frozen=True)
class VGGFamily(Family):
    """Stages of 3x3 convolution, batch norm and ReLU, each ended by a 2x2 max-pool.

    The head is global average pooling and one dense layer, so that parameters do not depend on the
    size of the images. Convolutions have no bias: batch norm follows.

    Attributes:
        filters: of each stage of the starting network.
        layers: convolutions of each stage of the starting network.
        input_shape: (height, width, channels) of one image.
        classes: number of outputs.
        multiple: filters that are narrowed are multiples of so many.

    Raises:
        CKRMError: no stage, or unlike numbers of `filters` and `layers`.

    Example:
        >>> family = VGGFamily((64, 128), (1, 1), (32, 32, 3), 10)
        >>> family.cost(family.start).params
        77130
    """

    name = "vgg"

    filters: tuple[int, ...]
    layers: tuple[int, ...]
    input_shape: tuple[int, int, int] = (224, 224, 1)
    classes: int = 3
    multiple: int = 1

    def __post_init__(self) -> None:
        if not self.filters or len(self.filters) != len(self.layers):
            raise CKRMError(
                "stages",
                expected="at least one, each with filters and layers",
                received=f"filters {self.filters}, layers {self.layers}",
            )

    @classmethod
    def from_options(
        cls, options: StartOptions, input_shape: tuple[int, int, int], classes: int
    ) -> VGGFamily:
        """The family whose filters grow from stage to stage by `growth`, rounded down."""
        if options.conv != "plain":
            raise CKRMError("--conv", expected="plain for the family vgg", received=options.conv)
        if options.filters < 1 or not options.growth > 0:
            raise CKRMError(
                "starting network",
                expected="filters of at least 1 and a positive growth",
                received=f"filters {options.filters}, growth {options.growth}",
            )
        filters = tuple(
            max(1, int(options.filters * options.growth**i)) for i in range(len(options.blocks))
        )
        return cls(filters, options.blocks, input_shape, classes, options.multiple)

    @cached_property
    def start(self) -> Design:
        """See `Family`."""
        stages = zip(self.filters, self.layers, strict=True)
        return Design(
            pair
            for number, (filters, layers) in enumerate(stages, start=1)
            for pair in ((f"stage{number}/layers", layers), (f"stage{number}/filters", filters))
        )

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        """See `Family`."""
        return tuple(
            Axis(name, size, "depth", name.split("/")[0])
            if name.endswith("/layers")
            else Axis(name, size, "width", name.split("/")[0], 1, self.multiple)
            for name, size in self.start.items()
        )

    def _stages(self, design: Design) -> list[tuple[int, int]]:
        """(layers, filters) of each stage."""
        numbers = range(1, len(self.filters) + 1)
        return [(design[f"stage{n}/layers"], design[f"stage{n}/filters"]) for n in numbers]

    def cost(self, design: Design) -> Cost:
        """See `Family`."""
        design = self.checked(design)
        height, width, channels = self.input_shape
        least = 2 ** len(self.filters)
        if min(height, width) < least:
            raise CKRMError(
                "image size too small for the network",
                expected=f"sides of at least {least} pixels ({len(self.filters)} stages)",
                received=f"{height}x{width}",
            )
        if self.classes < 2:
            raise CKRMError("classes", expected="at least 2", received=self.classes)
        cost = Cost()
        for layers, filters in self._stages(design):
            for _ in range(layers):
                cost += conv_bn_cost((height, width), channels, filters, 3, bias=False)
                channels = filters
            height, width = height // 2, width // 2
        return cost + Cost(params=(channels + 1) * self.classes, macs=channels * self.classes)

    def build(self, design: Design, *, kernel_regularizer: Any = None) -> keras.Model:
        """See `Family`. Convolutions are named `stage1_conv2`; batch norms add `_bn`."""
        import keras  # noqa: PLC0415 - arithmetic needs no Keras

        self.cost(design)  # refuses what cannot be built, in the user's words
        x = image = keras.Input(self.input_shape, name="image")
        for number, (layers, filters) in enumerate(self._stages(design), start=1):
            for layer in range(1, layers + 1):
                name = f"stage{number}_conv{layer}"
                x = keras.layers.Conv2D(
                    filters,
                    3,
                    padding="same",
                    use_bias=False,
                    kernel_regularizer=kernel_regularizer,
                    name=name,
                )(x)
                # The momentum of short trainings, as in `ckrm_tf.resnet`.
                x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(
                    x
                )
                x = keras.layers.ReLU(name=f"{name}_relu")(x)
            x = keras.layers.MaxPooling2D(2, name=f"stage{number}_pool")(x)
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(image, keras.layers.Dense(self.classes, name="logits")(x), name="vgg")

    def kernels(self, model: keras.Model) -> Mapping[str, Sequence[ConvolutionKernel]]:
        """See `Family`: the convolutions of a stage share its filters."""
        from ckrm_tf.measures.kernels import comparable_kernels  # noqa: PLC0415 - as above

        found: dict[str, list[ConvolutionKernel]] = {}
        for kernel in comparable_kernels(model):
            found.setdefault(f"{kernel.name.split('_')[0]}/filters", []).append(kernel)
        return found

    def describe(self, design: Design) -> str:
        """See `Family`."""
        return " | ".join(f"{layers} x {filters}" for layers, filters in self._stages(design))

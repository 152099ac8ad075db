"""What a family of networks is: the one thing the rest of the program knows of an architecture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ckrm_tf.design.axes import Axis, settled
from ckrm_tf.design.cost import Cost
from ckrm_tf.design.design import Design
from ckrm_tf.errors import CKRMError

if TYPE_CHECKING:
    import keras

    from ckrm_tf.measures.kernels import ConvolutionKernel
    from ckrm_tf.narrowing.bypass import Bypass


class Family(ABC):
    """Networks of one architecture that differ in the numbers of their `Design` only.

    An instance knows everything else that a network of it depends on: input, classes, layout, or a
    whole model that it narrows. `tests/test_families.py` has the laws that each family must obey.

    Attributes:
        name: the family's name, as in `--family`.

    Example:
        >>> from ckrm_tf import Family, ResNetFamily, Stage, Widths
        >>> family = ResNetFamily(Widths(8, (Stage(1, 8, 16),)), (16, 16, 1))
        >>> isinstance(family, Family), [axis.name for axis in family.axes]
        (True, ['stem/filters', 'stage1/blocks', 'stage1/mid', 'stage1/out'])
        >>> narrower = family.start.replace({"stage1/mid": 4})
        >>> family.cost(family.start).params, family.cost(narrower).params
        (1507, 955)
    """

    name: str

    @property
    @abstractmethod
    def start(self) -> Design:
        """The starting network: the widest and deepest of a search."""

    @property
    @abstractmethod
    def axes(self) -> tuple[Axis, ...]:
        """What may change, in the order of the design."""

    @abstractmethod
    def cost(self, design: Design) -> Cost:
        """Trainable parameters and multiply-accumulates of a network, without building it.

        Raises:
            CKRMError: a design, input or number of classes with which it cannot be built.
        """

    @abstractmethod
    def build(self, design: Design, *, kernel_regularizer: Any = None) -> keras.Model:
        """A fresh network, from `image` to `logits`.

        Args:
            design: its numbers.
            kernel_regularizer: anything Keras takes, put on every convolution kernel.
        """

    @abstractmethod
    def kernels(self, model: keras.Model) -> Mapping[str, Sequence[ConvolutionKernel]]:
        """The kernels that speak for each width of a network: those that make its channels.

        Kernels that cannot be compared are left out; a width that no kernel speaks for is too.
        """

    def bypasses(self, design: Design) -> Mapping[str, Bypass]:
        """By axis of depth, how a network of this design is sliced to a lower depth.

        Axes whose depth cannot be lowered so are left out.
        """
        return {}

    def given(self, design: Design) -> bool:
        """Whether a network of this design comes with its weights and is not trained."""
        return False

    def describe(self, design: Design) -> str:
        """The design in a few words, for a line on screen."""
        return str(design)

    def facts(self) -> dict[str, Any]:
        """What surrounds the design, as plain values for a record."""
        return {}

    def to_record(self, design: Design) -> dict[str, Any]:
        """The design as a record holds it: `design`, and other forms of it under their own keys."""
        return {"design": design.to_dict()}

    def from_record(self, record: Mapping[str, Any]) -> Design:
        """The design of a record, or of its bare numbers.

        Raises:
            CKRMError: a design of another family.
        """
        return self.checked(Design.from_dict(record.get("design", record)))

    def checked(self, design: Design) -> Design:
        """The design, in the order of the axes, once it is sure that it is one of this family.

        The widths of a stage that is absent come out as 0.

        Raises:
            CKRMError: other names than those of the axes, or a 0 where the family lets nothing go.
        """
        names = [axis.name for axis in self.axes]
        if set(names) != set(design):
            raise CKRMError(
                f"design of the family {self.name}",
                expected=", ".join(names),
                received=", ".join(design),
            )
        return settled(design, self.axes)


@dataclass(frozen=True, slots=True)
class StartOptions:
    """The settings that a starting network is made from; a family refuses those it has not.

    Attributes:
        filters: of the first stage.
        growth: from stage to stage.
        blocks: blocks or layers of each stage.
        conv: the kind of convolution, "plain" in every family.
        ratio: of `conv="slim"`.
        multiple: widths that are narrowed are multiples of so many channels.
    """

    filters: int
    growth: float
    blocks: tuple[int, ...]
    conv: str = "plain"
    ratio: float = 4 / 3
    multiple: int = 1

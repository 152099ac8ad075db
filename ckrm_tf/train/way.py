"""How one network is trained beside the recipe: what it takes over from the trained start."""

from __future__ import annotations

from dataclasses import dataclass

from ckrm_tf.errors import CKRMError

PLAIN_NAME = "plain"
# By (begins as a slice, hears the start's probabilities): what a record calls it.
NAMES = {
    (False, False): PLAIN_NAME,
    (False, True): "distilled",
    (True, False): "slice",
    (True, True): "distilled slice",
}
HOWS = tuple(NAMES.values())

# Weight of the soft probabilities, where they are asked for.
WEIGHT = 0.5
# Of the epochs, for a network that begins as a mended slice.
SLICE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Way:
    """What a training takes over from the trained starting network, and how long it is.

    Attributes:
        distill: weight of the start's soft probabilities in the loss; the labels have the rest.
        slice: begin from the mended slice of the start in place of fresh weights.
        share: of the recipe's epochs.

    Example:
        >>> Way().how, Way(distill=0.5).how, Way(slice=True, share=0.25).epochs(12)
        ('plain', 'distilled', 3)
    """

    distill: float = 0.0
    slice: bool = False
    share: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.distill <= 1:
            raise CKRMError("distill", expected="from 0 to 1", received=self.distill)
        if not 0 < self.share <= 1:
            raise CKRMError("share of the epochs", expected="from 0 to 1", received=self.share)

    @classmethod
    def of(cls, distill: bool, begins: str | None, given: bool = False) -> Way:
        """The way that settings name.

        Args:
            distill: whether the start's probabilities are heard, at a weight of `WEIGHT`.
            begins: "slices" or "scratch"; None for the default, which is fresh weights.
            given: the start is a model that somebody brought, whose family slices it itself.
        """
        sliced = begins == "slices" and not given
        return cls(WEIGHT if distill else 0.0, sliced, SLICE_SHARE if sliced else 1.0)

    @property
    def how(self) -> str:
        """Its name in a record, one of `HOWS`."""
        return NAMES[self.slice, self.distill > 0]

    @property
    def inherits(self) -> bool:
        """Whether a trained start is needed."""
        return self.slice or self.distill > 0

    def epochs(self, whole: int) -> int:
        """Epochs of a training where the recipe has so many; at least 1."""
        return max(1, round(self.share * whole))

    def mark(self, whole: int) -> tuple[str, int]:
        """What a whole training of this way has in its record: its name and its epochs."""
        return self.how, self.epochs(whole)


PLAIN = Way()

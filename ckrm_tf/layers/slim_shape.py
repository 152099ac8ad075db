"""Channel counts inside SlimConv, shared by the layer and by the cost arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ckrm_tf.errors import CKRMError

# Ratios are typed by hand as 1.33 or 2.67; this much is forgiven in the number of folds.
FOLD_TOLERANCE = 0.02
# The weight branch squeezes the channels by this factor (arXiv 2003.07469, released code).
SQUEEZE = 32


def check_groups(channels: int, groups: int, what: str = "channels of a grouped 3x3") -> None:
    """Refuse channels that do not divide into `groups`."""
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1:
        raise CKRMError("groups", expected="a whole number of at least 1", received=repr(groups))
    if channels % groups:
        raise CKRMError(what, expected=f"a multiple of groups={groups}", received=channels)


def fold_count(ratio: float) -> int:
    """Into how many chunks SlimConv folds its channels: 3/2 of the ratio k, so 2 for k = 4/3.

    Raises:
        CKRMError: when k is not a multiple of 2/3 of at least 4/3.
    """
    expected = "a multiple of 2/3 of at least 4/3, such as 4/3, 2 or 8/3"
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 1 < ratio < 1e6:
        raise CKRMError("SlimConv ratio", expected=expected, received=repr(ratio))
    folds = round(1.5 * ratio)
    if folds < 2 or abs(1.5 * ratio - folds) > FOLD_TOLERANCE:
        raise CKRMError("SlimConv ratio", expected=expected, received=repr(ratio))
    return folds


@dataclass(frozen=True, slots=True)
class SlimShape:
    """Channels at each place of a SlimConv with `channels` inputs.

    Attributes:
        squeeze: channels between the two 1x1 convolutions of the weight branch.
        top: channels out of the upper 3x3.
        bottom: channels out of the lower 3x3.
        groups: groups of the upper 3x3.
        bottom_groups: groups of the lower 3x3.
        fold: channels that the input is folded to, which both branches read; `top` unless the layer
            was narrowed.
        reduce: channels out of the 1x1 before the lower 3x3; `bottom` unless narrowed.
    """

    channels: int
    squeeze: int
    top: int
    bottom: int
    groups: int
    bottom_groups: int
    fold: int
    reduce: int

    @property
    def output(self) -> int:
        """Output channels: `top` and `bottom` side by side."""
        return self.top + self.bottom


def slim_shape(
    channels: int, ratio: float, groups: int = 1, bottom_groups: int | None = None
) -> SlimShape:
    """The channels of a SlimConv (arXiv 2003.07469, Section III) on an input of `channels`.

    With n = 3k/2 folds, the upper branch has C // n channels and the lower C // 2n, so that the
    output is C / k wherever 2n divides C. Counts are rounded down as in the released code; where
    that would leave nothing (C < 32 in the weight branch, C < 2n in the lower one) one channel
    stays, so that narrow networks can be built.

    Args:
        channels: input channels C, at least 1.
        ratio: k, a multiple of 2/3 of at least 4/3.
        groups: groups of the upper 3x3; must divide its channels.
        bottom_groups: groups of the lower 3x3; by default as many of `groups` as divide its
            channels (their greatest common divisor).

    Raises:
        CKRMError: for an impossible ratio, channels below 1, or groups that do not divide.
    """
    folds = fold_count(ratio)
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise CKRMError(
            "SlimConv channels", expected="a whole number of at least 1", received=repr(channels)
        )
    top, bottom = max(1, channels // folds), max(1, channels // (2 * folds))
    check_groups(top, groups, f"upper 3x3 of a SlimConv on {channels} channels")
    if bottom_groups is None:
        bottom_groups = gcd(groups, bottom)
    check_groups(bottom, bottom_groups, f"lower 3x3 of a SlimConv on {channels} channels")
    squeeze = max(1, channels // SQUEEZE)
    return SlimShape(channels, squeeze, top, bottom, groups, bottom_groups, top, bottom)


def given_shape(
    channels: int, inner: tuple[int, ...], groups: int, bottom_groups: int | None
) -> SlimShape:
    """The channels of a narrowed SlimConv, whose inner widths no ratio gives.

    Args:
        channels: input channels, at least 1.
        inner: channels of squeeze, fold, top, reduce and bottom, as in `SlimShape`.
        groups, bottom_groups: of the two 3x3; by default as many of `groups` as divide `bottom`.

    Raises:
        CKRMError: for groups that do not divide.
    """
    squeeze, folded, top, reduced, bottom = inner
    if bottom_groups is None:
        bottom_groups = gcd(groups, gcd(reduced, bottom))
    for width, count in (
        (folded, groups),
        (top, groups),
        (reduced, bottom_groups),
        (bottom, bottom_groups),
    ):
        check_groups(width, count, f"3x3 of a SlimConv on {channels} channels")
    return SlimShape(channels, squeeze, top, bottom, groups, bottom_groups, folded, reduced)


def slim_output(channels: int, ratio: float) -> int:
    """Output channels of a SlimConv on `channels`: C / k where it is whole; see `slim_shape`."""
    return slim_shape(channels, ratio).output

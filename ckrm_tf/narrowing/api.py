"""`narrow` and `width_groups`: what a user calls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from ckrm_tf.errors import CKRMError
from ckrm_tf.narrowing.groups import Groups
from ckrm_tf.narrowing.mend import RIDGE
from ckrm_tf.narrowing.narrower import Narrower
from ckrm_tf.narrowing.plan import Channels


def width_groups(model: keras.Model, *, freeze: Iterable[str] = ()) -> Groups:
    """The widths of a model that can be chosen: layers that must be equally wide share one.

    Args:
        model: a built functional or sequential model.
        freeze: names of layers to leave alone.

    Returns:
        A mapping from name to `Group`, whose `width`, `layers` and `reason` (None where free) tell
        what can be chosen. It prints as a table.

    Raises:
        CKRMError: for a subclassed or unbuilt model, or an unknown name in `freeze`.

    Example:
        >>> import keras
        >>> from ckrm_tf import width_groups
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        ...      keras.layers.Flatten(), keras.layers.Dense(2, name="head")]
        ... )
        >>> {name: (group.width, group.free) for name, group in width_groups(model).items()}
        {'conv': (4, True), 'head': (2, False)}
    """
    return Channels(model, freeze=freeze).groups


def narrow(
    model: keras.Model,
    to: float | Mapping[str, Any] | None = None,
    *,
    keep: Mapping[str, Any] | None = None,
    images: Any = None,
    labels: Any = None,
    select: str | None = None,
    mend: bool | str | None = None,
    allocate: str = "uniform",
    floor: int = 1,
    multiple: int = 1,
    freeze: Iterable[str] = (),
    ridge: float = RIDGE,
    recalibrate: bool = False,
    seed: int = 0,
) -> keras.Model:
    """A narrower model with the weights of the channels that stay. The model given is unchanged.

    Args:
        model: a built functional or sequential Keras 3 model. Layers without a rule stay as they
            are, and so do the channels they touch.
        to: a share of every free width; or `{"params": .25}`, `{"macs": .5}`, `{"latency": .5}`, a
            share (or a whole number of parameters or multiply-accumulates) that is kept to; or
            widths by group, `{group: width}`, a `Design` among them. Parameters are those that
            `cost(model).params` counts: trainable ones, without frozen layers.
        keep: the units that stay, `{group: indices}`, in place of `to` and `select`; a group that
            is not named stays whole.
        images: some hundred images as the model takes them, without labels; they choose and mend.
        labels: of the images, for `select="taylor"` alone.
        select: the criterion, a key of `SELECTORS`; "pivot" with images, else "norm".
        mend: whether the kernels take over what was removed, by ridge regression on the images,
            layer after layer; on where there are images. "once" fits every kernel on the model as
            it is: cheaper, and further from it.
        allocate: how a constraint is met: "uniform", one share of every width; or "energy", which
            with images leaves every group the same share of its responses unexplained.
        floor: the smallest width.
        multiple: round widths up to a multiple of this many channels, such as 8.
        freeze: names of layers to leave alone.
        ridge: of the regression, as a share of the mean energy of a kept channel.
        recalibrate: estimate the batch norms' statistics anew on the images. Off: after mending it
            made networks worse or no better (docs/narrowing.md).
        seed: of a criterion that draws.

    Returns:
        A model of the same class, names and compile settings; the state of optimizer and metrics
        does not carry over.

    Raises:
        CKRMError: a model that is subclassed, unbuilt or without a free width; a constraint that
            cannot be met; arguments that do not fit.

    Example:
        >>> import keras
        >>> from ckrm_tf import narrow
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="conv"),
        ...      keras.layers.Flatten(), keras.layers.Dense(2)]
        ... )
        >>> narrow(model, 0.5).get_layer("conv").filters
        2
    """
    narrower = Narrower(model, images=images, labels=labels, freeze=freeze, seed=seed)
    if mend and images is None:
        raise CKRMError("mend", expected="images to mend on", received="none")
    if keep is not None:
        if to is not None:
            raise CKRMError("narrow", expected="one of to and keep", received="both")
        kept = narrower.checked(keep)
    else:
        kept = narrower.choose(to, select, allocate=allocate, floor=floor, multiple=multiple)
    return narrower.build(kept, mend=mend, ridge=ridge, recalibrate=recalibrate)

"""Parameters, multiply-accumulates and activations of any Keras model, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import keras

from ckrm_tf.narrowing import keras_graph
from ckrm_tf.narrowing.call import Term
from ckrm_tf.narrowing.plan import Channels


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What one layer costs for one image.

    Attributes:
        name: its path, with the models around it.
        kind: its class.
        shape: of its output, the batch axis first; several outputs: the first.
        params: trainable parameters; weights that layers share count once.
        macs: multiply-accumulates, over all calls.
        activations: numbers in its outputs, over all calls.
        counted: whether the layer's kind is known; otherwise `macs` is 0 for want of a rule.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    params: int
    macs: int
    activations: int
    counted: bool


@dataclass(frozen=True)
class ModelCost:
    """The cost of a model; prints as a table.

    Attributes:
        layers: one row a layer, in the order of the graph.
        params: trainable parameters.
        total: all parameters, moving statistics and frozen weights included.
        macs: multiply-accumulates of convolutions, dense layers and attention for one image.
            Norms, activations and sums are not counted.
        activations: numbers in the outputs of all layers for one image.
        assumed: what was assumed of sides of unknown size, or "".
    """

    layers: tuple[LayerCost, ...]
    params: int
    total: int
    macs: int
    activations: int
    assumed: str = ""

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Layers with weights whose multiply-accumulates are not known."""
        return tuple(row.name for row in self.layers if not row.counted)

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "params", "MACs", "activations")
        rows = [
            (
                row.name,
                row.kind,
                "x".join("?" if s is None else str(s) for s in row.shape[1:]),
                f"{row.params:,}",
                f"{row.macs:,}" if row.counted else "?",
                f"{row.activations:,}",
            )
            for row in self.layers
        ]
        last = ("in all", "", "", f"{self.params:,}", f"{self.macs:,}", f"{self.activations:,}")
        widths = [max(len(line[i]) for line in (head, *rows, last)) for i in range(len(head))]

        def line(cells: tuple[str, ...]) -> str:
            return "  ".join(
                c.ljust(w) if i < 3 else c.rjust(w)
                for i, (c, w) in enumerate(zip(cells, widths, strict=True))
            ).rstrip()

        text = [line(head), *(line(row) for row in rows), line(last)]
        text.append(f"all parameters, not trained ones included: {self.total:,}")
        if self.assumed:
            text.append(self.assumed)
        if self.uncounted:
            text.append(f"MACs not known of: {', '.join(self.uncounted)}")
        return "\n".join(text)


def cost(model: keras.Model, input_shape: tuple[int, ...] | None = None) -> ModelCost:
    """Parameters, multiply-accumulates and activations of a model for one image.

    A convolution costs the product of its kernel's shape for each place of its output, a dense
    layer that of its kernel; attention counts its projections and both products. A layer that is
    called several times costs as often.

    Args:
        model: a built functional or sequential model.
        input_shape: of one image, (height, width, channels), where the model leaves sides open.

    Raises:
        CKRMError: for a subclassed or unbuilt model, or an input shape that does not fit.

    Example:
        >>> import keras
        >>> from ckrm_tf import cost
        >>> model = keras.Sequential(
        ...     [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
        ... )
        >>> cost(model).params, cost(model).macs
        (112, 3888)
    """
    channels = Channels(model, input_shape=input_shape)
    alive = channels.alive(channels.all())

    def by_path(terms: list[Term]) -> dict[str, int]:
        found: dict[str, int] = {}
        for term in terms:
            found[term.path] = found.get(term.path, 0) + channels.value(term, alive)
        return found

    params, macs = by_path(channels.params), by_path(channels.trace.macs)
    activations = by_path(channels.trace.activations)
    rows = []
    for path, layer in channels.trace.layers:
        if keras_graph.is_model(layer):
            continue
        unknown = path in channels.trace.frozen and bool(getattr(layer, "weights", ()))
        rows.append(
            LayerCost(
                path,
                type(layer).__name__,
                channels.trace.first_shape[id(layer)],
                params.get(path, 0),
                macs.get(path, 0),
                activations.get(path, 0),
                path in macs or not unknown,
            )
        )
    return ModelCost(
        tuple(rows),
        sum(params.values()),
        int(model.count_params()),
        sum(macs.values()),
        sum(activations.values()),
        channels.assumed,
    )

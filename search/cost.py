"""`python -m search.cost MODEL.keras`: parameters, MACs and activations, layer by layer."""

from __future__ import annotations

import sys

from ckrm_tf import cost, width_groups
from ckrm_tf.models.load import load_model
from search.cli import main
from search.model_file import model_path


def cost_of(
    model: str,
    *,
    input_shape: tuple[int, ...] | None = None,
    groups: bool = False,
    custom: str | None = None,
    unsafe: bool = False,
) -> None:
    """Print what a saved Keras model costs for one image, layer by layer.

    Args:
        model: a .keras or .h5 file.
        input_shape: HEIGHT,WIDTH,CHANNELS, where the model leaves sides open.
        groups: list the widths that can be narrowed instead.
        custom: a Python file that defines the model's own layers.
        unsafe: let code inside the model's file run.
    """
    loaded = load_model(model_path(model), custom=custom, unsafe=unsafe)
    table = width_groups(loaded) if groups else cost(loaded, input_shape)
    sys.stdout.write(f"{table}\n")


if __name__ == "__main__":
    main(cost_of)

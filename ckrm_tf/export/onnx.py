"""ONNX, by way of tf2onnx; read by ONNX Runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ckrm_tf.export.base import Call, Format
from ckrm_tf.export.flat import FlatModel, specs, traced

# The newest that tf2onnx 1.17 writes.
OPSET = 18

READER = """
import onnxruntime

def read(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [end.name for end in session.get_outputs()]
    return lambda given: dict(zip(names, session.run(names, given)))
"""


def _write(flat: FlatModel, path: Path, facts: Mapping[str, Any]) -> None:
    import onnx  # noqa: PLC0415 - an extra
    import tf2onnx  # noqa: PLC0415 - an extra

    function = traced(flat)
    graph, _ = tf2onnx.convert.from_function(
        function, specs(flat), opset=OPSET, custom_op_handlers={"Erfc": (_erfc, [])}
    )
    _keep_constants(graph.graph, [port.name for port in flat.inputs], function)
    texts = {
        name: fact if isinstance(fact, str) else json.dumps(fact) for name, fact in facts.items()
    }
    onnx.helper.set_model_props(graph, texts)
    # An operation that tf2onnx does not know stays in the graph as it was.
    onnx.checker.check_model(graph)
    onnx.save(graph, path)


def _keep_constants(graph: Any, names: Sequence[str], function: Any) -> None:
    """Put the tensors that a layer holds outside its weights into the graph.

    `Normalization` computes two from its statistics. TensorFlow hands them to the traced function
    beside the inputs, and so tf2onnx names them as inputs, whether the graph uses them or not.
    """
    from onnx import numpy_helper  # noqa: PLC0415 - an extra

    used = {name for node in graph.node for name in node.input}
    held = {inner.name: outer for outer, inner in function.get_concrete_function().graph.captures}
    for given in [one for one in graph.input if one.name not in names]:
        graph.input.remove(given)
        if given.name in used:
            value = np.asarray(held[given.name].numpy())
            graph.initializer.append(numpy_helper.from_array(value, given.name))


def _erfc(graph: Any, node: Any, name: str, args: Sequence[Any]) -> None:
    """1 - erf(x), of which TensorFlow makes GELU; tf2onnx knows erf alone."""
    node.type = "Erf"
    one = graph.make_const(f"{name}_one", np.ones((), np.float32))
    negative = graph.insert_new_node_on_output("Neg", node.output[0], name=f"{name}_negative")
    graph.insert_new_node_on_output(
        "Add", negative.output[0], name=f"{name}_sum", inputs=[negative.output[0], one.output[0]]
    )


def _read(path: Path, flat: FlatModel) -> Call:
    import onnxruntime  # noqa: PLC0415 - an extra

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [port.name for port in flat.outputs]

    def call(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        given = {port.name: array for port, array in zip(flat.inputs, arrays, strict=True)}
        return [np.asarray(array) for array in session.run(names, given)]

    return call


FORMAT = Format(
    name="onnx",
    file="model.onnx",
    write=_write,
    read=_read,
    tolerance=1e-4,
    needs=("tensorflow", "onnx", "tf2onnx", "onnxruntime"),
    install="'ckrm-tf[onnx]'",
    reader=READER,
)

"""Turns the weights of an ONNX graph, and what they are multiplied by, into int8.

Each weight matrix has one scale for each of its columns. Each token has a scale of its own, so that the vector of a
text does not depend on the texts beside it in a batch, as it would with one scale for a whole tensor. This is the
scheme of LLM.int8() without its outliers (Dettmers et al., 2022, arXiv:2208.07339, "vector-wise quantization").

Legend: K input features, N output features, V vocabulary, D hidden size.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

#: Domain of the operations that only ONNX Runtime has.
_DOMAIN = "com.microsoft"
#: Tables with fewer numbers stay as they are.
_MIN_TABLE = 2**16

Floats = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]


def quantize_graph(path: Path) -> None:
    """Replace products with weight matrices, and look-ups in tables of embeddings, in the file ``path``."""
    model = onnx.load(path)
    graph = _Int8Graph(model.graph)
    model.graph.CopyFrom(graph.rewritten())
    if all(each.domain != _DOMAIN for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    onnx.save(model, path)
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # weights of a large model before


class _Int8Graph:
    """A graph while its operations are replaced."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        self.made: dict[str, onnx.TensorProto] = {}
        self._quantized: dict[str, tuple[str, str]] = {}

    def rewritten(self) -> onnx.GraphProto:
        """The graph with int8."""
        for node in self.graph.node:
            if node.op_type == "MatMul" and self._is_matrix(node.input[1]):
                self._multiply(node)
            elif node.op_type == "Gather" and self._is_table(node):
                self._look_up(node)
            else:
                self.nodes.append(node)
        used = {name for node in self.nodes for name in node.input} | {each.name for each in self.graph.output}
        tensors = [tensor for name, tensor in (self.weights | self.made).items() if name in used]
        return helper.make_graph(self.nodes, self.graph.name, self.graph.input, self.graph.output, tensors)

    def _is_matrix(self, name: str) -> bool:
        return name in self.weights and len(self.weights[name].dims) == 2

    def _is_table(self, node: onnx.NodeProto) -> bool:
        """Whether a look-up takes rows of a large table."""
        rows = all(each.i == 0 for each in node.attribute if each.name == "axis")
        return rows and self._is_matrix(node.input[0]) and np.prod(self.weights[node.input[0]].dims) >= _MIN_TABLE

    def _multiply(self, node: onnx.NodeProto) -> None:
        """Of a product x · W: (x / s) · (W / t) · s · t, where each token has an s and each column a t."""
        tokens, scale_of_tokens = self._quantize(node.input[0])
        weights, scales = _per_column(numpy_helper.to_array(self.weights[node.input[1]]))
        out = node.output[0]
        product = [
            tokens,
            self._constant(f"{out}_int8", weights),
            self._constant("int8_step", np.float32(1 / 127)),
            self._constant(f"{out}_scales", scales),
            self._constant("int8_zero", np.uint8(128)),
        ]
        self._add("MatMulIntegerToFloat", product, f"{out}_scaled", domain=_DOMAIN)
        self._add("Mul", [f"{out}_scaled", scale_of_tokens], out)

    def _quantize(self, name: str) -> tuple[str, str]:
        """Names of the tokens in uint8, 128 for zero, and of the scale of each; made once for all products."""
        if name not in self._quantized:
            largest = f"{name}_largest"
            self._add("Abs", [name], f"{name}_abs")
            axis = self._constant("int8_last_axis", np.array([-1], np.int64))
            self._add("ReduceMax", [f"{name}_abs", axis], f"{name}_max", keepdims=1)
            self._add("Max", [f"{name}_max", self._constant("int8_tiny", np.float32(1e-12))], largest)
            self._add("Div", [name, largest], f"{name}_unit")
            step, zero = self._constant("int8_step", np.float32(1 / 127)), self._constant("int8_zero", np.uint8(128))
            self._add("QuantizeLinear", [f"{name}_unit", step, zero], f"{name}_uint8")
            self._quantized[name] = f"{name}_uint8", largest
        return self._quantized[name]

    def _look_up(self, node: onnx.NodeProto) -> None:
        """Rows of a table in int8 with a scale of each row: a quarter of the memory."""
        table, scales = _per_column(numpy_helper.to_array(self.weights[node.input[0]]).T)
        name, out, rows = node.input[0], node.output[0], node.input[1]
        self._add("Gather", [self._constant(f"{name}_int8", np.ascontiguousarray(table.T)), rows], f"{out}_int8")
        self._add("Gather", [self._constant(f"{name}_scales", scales[:, None]), rows], f"{out}_scale")
        self._add("Cast", [f"{out}_int8"], f"{out}_float", to=onnx.TensorProto.FLOAT)
        self._add("Mul", [f"{out}_float", f"{out}_scale"], out)

    def _constant(self, name: str, value: npt.NDArray[np.generic] | np.generic) -> str:
        self.made.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))


def _per_column(matrix: Floats) -> tuple[Int8, Floats]:
    """[K, N] in int8, and [N] the scale of each column."""
    scales = np.maximum(np.abs(matrix).max(axis=0), 1e-12).astype(np.float32) / np.float32(127)
    return np.round(matrix / scales).astype(np.int8), scales

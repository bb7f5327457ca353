"""Turns the weights of an ONNX graph, and what they are multiplied by, into int8.

Each weight matrix has a scale for each of its columns. Each token has a scale of its own, so that the vector of a text
does not depend on the texts beside it in a batch, as it would with one scale for a whole tensor ("vector-wise", as in
LLM.int8(), Dettmers et al., 2022, arXiv:2208.07339). After a normalisation a few features are many times larger than
the others, and would take the range of the scale: they are divided by a factor, and the weights are multiplied by it
(SmoothQuant, Xiao et al., 2023, arXiv:2211.10438).

Legend: B sequences, T tokens, K input features, N output features.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

#: Domain of the operations that only ONNX Runtime has.
_DOMAIN = "com.microsoft"
#: Tables with fewer numbers stay as they are.
_MIN_TABLE = 2**16
#: Share of a feature's range that moves into the weights.
_SMOOTHING = 0.5
_NORMALIZATIONS = ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")

Floats = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]


def quantize_graph(path: Path, sample: dict[str, npt.NDArray[np.int64]]) -> None:
    """Replace products with weight matrices, and look-ups in tables of embeddings, in the file ``path``.

    Args:
        path: The graph, in fp32.
        sample: Inputs [B, T] by name, on which the ranges of normalised features are measured.
    """
    model = onnx.load(path)
    graph = _Int8Graph(model.graph)
    graph.largest = _largest_of(path, graph.normalized(), sample)
    model.graph.CopyFrom(graph.rewritten())
    if all(each.domain != _DOMAIN for each in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    onnx.save(model, path)
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # where the weights of a large model were


def _largest_of(path: Path, names: Iterable[str], sample: dict[str, npt.NDArray[np.int64]]) -> dict[str, Floats]:
    """[K] the largest absolute value of each feature of inner tensors [B, T, K]."""
    model = onnx.load(path, load_external_data=False)  # weights in a file of their own stay there
    names = list(names)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    wider = path.with_name("wider.onnx")
    onnx.save(model, wider)
    try:
        session = onnxruntime.InferenceSession(str(wider), providers=["CPUExecutionProvider"])
        found = session.run(names, sample) if names else []
    finally:
        wider.unlink()
    return {name: np.abs(value).max(axis=(0, 1)) for name, value in zip(names, found, strict=True)}


class _Int8Graph:
    """A graph while its operations are replaced."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.largest: dict[str, Floats] = {}
        self._nodes: list[onnx.NodeProto] = []
        self._made: dict[str, onnx.TensorProto] = {}
        self._quantized: dict[str, tuple[str, str]] = {}
        self._products = [each for each in graph.node if each.op_type == "MatMul" and self._is_matrix(each.input[1])]

    def normalized(self) -> list[str]:
        """Outputs of normalisations that are multiplied by weights."""
        outputs = {node.output[0] for node in self.graph.node if node.op_type in _NORMALIZATIONS}
        return sorted(outputs & {node.input[0] for node in self._products})

    def rewritten(self) -> onnx.GraphProto:
        """The graph with int8."""
        products = {node.output[0] for node in self._products}
        for node in self.graph.node:
            if node.output[0] in products:
                self._multiply(node)
            elif node.op_type == "Gather" and self._is_table(node):
                self._look_up(node)
            else:
                self._nodes.append(node)
        used = {name for node in self._nodes for name in node.input} | {each.name for each in self.graph.output}
        tensors = [tensor for name, tensor in (self.weights | self._made).items() if name in used]
        return helper.make_graph(self._nodes, self.graph.name, self.graph.input, self.graph.output, tensors)

    def _is_matrix(self, name: str) -> bool:
        return name in self.weights and len(self.weights[name].dims) == 2

    def _is_table(self, node: onnx.NodeProto) -> bool:
        """Whether a look-up takes rows of a large table."""
        rows = all(each.i == 0 for each in node.attribute if each.name == "axis")
        return rows and self._is_matrix(node.input[0]) and np.prod(self.weights[node.input[0]].dims) >= _MIN_TABLE

    def _multiply(self, node: onnx.NodeProto) -> None:
        """For x · W: (x / f / s) · (f · W / t) · s · t, where f is of a feature, s of a token, and t of a column."""
        out = node.output[0]
        tokens, scale_of_tokens = self._quantize(node.input[0])
        matrix = self._matrix(node.input[1])
        if (factors := self._factors(node.input[0])) is not None:
            matrix = matrix * factors[:, None]
        weights, scales = _per_column(matrix)
        product = [
            tokens,
            self._constant(f"{out}_int8", weights),
            self._constant("int8_step", np.float32(1 / 127)),
            self._constant(f"{out}_scales", scales),
            self._constant("int8_zero", np.uint8(128)),
        ]
        self._add("MatMulIntegerToFloat", product, f"{out}_scaled", domain=_DOMAIN)
        self._add("Mul", [f"{out}_scaled", scale_of_tokens], out)

    def _factors(self, name: str) -> Floats | None:
        """[K] by which the features of a normalised tensor are divided; None: it is taken as it is."""
        if name not in self.largest:
            return None
        readers = [np.abs(self._matrix(each.input[1])).max(axis=1) for each in self._products if each.input[0] == name]
        ours, theirs = np.maximum(self.largest[name], 1e-5), np.maximum(np.max(readers, axis=0), 1e-5)
        factors: Floats = (ours**_SMOOTHING / theirs ** (1 - _SMOOTHING)).astype(np.float32)
        return factors

    def _quantize(self, name: str) -> tuple[str, str]:
        """Names of the tokens in uint8, 128 for zero, and of the scale of each; made once for all products."""
        if name not in self._quantized:
            smooth = name
            if (factors := self._factors(name)) is not None:
                smooth = f"{name}_smooth"
                self._add("Mul", [name, self._constant(f"{name}_factors", 1 / factors)], smooth)
            self._add("Abs", [smooth], f"{name}_abs")
            axis = self._constant("int8_last_axis", np.array([-1], np.int64))
            self._add("ReduceMax", [f"{name}_abs", axis], f"{name}_max", keepdims=1)
            self._add("Max", [f"{name}_max", self._constant("int8_tiny", np.float32(1e-12))], f"{name}_largest")
            self._add("Div", [smooth, f"{name}_largest"], f"{name}_unit")
            step, zero = self._constant("int8_step", np.float32(1 / 127)), self._constant("int8_zero", np.uint8(128))
            self._add("QuantizeLinear", [f"{name}_unit", step, zero], f"{name}_uint8")
            self._quantized[name] = f"{name}_uint8", f"{name}_largest"
        return self._quantized[name]

    def _look_up(self, node: onnx.NodeProto) -> None:
        """Rows of a table in int8 with a scale of each row: a quarter of the memory."""
        name, out, rows = node.input[0], node.output[0], node.input[1]
        table, scales = _per_column(self._matrix(name).T)
        self._add("Gather", [self._constant(f"{name}_int8", np.ascontiguousarray(table.T)), rows], f"{out}_int8")
        self._add("Gather", [self._constant(f"{name}_scales", scales[:, None]), rows], f"{out}_scale")
        self._add("Cast", [f"{out}_int8"], f"{out}_float", to=onnx.TensorProto.FLOAT)
        self._add("Mul", [f"{out}_float", f"{out}_scale"], out)

    def _matrix(self, name: str) -> Floats:
        return numpy_helper.to_array(self.weights[name])

    def _constant(self, name: str, value: npt.NDArray[np.generic] | np.generic) -> str:
        self._made.setdefault(name, numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))


def _per_column(matrix: Floats) -> tuple[Int8, Floats]:
    """[K, N] in int8, and [N] the scale of each column."""
    scales = np.maximum(np.abs(matrix).max(axis=0), 1e-12).astype(np.float32) / np.float32(127)
    return np.round(matrix / scales).astype(np.int8), scales

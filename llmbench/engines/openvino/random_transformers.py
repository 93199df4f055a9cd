"""Transformers in the shapes of GPT-SoVITS's sub-models with random weights: HuBERT, BERT, and the decoder of speech.

It stands apart from the convolutional networks because its layers have nothing in common with theirs. Weights are FP16,
as a converter writes them; their variance keeps activations near 1, so that nothing underflows.
"""

import math
from typing import Any

import numpy as np

from llmbench.engines.openvino.device import import_openvino

_SEED = 0


class _Transformer:
    """Layers of one width, whose weights are drawn in the order in which they are made."""

    def __init__(self, hidden: int, heads: int, feed_forward: int) -> None:
        from openvino import opset13

        self.ops = opset13
        self._hidden, self._heads, self._feed_forward = hidden, heads, feed_forward
        self._random = np.random.default_rng(_SEED)

    def weights(self, *shape: int) -> Any:
        """A constant of that shape, divided by the root of its last side."""
        values = self._random.integers(-127, 128, shape, dtype=np.int8).astype(np.float16)
        values *= np.float16(1 / (73 * math.sqrt(shape[-1])))
        return self.ops.convert(self.ops.constant(values), np.float32)

    def linear(self, node: Any, width: int) -> Any:
        """A product with [width, given]."""
        given = node.get_output_partial_shape(0)[-1].get_length()
        return self.ops.matmul(node, self.weights(width, given), transpose_a=False, transpose_b=True)

    def normalized(self, node: Any) -> Any:
        """The node with mean 0 and variance 1 along its last axis."""
        axes = self.ops.constant(np.array([-1], dtype=np.int64))
        return self.ops.mvn(node, axes, normalize_variance=True, eps=1e-5, eps_mode="inside_sqrt")

    def _heads_of(self, node: Any) -> Any:
        """[n, positions, hidden] as [n, heads, positions, width of a head]."""
        shape = np.array([0, 0, self._heads, self._hidden // self._heads], dtype=np.int64)
        split = self.ops.reshape(node, self.ops.constant(shape), special_zero=True)
        return self.ops.transpose(split, self.ops.constant(np.array([0, 2, 1, 3], dtype=np.int64)))

    def layer(self, node: Any, past: "_Past | None" = None) -> Any:
        """Self-attention and a feed-forward part, normalized first and added; *past* is what came before."""
        source = self.normalized(node)
        query, key, value = (self._heads_of(self.linear(source, self._hidden)) for _ in range(3))
        if past is not None:
            key, value = past.extended(key), past.extended(value)
        found = self.ops.scaled_dot_product_attention(query, key, value)
        merged = self.ops.transpose(found, self.ops.constant(np.array([0, 2, 1, 3], dtype=np.int64)))
        flat = self.ops.reshape(
            merged, self.ops.constant(np.array([0, 0, self._hidden], dtype=np.int64)), special_zero=True
        )
        node = self.ops.add(node, self.linear(flat, self._hidden))
        inner = self.ops.gelu(self.linear(self.normalized(node), self._feed_forward), "erf")
        return self.ops.add(node, self.linear(inner, self._hidden))


class _Past:
    """Keys and values of the positions so far, as the states of a network; one sequence."""

    def __init__(self, transformer: _Transformer, heads: int, width: int) -> None:
        self._ops = transformer.ops
        self._shape = (1, heads, 0, width)
        self.sinks: list[Any] = []

    def extended(self, node: Any) -> Any:
        """The state with *node* behind it, which becomes the state."""
        from openvino import PartialShape, Type, op

        heads, width = self._shape[1], self._shape[3]
        info = op.util.VariableInfo()
        info.data_shape = PartialShape([1, heads, -1, width])
        info.data_type = Type.f32
        info.variable_id = f"past.{len(self.sinks)}"
        variable = op.util.Variable(info)
        empty = self._ops.constant(np.zeros(self._shape, dtype=np.float32))
        before = self._ops.read_value(empty, variable)
        joined = self._ops.concat([before, node], 2)
        self.sinks.append(self._ops.assign(joined, variable))
        return joined


def hubert() -> Any:
    """HuBERT base (Hsu et al. 2021, arXiv 2106.07447): ``audio`` [1, samples] of 16 kHz to ``features`` [1, n, 768]."""
    openvino, made = import_openvino(), _Transformer(768, 12, 3072)
    ops = made.ops
    audio = _parameter(ops, "audio", [1, -1], np.float32)
    node: Any = ops.unsqueeze(audio, ops.constant(np.array([1], dtype=np.int64)))
    for given, kernel, stride in ((1, 10, 5), *[(512, 3, 2)] * 4, *[(512, 2, 2)] * 2):
        filters = made.weights(512, given, kernel)
        node = ops.gelu(ops.convolution(node, filters, [stride], [0], [0], [1]), "erf")
    node = ops.transpose(node, ops.constant(np.array([0, 2, 1], dtype=np.int64)))
    node = made.linear(made.normalized(node), 768)
    for _ in range(12):
        node = made.layer(node)
    return openvino.Model([_named(made.normalized(node), "features")], [audio], "hubert")


def bert() -> Any:
    """BERT large (Devlin et al. 2019, arXiv 1810.04805), no pooler: ``ids`` [1, n] to ``features`` [1, n, 1024]."""
    openvino, made = import_openvino(), _Transformer(1024, 16, 4096)
    ids = _parameter(made.ops, "ids", [1, -1], np.int64)
    node = made.ops.gather(made.weights(21_128, 1024), ids, made.ops.constant(np.int64(0)))
    for _ in range(24):
        node = made.layer(made.normalized(node))
    return openvino.Model([_named(made.normalized(node), "features")], [ids], "bert")


def speech_decoder() -> Any:
    """GPT-SoVITS's decoder from text to speech tokens: ``token`` [1, n] to the likeliest ``next`` [1, 1].

    24 layers of width 512 over a vocabulary of 1025. Keys and values of what went in before are states.
    """
    openvino, made = import_openvino(), _Transformer(512, 16, 2048)
    ops = made.ops
    token = _parameter(ops, "token", [1, -1], np.int64)
    node = ops.gather(made.weights(1025, 512), token, ops.constant(np.int64(0)))
    past = _Past(made, 16, 32)
    for _ in range(24):
        node = made.layer(node, past)
    last = ops.gather(
        made.normalized(node), ops.constant(np.array([-1], dtype=np.int64)), ops.constant(np.int64(1))
    )
    best = ops.topk(
        made.linear(last, 1025), ops.constant(np.int64(1)), -1, "max", "value", index_element_type="i64"
    )
    following = ops.reshape(
        best.output(1), ops.constant(np.array([1, 1], dtype=np.int64)), special_zero=False
    )
    return openvino.Model([_named(following, "next").output(0)], past.sinks, [token], "speech_decoder")


def _parameter(ops: Any, name: str, shape: list[int], dtype: Any) -> Any:
    made = ops.parameter(shape, dtype, name=name)
    made.output(0).get_tensor().set_names({name})
    return made


def _named(node: Any, name: str) -> Any:
    node.output(0).get_tensor().set_names({name})
    return node

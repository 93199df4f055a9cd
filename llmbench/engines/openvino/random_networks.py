"""Networks in the shapes of published ones with random weights, for models whose weights may not be passed on.

Random weights give the right operations, sizes and times of dense arithmetic, and nothing of the model's quality.
Batch normalization is folded into the convolutions, as a converter folds it. Weights of transformers are FP16, as a
converter writes them; their variance keeps activations near 1, so that nothing underflows. The seed is fixed.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from llmbench.engines.openvino.device import import_openvino
from llmbench.errors import InputError

_SEED = 0


class _Layers:
    """Convolutions with weights of He's variance, drawn in the order in which they are made."""

    def __init__(self) -> None:
        from openvino import opset13

        self.ops = opset13
        self._random = np.random.default_rng(_SEED)

    def _weights(self, *shape: int, fan_in: int) -> Any:
        values = self._random.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
        return self.ops.constant(values)

    def _biased(self, node: Any, channels: int) -> Any:
        values = self._random.standard_normal((1, channels, 1, 1), dtype=np.float32) * np.float32(0.01)
        return self.ops.add(node, self.ops.constant(values))

    def convolution(
        self,
        node: Any,
        channels: int,
        kernel: int,
        stride: int | tuple[int, int] = 1,
        *,
        pad: int,
        is_linear: bool = False,
    ) -> Any:
        """A convolution with bias, and ReLU unless it *is_linear*."""
        given = node.get_output_partial_shape(0)[1].get_length()
        filters = self._weights(channels, given, kernel, kernel, fan_in=given * kernel * kernel)
        strides = [stride, stride] if isinstance(stride, int) else list(stride)
        made = self._biased(
            self.ops.convolution(node, filters, strides, [pad, pad], [pad, pad], [1, 1]), channels
        )
        return made if is_linear else self.ops.relu(made)

    def residual(self, node: Any, count: int) -> Any:
        """This many blocks of a 3x3 convolution with a shortcut around it."""
        for _ in range(count):
            channels = node.get_output_partial_shape(0)[1].get_length()
            made = self.convolution(node, channels, 3, pad=1, is_linear=True)
            node = self.ops.relu(self.ops.add(made, node))
        return node

    def upsampling(self, node: Any, channels: int, stride: int, pad: int) -> Any:
        """A transposed 3x3 convolution with bias and ReLU; of stride 2 it doubles both sides."""
        given = node.get_output_partial_shape(0)[1].get_length()
        filters = self._weights(given, channels, 3, 3, fan_in=given * 9)
        made = self.ops.convolution_backprop_data(
            node,
            filters,
            [stride, stride],
            pads_begin=[pad, pad],
            pads_end=[pad, pad],
            output_padding=[stride - 1, stride - 1],
        )
        return self.ops.relu(self._biased(made, channels))


def _wav2lip() -> Any:
    """Lip-sync network of Prajwal et al. 2020: mel [n, 1, 80, 16] and faces [n, 6, 96, 96] to frames [n, 3, 96, 96].

    Layers as in arXiv 2008.10010, 36.3 million weights.
    """
    openvino, layers = import_openvino(), _Layers()
    ops = layers.ops
    mel = _parameter(ops, "mel", [-1, 1, 80, 16], np.float32)
    faces = _parameter(ops, "faces", [-1, 6, 96, 96], np.float32)
    sound: Any = mel
    for channels, stride, pad, blocks in (
        (32, (1, 1), 1, 2), (64, (3, 1), 1, 2), (128, (3, 3), 1, 2), (256, (3, 2), 1, 1), (512, (1, 1), 0, 0),
    ):  # fmt: skip
        sound = layers.residual(layers.convolution(sound, channels, 3, stride, pad=pad), blocks)
    sound = layers.convolution(sound, 512, 1, pad=0)
    skipped: list[Any] = [layers.convolution(faces, 16, 7, pad=3)]
    for channels, blocks in ((32, 2), (64, 3), (128, 2), (256, 2), (512, 1)):
        made = layers.convolution(skipped[-1], channels, 3, 2, pad=1)
        skipped.append(layers.residual(made, blocks))
    narrow = layers.convolution(skipped[-1], 512, 3, pad=0)
    skipped.append(layers.convolution(narrow, 512, 1, pad=0))
    picture = ops.concat([layers.convolution(sound, 512, 1, pad=0), skipped.pop()], 1)
    for channels, step, pad, blocks in (
        (512, 1, 0, 1), (512, 2, 1, 2), (384, 2, 1, 2), (256, 2, 1, 2), (128, 2, 1, 2), (64, 2, 1, 2),
    ):  # fmt: skip
        made = layers.residual(layers.upsampling(picture, channels, step, pad), blocks)
        picture = ops.concat([made, skipped.pop()], 1)
    last = layers.convolution(layers.convolution(picture, 32, 3, pad=1), 3, 1, pad=0, is_linear=True)
    return openvino.Model([_named(ops.sigmoid(last), "frames")], [mel, faces], "wav2lip")


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


def _hubert() -> Any:
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


def _bert() -> Any:
    """BERT large (Devlin et al. 2019, arXiv 1810.04805), no pooler: ``ids`` [1, n] to ``features`` [1, n, 1024]."""
    openvino, made = import_openvino(), _Transformer(1024, 16, 4096)
    ids = _parameter(made.ops, "ids", [1, -1], np.int64)
    node = made.ops.gather(made.weights(21_128, 1024), ids, made.ops.constant(np.int64(0)))
    for _ in range(24):
        node = made.layer(made.normalized(node))
    return openvino.Model([_named(made.normalized(node), "features")], [ids], "bert")


def _speech_decoder() -> Any:
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


_NETWORKS: dict[str, Callable[[], Any]] = {
    "wav2lip": _wav2lip,
    "hubert": _hubert,
    "bert": _bert,
    "speech_decoder": _speech_decoder,
}


def make_network(name: str) -> Any:
    """Return a network with random weights by its name; raise InputError where there is none."""
    if name not in _NETWORKS:
        raise InputError(
            f"there is no network {name!r} with random weights", hint=f"choose one of {', '.join(_NETWORKS)}"
        )
    return _NETWORKS[name]()

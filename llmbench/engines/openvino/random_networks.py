"""Networks in the shapes of published ones with random weights, for models whose weights may not be passed on.

Random weights give the right operations, sizes and times of dense arithmetic, and nothing of the model's quality.
Batch normalization is folded into the convolutions, as a converter folds it. The seed is fixed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from llmbench.engines.openvino import random_transformers
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
        """So many blocks of a 3x3 convolution with a shortcut around it."""
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
    mel = ops.parameter([-1, 1, 80, 16], np.float32, name="mel")
    faces = ops.parameter([-1, 6, 96, 96], np.float32, name="faces")
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
    result = ops.sigmoid(last)
    result.output(0).get_tensor().set_names({"frames"})
    for parameter in (mel, faces):
        parameter.output(0).get_tensor().set_names({parameter.get_friendly_name()})
    return openvino.Model([result], [mel, faces], "wav2lip")


_NETWORKS: dict[str, Callable[[], Any]] = {
    "wav2lip": _wav2lip,
    "hubert": random_transformers.hubert,
    "bert": random_transformers.bert,
    "speech_decoder": random_transformers.speech_decoder,
}


def make_network(name: str) -> Any:
    """Return a network with random weights by its name; raise InputError where there is none."""
    if name not in _NETWORKS:
        raise InputError(
            f"there is no network {name!r} with random weights", hint=f"choose one of {', '.join(_NETWORKS)}"
        )
    return _NETWORKS[name]()

"""IRs of a few kilobytes, built here: a decoder of one layer with a cache, whose attention is fused or is not."""

import shutil
from pathlib import Path
from typing import Any

VOCABULARY = 49152
"""That of the demo model, whose tokenizer such an IR is given."""

HIDDEN = 8


def build_unfused(folder: Path, tokenizer_of: Path) -> Path:
    """*folder*, holding an IR that GenAI runs with SDPA only: its attention is plain multiplications and a softmax."""
    folder.mkdir(parents=True)
    save_decoder(folder / "openvino_model.xml", is_fused=False)
    for part in ("tokenizer", "detokenizer"):
        for end in ("xml", "bin"):
            shutil.copy(tokenizer_of / f"openvino_{part}.{end}", folder)
    return folder


def save_decoder(xml: Path, *, is_fused: bool) -> Path:
    """*xml*, holding a decoder of one layer whose attention is one operation, or is not."""
    from llmbench.engines.openvino.device import import_openvino

    import_openvino().save_model(_decoder(is_fused=is_fused), xml)
    return xml


def save_positions(xml: Path) -> None:
    """Save a network whose logits are its cache_position."""
    import numpy as np
    from openvino import opset13 as op

    from llmbench.engines.openvino.device import import_openvino

    openvino = import_openvino()
    ids = op.parameter([-1, -1], np.int64, name="input_ids")
    positions = op.parameter([-1], np.int64, name="cache_position")
    for each in (ids, positions):
        each.output(0).set_names({each.get_friendly_name()})
    logits = op.unsqueeze(op.convert(positions, "f32"), 0)
    logits.output(0).set_names({"logits"})
    openvino.save_model(openvino.Model([logits], [ids, positions], "positions"), xml)


def unfuse(source: Path, folder: Path) -> int:
    """Copy the IR in *source* to *folder* with its attention as products and a softmax; return how many layers."""
    import numpy as np
    from openvino import opset13 as op

    from llmbench.engines.openvino.device import import_openvino

    names = ("openvino_model.*", "llmbench_manifest.json")
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*names))
    model = import_openvino().Core().read_model(source / "openvino_model.xml")
    fused = [node for node in model.get_ops() if node.get_type_name() == "ScaledDotProductAttention"]
    for node in fused:
        queries, keys, values, mask = (node.input_value(port) for port in range(4))
        scale = op.constant(np.float32(queries.get_partial_shape()[3].get_length() ** -0.5))
        scores = op.multiply(op.matmul(queries, keys, False, True), scale)
        plain = op.matmul(op.softmax(op.add(scores, mask), -1), values, False, False)
        node.output(0).replace(plain.output(0))
    import_openvino().save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return len(fused)


def _input(op: Any, name: str, shape: list[int], kind: type) -> Any:
    found = op.parameter(shape, kind, name=name)
    found.output(0).set_names({name})
    return found


def _decoder(*, is_fused: bool) -> Any:
    """A decoder that looks its tokens up, attends to the cache, and multiplies with the same table."""
    import numpy as np
    import openvino
    from openvino import opset13 as op
    from openvino.op.util import Variable, VariableInfo

    ids, mask, positions = (
        _input(op, name, [-1, -1], np.int64) for name in ("input_ids", "attention_mask", "position_ids")
    )
    beams = _input(op, "beam_idx", [-1], np.int32)
    first, zero, one = (op.constant(number) for number in (0, np.float32(0), 1))
    table = op.constant(np.random.default_rng(0).normal(size=(VOCABULARY, HIDDEN)).astype(np.float32))
    keys = op.unsqueeze(op.gather(table, ids, first), one)  # [batch, 1 head, tokens, hidden]
    batch, tokens = (op.gather(op.shape_of(ids), op.constant([axis]), first) for axis in (0, 1))
    shape = op.concat([batch, op.constant([1]), op.subtract(tokens, tokens), op.constant([HIDDEN])], 0)
    whole, assigned = [], []
    for part in ("key", "value"):
        info = VariableInfo()
        info.data_shape, info.data_type = openvino.PartialShape([-1, 1, -1, HIDDEN]), openvino.Type.f32
        info.variable_id = f"past_key_values.0.{part}present.0.{part}"
        cache = Variable(info)
        past = op.gather(op.read_value(op.broadcast(zero, shape), cache), beams, first)
        whole.append(op.concat([past, keys], 2))
        assigned.append(op.assign(whole[-1], cache))
    if is_fused:
        attended = op.scaled_dot_product_attention(keys, *whole)
    else:
        scores = op.softmax(op.matmul(keys, whole[0], False, True), -1)
        attended = op.matmul(scores, whole[1], False, False)
    hidden = op.squeeze(attended, one)
    for unused in (op.reduce_min(mask, one, True), positions):
        flat = op.convert(op.unsqueeze(unused, op.constant(2)), np.float32)
        hidden = op.add(hidden, op.multiply(flat, zero))
    logits = op.matmul(hidden, table, False, True)
    logits.output(0).set_names({"logits"})
    return openvino.Model([op.result(logits)], assigned, [ids, mask, positions, beams], "tiny")

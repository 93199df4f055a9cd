"""IRs of a few kilobytes, built here: a decoder of one layer with a cache, whose attention is fused or is not."""

import shutil
from pathlib import Path
from typing import Any

VOCABULARY = 49152
"""That of the demo model, whose tokenizer such an IR is given."""

HIDDEN = 8


def build_unfused(folder: Path, tokenizer_of: Path) -> Path:
    """*folder*, holding an IR that GenAI runs with SDPA only: its attention is plain multiplications and a softmax."""
    from llmbench.engines.openvino.device import import_openvino

    folder.mkdir(parents=True)
    import_openvino().save_model(_decoder(), folder / "openvino_model.xml")
    for part in ("tokenizer", "detokenizer"):
        for end in ("xml", "bin"):
            shutil.copy(tokenizer_of / f"openvino_{part}.{end}", folder)
    return folder


def _input(op: Any, name: str, shape: list[int], kind: type) -> Any:
    found = op.parameter(shape, kind, name=name)
    found.output(0).set_names({name})
    return found


def _decoder() -> Any:
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
    info = VariableInfo()
    info.data_shape, info.data_type = openvino.PartialShape([-1, 1, -1, HIDDEN]), openvino.Type.f32
    info.variable_id = "past_key_values.0.keypresent.0.key"
    cache = Variable(info)
    batch, tokens = (op.gather(op.shape_of(ids), op.constant([axis]), first) for axis in (0, 1))
    shape = op.concat([batch, op.constant([1]), op.subtract(tokens, tokens), op.constant([HIDDEN])], 0)
    past = op.gather(op.read_value(op.broadcast(zero, shape), cache), beams, first)
    whole = op.concat([past, keys], 2)
    scores = op.softmax(op.matmul(keys, whole, False, True), -1)
    hidden = op.squeeze(op.matmul(scores, whole, False, False), one)
    for unused in (op.reduce_min(mask, one, True), positions):
        flat = op.convert(op.unsqueeze(unused, op.constant(2)), np.float32)
        hidden = op.add(hidden, op.multiply(flat, zero))
    logits = op.matmul(hidden, table, False, True)
    logits.output(0).set_names({"logits"})
    return openvino.Model(
        [op.result(logits)], [op.assign(whole, cache)], [ids, mask, positions, beams], "tiny"
    )

from collections.abc import Iterable
from pathlib import Path

import pytest

from llmbench.models import ir_xml
from llmbench.models.ir_xml import Network

Layer = tuple[str, str, str, tuple[str, ...]]
"""Id, type, attributes of its data, and the ids its inputs come from."""


def ir(path: Path, layers: Iterable[Layer], more: str = "") -> Path:
    """An IR's text: each layer's inputs are its ports, counted from 0."""
    kept = list(layers)
    text = "".join(
        f'<layer id="{i}" name="n{i}" type="{kind}"><data {data}/></layer>' for i, kind, data, _ in kept
    )
    edges = "".join(
        f'<edge from-layer="{source}" from-port="9" to-layer="{i}" to-port="{port}"/>'
        for i, _, _, sources in kept
        for port, source in enumerate(sources)
    )
    file = path / "openvino_model.xml"
    file.write_text(f'<?xml version="1.0"?><net><layers>{text}{more}</layers><edges>{edges}</edges></net>')
    return file


def const(name: str, offset: int, size: int) -> Layer:
    """A constant of so many bytes."""
    return name, "Const", f'element_type="u8" offset="{offset}" size="{size}" shape="1"', ()


def state(name: str, shape: str) -> Layer:
    """A cache of keys or values."""
    return name, "ReadValue", f'variable_id="{name}" variable_shape="{shape}"', ()


def _sizes(path: Path) -> Network:
    """What a step reads, without the names of inputs and outputs."""
    found = ir_xml.read_ir_xml(path)
    return Network(weight_bytes=found.weight_bytes, kv_values=found.kv_values)


IDS: Layer = ("ids", "Parameter", 'shape="?,?"', ())
UNTIED: tuple[Layer, ...] = (
    IDS,
    const("table", 0, 1000),
    ("embedded", "Gather", "", ("table", "ids", "axis")),
    const("axis", 1000, 8),
    const("packed", 1008, 300),
    const("scales", 1308, 20),
    ("wide", "Convert", "", ("packed",)),
    ("weight", "Multiply", "", ("wide", "scales")),
    ("product", "MatMul", "", ("embedded", "weight")),
    const("head", 1328, 500),
    ("logits", "MatMul", "", ("product", "head")),
    state("key", "?,3,?,64"),
    state("value", "?,3,?,64"),
)


def test_a_table_that_is_looked_up_is_not_read_through(tmp_path: Path) -> None:
    """Of 1000 bytes of embeddings a step takes a row; the axis, weight and scales, and head make 8+300+20+500."""
    assert Network(weight_bytes=828, kv_values=384) == _sizes(ir(tmp_path, UNTIED))


def test_embeddings_that_are_the_output_matrix_too_are_read_once(tmp_path: Path) -> None:
    """Tied: the table of 1000 feeds the last MatMul instead of a head of 500, so 8+300+20+1000."""
    tied = [layer for layer in UNTIED if layer[0] not in {"head", "logits"}]
    tied.append(("logits", "MatMul", "", ("product", "table")))

    assert _sizes(ir(tmp_path, tied)).weight_bytes == 1328


def test_a_compressed_table_that_is_looked_up_is_not_read_through(tmp_path: Path) -> None:
    """A table and its scales meet in constant operations before the look-up: neither is counted."""
    layers = [
        IDS,
        const("table", 0, 1000),
        const("scales", 1000, 50),
        ("wide", "Convert", "", ("table",)),
        ("embeddings", "Multiply", "", ("wide", "scales")),
        const("axis", 1050, 8),
        ("embedded", "Gather", "", ("embeddings", "ids", "axis")),
        const("norm", 1058, 30),
        ("normed", "Multiply", "", ("embedded", "norm")),
    ]

    assert _sizes(ir(tmp_path, layers)).weight_bytes == 38


def test_bytes_that_two_constants_share_are_read_once(tmp_path: Path) -> None:
    """The same place of the weights file under two names is one weight."""
    layers = [IDS, const("a", 0, 100), const("b", 0, 100)]
    layers += [("x", "MatMul", "", ("ids", "a")), ("y", "MatMul", "", ("x", "b"))]

    assert _sizes(ir(tmp_path, layers)).weight_bytes == 100


def test_the_order_of_the_text_does_not_matter(tmp_path: Path) -> None:
    """A layer may stand before those that feed it."""
    assert _sizes(ir(tmp_path, reversed(UNTIED))).weight_bytes == 828


def test_experts_are_not_counted(tmp_path: Path) -> None:
    """Which experts a token takes is not known before, so no number of bytes is right for every step."""
    choice: Layer = ("choice", "TopK", 'axis="-1"', ("product", "axis"))

    assert _sizes(ir(tmp_path, (*UNTIED, choice))).weight_bytes is None


@pytest.mark.parametrize(
    ("shapes", "values"),
    [
        (("?,?,8,128", "?,?,8,128"), 2048),
        (("?,3,?,64", "?,1536,4"), None),
        ((), None),
    ],
)
def test_what_a_token_adds_to_the_cache(tmp_path: Path, shapes: tuple[str, ...], values: int | None) -> None:
    """8 heads of 128 for keys and as much for values, wherever the length stands; a recurrent state is no cache."""
    layers = [IDS, *(state(f"s{n}", shape) for n, shape in enumerate(shapes))]

    assert values == _sizes(ir(tmp_path, layers)).kv_values


@pytest.mark.parametrize(
    "text", ["", "<net><layers>", '<net><layers><layer id="1" type="Const"/></layers></net>x']
)
def test_what_is_no_network_tells_nothing(tmp_path: Path, text: str) -> None:
    """Nothing is raised: whether the files are whole is for others to say."""
    (tmp_path / "x.xml").write_text(text)

    assert Network(weight_bytes=None, kv_values=None) == _sizes(tmp_path / "x.xml")
    assert Network(weight_bytes=None, kv_values=None) == _sizes(tmp_path / "missing.xml")


@pytest.mark.parametrize("size", ["-5", "0", "1" + "0" * 30])
def test_a_size_that_nothing_can_have_is_not_told(tmp_path: Path, size: str) -> None:
    """A file that is wrong must not make a run file that cannot be read."""
    layers = [IDS, ("w", "Const", f'offset="0" size="{size}"', ()), ("x", "MatMul", "", ("ids", "w"))]
    found = _sizes(ir(tmp_path, [*layers, state("s", f"?,{size},?,64")]))

    assert Network(weight_bytes=None, kv_values=None) == found


def test_a_network_within_a_network_is_not_counted(tmp_path: Path) -> None:
    """How often a loop goes round, and which branch is taken, is not in the text."""
    loop = '<layer id="l" type="Loop"><body><layers><layer id="0" type="Parameter"/></layers></body></layer>'

    assert Network(weight_bytes=None, kv_values=None) == _sizes(ir(tmp_path, UNTIED, loop))

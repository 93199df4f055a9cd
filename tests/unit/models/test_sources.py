"""What --model-id names, judged before anything is loaded; hubs are in test_hub.py."""

import json
import struct
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.models import sources
from llmbench.models.sources import LocalSource

CONFIG = {"model_type": "llama", "max_position_embeddings": 512}


def write_safetensors(path: Path, shapes: dict[str, list[int]]) -> None:
    """A safetensors file of float32 zeros."""
    head: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(encoded)) + encoded + bytes(end))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Hugging Face folder of 10 weights."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    location = tmp_path / "tiny"
    location.mkdir()
    (location / "config.json").write_text(json.dumps(CONFIG))
    (location / "tokenizer.json").write_text("{}")
    write_safetensors(location / "model.safetensors", {"a": [2, 3], "b": [4]})
    return location


def _find(model_id: Path | str, **changes: object) -> LocalSource:
    """The source that a person would mean."""
    options = {"revision": None, "trusts_remote_code": False} | changes
    found = sources.find_source(str(model_id), **options)  # type: ignore[arg-type]
    assert isinstance(found, LocalSource)
    return found


def test_a_folder_is_known_by_its_content(folder: Path) -> None:
    """Kind, path, architecture, weights counted from the file's head: 2·3 + 4."""
    found = _find(folder)

    assert ("folder", str(folder), "llama", 10) == (
        found.kind,
        found.id,
        found.model_type,
        found.parameters,
    )
    assert 64 == len(found.revision)


def test_the_revision_follows_the_weights_but_not_the_notes(folder: Path) -> None:
    """Another weight is another source; a README is not."""
    before = _find(folder).revision
    (folder / "README.md").write_text("about")
    assert before == _find(folder).revision

    write_safetensors(folder / "model.safetensors", {"a": [2, 3], "c": [4]})
    assert before != _find(folder).revision


def test_code_of_the_model_is_refused_unless_trusted(folder: Path) -> None:
    """auto_map means that loading the model runs its Python."""
    (folder / "config.json").write_text(json.dumps({**CONFIG, "auto_map": {"AutoModel": "m.M"}}))

    with pytest.raises(InputError, match="auto_map") as caught:
        _find(folder)

    assert "--trust-remote-code" in str(caught.value.hint)
    assert "folder" == _find(folder, trusts_remote_code=True).kind


@pytest.mark.parametrize(
    ("changes", "is_vision"),
    [
        ({}, False),
        ({"vision_config": {}, "architectures": ["LlavaForConditionalGeneration"]}, True),
        ({"vision_config": {}, "architectures": ["Phi3VForCausalLM"]}, True),
        ({"vision_config": {}, "architectures": ["CLIPModel"]}, False),
        ({"vision_config": {}, "architectures": "?"}, False),
        ({"model_type": "minicpmv"}, True),
    ],
)
def test_a_vision_language_model_is_recognized(
    folder: Path, changes: dict[str, object], *, is_vision: bool
) -> None:
    """By its vision part and what it generates, or by its family."""
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))

    assert is_vision == _find(folder).takes_images


def test_minicpm_v_is_named_with_what_it_needs(folder: Path) -> None:
    """Code of its own, an older transformers, and another package: all at once."""
    (folder / "config.json").write_text(
        json.dumps({**CONFIG, "model_type": "minicpmv", "auto_map": {"AutoModel": "m.M"}})
    )

    with pytest.raises(InputError, match="auto_map") as caught:
        _find(folder)

    hint = str(caught.value.hint)
    assert "--trust-remote-code" in hint
    assert (
        "MiniCPM-V is converted in an environment with 'transformers>=4.57,<=4.57.6' and torchvision" in hint
    )


def test_pickled_weights_are_refused(folder: Path) -> None:
    """A pytorch_model.bin alone is never read: reading it can run code."""
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(InputError, match=r"only pytorch_model\.bin, .*; safetensors are needed"):
        _find(folder)


def test_a_folder_without_weights_says_so(folder: Path) -> None:
    """Nothing to convert is not a crash later."""
    (folder / "model.safetensors").unlink()

    with pytest.raises(InputError, match="contains no weights"):
        _find(folder)


def test_shards_that_are_missing_are_listed(folder: Path) -> None:
    """The index names what must be there."""
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))

    with pytest.raises(InputError, match=r"missing: model-2\.safetensors$"):
        _find(folder)

    write_safetensors(folder / "model-2.safetensors", {"b": [5]})
    assert 15 == _find(folder).parameters


@pytest.mark.parametrize("size", [0, 5, 60])
def test_a_cut_head_of_the_weights_is_named(size: int, folder: Path) -> None:
    """The file, not a traceback of the library."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(InputError, match=r"model\.safetensors is not a whole safetensors file"):
        _find(folder)


def test_truncated_weights_are_named_with_both_sizes(folder: Path) -> None:
    """A download that stopped is found before a minute of loading."""
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])

    with pytest.raises(InputError, match=f"truncated at {len(whole) - 1} bytes; {len(whole)} are needed"):
        _find(folder)


def test_a_folder_without_a_tokenizer_says_so(folder: Path) -> None:
    """Transformers would make up an empty one without a word."""
    (folder / "tokenizer.json").unlink()

    with pytest.raises(InputError, match="contains no tokenizer"):
        _find(folder)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_configuration_is_named(content: str, folder: Path) -> None:
    """config.json decides everything else."""
    (folder / "config.json").write_text(content)

    with pytest.raises(InputError, match=r"config\.json"):
        _find(folder)


def test_any_other_folder_is_no_model(tmp_path: Path) -> None:
    """What is missing is told."""
    with pytest.raises(InputError, match=r"it has no config\.json"):
        _find(tmp_path)


def test_an_ir_needs_no_conversion(folder: Path) -> None:
    """It can be run as it is."""
    (folder / "openvino_model.xml").write_text("<net></net>")

    with pytest.raises(InputError, match="is an IR already"):
        _find(folder)


@pytest.mark.parametrize("name", ["./missing", "/missing", "missing.gguf", "a/b/c", "a b", ""])
def test_what_is_neither_a_path_nor_a_name_is_refused_offline(name: str) -> None:
    """No hub is asked for something that cannot be one of its names."""
    with pytest.raises(InputError, match="there is no file or folder"):
        _find(name)


@pytest.mark.parametrize("revision", [None, "main", "0" * 39, "g" * 40])
def test_trusted_code_must_be_pinned(revision: str | None) -> None:
    """A name and a branch may hold other code tomorrow; 40 hexadecimal digits cannot."""
    with pytest.raises(InputError, match="--trust-remote-code runs code") as caught:
        _find("example/tiny", revision=revision, trusts_remote_code=True)

    assert "--revision" in str(caught.value.hint)


def test_a_revision_of_a_folder_is_a_mistake(folder: Path) -> None:
    """Only a hub's model has revisions."""
    with pytest.raises(InputError, match="--revision is for models of a hub"):
        _find(folder, revision="main")


def test_a_file_must_be_a_gguf(tmp_path: Path) -> None:
    """Its magic decides."""
    (tmp_path / "model.gguf").write_bytes(b"GGUF and more")
    (tmp_path / "notes.txt").write_text("hello")

    found = _find(tmp_path / "model.gguf")
    assert ("gguf", "model.gguf", 64) == (found.kind, found.id, len(found.revision))
    with pytest.raises(InputError, match=r"notes\.txt is not a GGUF file"):
        _find(tmp_path / "notes.txt")


@pytest.mark.parametrize(
    ("weight_format", "precision"),
    [
        ("F32", "fp32"),
        ("F16", "fp16"),
        ("BF16", "fp16"),
        ("Q8_0", "int8"),
        ("Q6_K", "int8"),
        ("Q4_0", "int4"),
        ("Q4_1", "int4"),
        ("Q4_K", "int4"),
        ("IQ4_NL", "int4"),
        ("Q2_K", "int4"),
    ],
)
def test_each_gguf_type_has_its_folder(weight_format: str, precision: str) -> None:
    """By the bits of a weight; more than four do not fit INT4."""
    assert precision == sources.precision_of_gguf(weight_format)


def test_the_precision_of_an_ir_is_that_of_most_weights(tmp_path: Path) -> None:
    """1,000 in u4 outweigh 500 in f16 and a scalar; integers of shapes do not count."""
    xml = tmp_path / "openvino_model.xml"
    constants = (("u4", "10, 100", 500), ("f16", "500", 1000), ("f32", "", 4), ("i64", "5000", 40000))
    lines = [
        f'<layer id="{i}" type="Const"><data element_type="{t}" shape="{s}" offset="0" size="{b}" /></layer>'
        for i, (t, s, b) in enumerate(constants)
    ]
    xml.write_text("<net>" + "".join(lines) + "</net>")

    assert "int4" == sources.precision_of_ir(xml)


def test_an_ir_without_weights_has_no_precision(tmp_path: Path) -> None:
    """An empty network is told, not filed away."""
    (tmp_path / "openvino_model.xml").write_text("<net></net>")

    with pytest.raises(InputError, match="contains no weights"):
        sources.precision_of_ir(tmp_path / "openvino_model.xml")


@pytest.mark.parametrize(("kind", "task"), [("whisper", "speech_to_text"), ("speecht5", "text_to_speech")])
def test_a_model_of_speech_is_named_with_the_commands_that_measure_it(
    kind: str, task: str, tmp_path: Path
) -> None:
    """From its description alone, before weights are fetched, and from its folder."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(InputError, match="is a model of speech") as caught:
        sources.check_description(tmp_path, name="openai/w", trusts_remote_code=False)
    assert "optimum-cli export openvino --model openai/w OUT" in str(caught.value.hint)
    assert f"llmbench run -t {task} -m OUT" in str(caught.value.hint)

    with pytest.raises(InputError, match="is a model of speech"):
        sources.inspect_folder(tmp_path, trusts_remote_code=False)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n"
INDEX = "model.safetensors.index.json"
FAULTS: list[tuple[str, dict[str, bytes | None], str]] = [
    *(
        (f"model_type_{number}", {"config.json": text}, r"names no architecture \(model_type\)")
        for number, text in enumerate(
            (b"{}", b'{"model_type": null}', b'{"model_type": ["llama"]}', b'{"model_type": ""}')
        )
    ),
    *(
        (f"quantization_{number}", {"config.json": text}, "names? a quant_method")
        for number, text in enumerate(
            b'{"model_type": "llama", "quantization_config": ' + value + b"}"
            for value in (b'["awq"]', b"4", b"true", b'{"quant_method": 4}')
        )
    ),
    *(
        (f"index_{number}", {INDEX: b'{"weight_map": ' + value + b"}"}, "does not map tensors to safetensors")
        for number, value in enumerate(
            (b"null", b"[]", b"{}", b'{"a": null}', b'{"a": 3, "b": "c"}', b'{"a": {}}', b'{"a": "a.bin"}')
        )
    ),
    (
        "no_index",
        {"model.safetensors": None, "model-00001-of-00002.safetensors": b""},
        "contains shards, such as model-00001-of-00002.safetensors, but no model.safetensors.index.json",
    ),
    ("pointer", {"model.safetensors": POINTER}, "model.safetensors is a pointer of Git LFS"),
    ("vocabulary_pointer", {"tokenizer.json": POINTER}, "tokenizer.json is a pointer of Git LFS"),
    ("empty_weights", {"model.safetensors": struct.pack("<Q", 2) + b"{}"}, "contain no weights"),
    *(
        (f"head_{number}", {"model.safetensors": struct.pack("<Q", len(head)) + head}, "not a whole")
        for number, head in enumerate(
            (b"[]", b'{"a": 1}', b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}')
        )
    ),
    ("keras", {"model.safetensors": None, "tf_model.h5": b"x"}, "contains only tf_model.h5; safetensors"),
    ("gguf", {"model.safetensors": None, "m.gguf": b"GGUF"}, "contains only m.gguf; safetensors"),
    (
        "adapter",
        {
            "model.safetensors": None,
            "adapter_model.safetensors": b"x",
            "adapter_config.json": b'{"base_model_name_or_path": "org/base"}',
        },
        "is an adapter of org/base, not a model",
    ),
]


@pytest.mark.fault(47, "a checkpoint that is not whole, or whose files are something else")
@pytest.mark.parametrize(("files", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_each_damage_of_a_checkpoint_is_one_error_with_a_remedy(
    files: dict[str, bytes | None], message: str, folder: Path
) -> None:
    """Exit 2 before anything is loaded, and never a traceback."""
    for name, content in files.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)

    with pytest.raises(InputError, match=message) as caught:
        _find(folder)

    assert caught.value.hint


def test_weights_beside_those_of_the_model_are_not_counted(folder: Path) -> None:
    """Mistral publishes its weights a second time in its own layout; a folder may hold an adapter too."""
    write_safetensors(folder / "consolidated.safetensors", {"a": [99]})
    write_safetensors(folder / "adapter_model.safetensors", {"a": [99]})

    assert 10 == _find(folder).parameters


def test_a_device_is_no_model() -> None:
    """Neither a file nor a folder."""
    with pytest.raises(InputError, match="/dev/null is not a GGUF file"):
        _find("/dev/null")

"""A pipeline that runs in milliseconds: a text's length becomes a row, a network doubles it, and noise is its audio."""

from pathlib import Path

from llmbench.engines.openvino.device import import_openvino

RECIPE = """
prompt = ["Hello", "Hello you"]
num-iters = 2

[pipeline]
name = "toy"
product = {{ value = "audio", kind = "audio", sample_rate = 100 }}

[constants]
factor = [[2.0]]

[[stages]]
name = "letters"
code = "steps:letters"
inputs = {{ text = "text" }}
outputs = {{ row = "row" }}

[[stages]]
name = "double"
model = "double.xml"
inputs = {{ x = "row", factor = "factor" }}
outputs = {{ doubled = "y" }}
{more}
[[stages]]
name = "voice"
code = "steps:voice"
inputs = {{ row = "doubled" }}
outputs = {{ audio = "audio" }}
"""

STEPS = """
import time
import numpy as np

def letters(values):
    return {{"row": np.array([[float(ord(letter)) for letter in values["text"]]], dtype=np.float32)}}

def voice(values):
    time.sleep({pause})
    return {{"audio": np.full(50, {level}, dtype=np.float32) * values["row"].mean()}}
"""


def write(
    folder: Path, *, more: str = "", pause: float = 0.0, level: str = "0.01", name: str = "toy"
) -> Path:
    """Write the recipe, its code and its network into *folder*; return the recipe."""
    openvino = import_openvino()
    from openvino import opset13

    folder.mkdir(parents=True, exist_ok=True)
    x, factor = (opset13.parameter([1, -1], openvino.Type.f32, name=each) for each in ("x", "factor"))
    half = opset13.multiply(x, factor)
    half.output(0).get_tensor().set_names({"half"})
    y = opset13.relu(half)
    for node, own in ((x, "x"), (factor, "factor"), (y, "y")):
        node.output(0).get_tensor().set_names({own})
    openvino.save_model(openvino.Model([y], [x, factor]), folder / "double.xml", compress_to_fp16=False)
    (folder / "steps.py").write_text(STEPS.format(pause=pause, level=level))
    recipe = folder / f"{name}.toml"
    recipe.write_text(RECIPE.format(more=more))
    return recipe

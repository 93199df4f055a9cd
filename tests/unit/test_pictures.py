"""The picture of speed-ups: what is drawn of a run is whole, and needs nothing from a network."""

import xml.etree.ElementTree as ET

from llmbench.analysis.report import summarize_run
from tests import benchmark, builders

pictures = benchmark.load("speedup_picture", folder="docs")


def test_the_picture_of_two_sockets_is_whole() -> None:
    """Well-formed, with the answer, both setups, the note, and no address but that of its own format."""
    text = pictures.sockets_picture(summarize_run(builders.sockets_run(wobble=0.01)), "a & b")

    words = "\n".join(ET.fromstring(text).itertext())  # noqa: S314  made here
    assert "Tensor parallelism over 2 sockets" in words
    assert "both sockets, tensor parallel" in words
    assert "a & b" in words
    assert 1 == text.count("http")

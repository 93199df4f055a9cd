"""Image files, made here: nothing is fetched, and each is the same in every session."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(path: Path, width: int = 64, height: int = 48) -> Path:
    """*path*, holding a coloured gradient in the format of its suffix."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([columns * 255 // width, rows * 255 // height, (rows + columns) % 256], axis=-1)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def animation(path: Path) -> Path:
    """*path*, holding a GIF of three frames."""
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    return path


def truncated(path: Path) -> Path:
    """*path*, holding the first half of an image file."""
    content = picture(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def bomb(path: Path) -> Path:
    """*path*, holding a PNG of a few hundred bytes that claims to have 400 million pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))
    path.write_bytes(content + chunk(b"IEND", b""))
    return path

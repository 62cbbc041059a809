"""Image files that several tests need."""

import io
import zlib

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def enormous_png() -> bytes:
    """A small file that claims to have 30,000 by 30,000 pixels."""
    stream = io.BytesIO()
    Image.new("L", (8, 8)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = (30_000).to_bytes(4) * 2
    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4)
    return bytes(data)

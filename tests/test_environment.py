"""Versions, processor, memory."""

import subprocess
import sys

import pytest

from reslab.environment import parse_size, resident_bytes
from reslab.errors import ReslabError


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [
        ("8GiB", 8 * 1024**3),
        ("800MB", 800_000_000),
        ("2G", 2 * 1024**3),
        ("1.5 gb", 1_500_000_000),
        (" 512m ", 512 * 1024**2),
        ("1TiB", 1024**4),
        ("64KiB", 65536),
    ],
)
def test_sizes_are_read(text, num_bytes):
    assert parse_size(text) == num_bytes


@pytest.mark.parametrize("text", ["", "8", "GiB", "8 apples", "-8GiB", "0GB", "8GiBs", "1e9B", "8B", "nan GB"])
def test_what_is_no_size_gets_a_sentence(text):
    with pytest.raises(ReslabError, match="write it with its unit, as in 8GiB"):
        parse_size(text)


RESIDENT = """
from reslab.environment import resident_bytes
before = resident_bytes()
block = bytearray(b"x" * 200_000_000)
now = resident_bytes()
del block
print(before, now, resident_bytes(peak=True))
"""


def test_resident_memory_is_that_of_this_process():
    """In a process of its own: in a large one the system may take other pages back meanwhile."""
    if not resident_bytes():
        pytest.skip("there is no /proc here")
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True, timeout=100)
    before, now, peak = map(int, done.stdout.split())
    assert 190_000_000 < now - before < 250_000_000
    assert before + 190_000_000 < peak < before + 500_000_000

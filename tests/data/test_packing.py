"""Packing beside others: two at once, one that was killed, one that is asked to end."""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reslab.data import PhotoData, load_data
from reslab.data.packing import pack_shards
from reslab.data.preprocessing import Preprocessing
from reslab.data.shards import INDEX_NAME, check_shards
from reslab.errors import DataError

VIEW = Preprocessing(height=8, width=8, channels=3, resize=8)


@pytest.fixture
def pets(tmp_path: Path, rng: np.random.Generator) -> PhotoData:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(25):
            pixels = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    return load_data(tmp_path / "pets", kind="photos", view=VIEW)


def assert_packed(out: Path, data: PhotoData) -> None:
    assert check_shards(out) == {"train": 50}
    found, expected = load_data(out, view=VIEW).split("train"), data.split("train")
    assert all(found.file(index) == expected.file(index) for index in range(50))
    assert all(path.suffix == ".tar" or path.name == INDEX_NAME for path in out.iterdir())


def test_two_at_once_are_one(pets: PhotoData, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    seen: list[str] = []

    def second(_: int) -> None:
        if not seen:
            with pytest.raises(DataError, match="another process is packing into") as caught:
                pack_shards(pets, out, shard_bytes=4000)
            seen.append(str(caught.value))

    pack_shards(pets, out, shard_bytes=4000, advance=second)
    assert seen
    assert_packed(out, pets)
    with pytest.raises(DataError, match="has a packed data set already"):
        pack_shards(pets, out, shard_bytes=4000)


def test_many_at_once_leave_one_whole_set(pets: PhotoData, tmp_path: Path) -> None:
    def attempt(size: int) -> str:
        with contextlib.suppress(DataError):
            pack_shards(pets, tmp_path / "shards", shard_bytes=size)
            return "packed"
        return "refused"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(attempt, (3000, 5000, 7000, 9000)))
    assert outcomes.count("packed") == 1
    assert_packed(tmp_path / "shards", pets)


def test_digests_are_those_of_the_files(pets: PhotoData, tmp_path: Path) -> None:
    report = pack_shards(pets, tmp_path / "shards", shard_bytes=4000)
    content = (tmp_path / "shards" / INDEX_NAME).read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    stated = json.loads(header["__metadata__"]["reslab"])["shards"]
    contents = {name: (tmp_path / "shards" / name).read_bytes() for name in report.shards}
    assert stated == {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert report.num_bytes == sum(map(len, contents.values()))


PROGRAM = """
import sys, time
from pathlib import Path
import reslab.data.packing as packing
added = packing._add
def slowly(*arguments):
    Path(sys.argv[3]).touch()
    time.sleep(0.05)
    return added(*arguments)
packing._add = slowly
from reslab.cli.main import main
sys.exit(main(["data", "pack", sys.argv[1], "--out", sys.argv[2], "--shard-size", "9kB"]))
"""


def end_while_packing(folder: Path, out: Path, number: signal.Signals) -> int:
    started = out.parent / "started"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(out), str(started)])
    while not (started.exists() and list(out.glob("*.tar"))):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait(60)


@pytest.mark.parametrize(("number", "code", "partial"), [(signal.SIGTERM, 143, 0), (signal.SIGKILL, -9, 1)])
def test_one_that_was_ended_is_cleaned_up(
    pets: PhotoData, tmp_path: Path, number: signal.Signals, code: int, partial: int
) -> None:
    out = tmp_path / "shards"
    assert end_while_packing(tmp_path / "pets", out, number) == code
    assert len(list(out.glob(".*.partial"))) <= partial
    (out / ".train-000009.tar.x1.partial").write_bytes(b"half a shard")
    assert not (out / INDEX_NAME).exists()
    pack_shards(pets, out, shard_bytes=12_000)
    assert_packed(out, pets)


def test_a_file_that_is_somebodys_is_left(pets: PhotoData, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        pack_shards(pets, tmp_path / "shards")
    assert os.listdir(tmp_path / "shards") == ["notes.txt"]


@pytest.mark.parametrize("whole", [True, False])
def test_an_index_that_a_server_compresses_or_that_is_too_long_is_refused_unread(
    server: Any, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    sent = 0

    def respond(handler: Any, _: int) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Length", str(3 << 30))
        if whole:
            handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        for _ in range(1000):
            sent += handler.wfile.write(bytes(1 << 16))

    server.respond = respond
    message = "the server sends it compressed" if whole else "has 3,221,225,472 bytes, and 2,147,483,648 are the most"
    with pytest.raises(DataError, match=message):
        load_data(server.url, kind="photos")
    assert sent < 1 << 25

"""A crash leaves the old file or the new one."""

import errno
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reslab.errors import ReslabError, WriteError
from reslab.files.atomic import atomic_path, write_bytes, write_json, write_text

WRITER = """
import sys
from pathlib import Path
from reslab.files.atomic import write_bytes

path, size = Path(sys.argv[1]), int(sys.argv[2])
while True:
    for byte in b"ab":
        write_bytes(path, bytes([byte]) * size)
"""


def test_a_new_file_appears_with_its_missing_folders(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.bin"
    write_bytes(path, b"\x00new\xff")
    assert path.read_bytes() == b"\x00new\xff"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("a longer old content")
    write_text(path, "ééneu")
    assert path.read_bytes() == "ééneu".encode()


def test_a_reader_with_the_old_file_open_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with path.open() as stream:
        write_text(path, "new")
        assert stream.read() == "old"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_exception_leaves_the_old_file_and_no_other(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    path = tmp_path / "file.bin"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), atomic_path(path) as temporary:  # noqa: PT012
        temporary.write_bytes(b"half")
        raise error
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == ({"file.bin": old} if old else {})


def test_a_folder_in_the_way_is_an_error_that_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.mkdir()
    with pytest.raises(WriteError, match=re.escape(f"cannot write {path}: Is a directory.")) as caught:
        write_bytes(path, b"content")
    assert isinstance(caught.value, ReslabError)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.EISDIR
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path, rng: np.random.Generator) -> None:
    size = 1 << 20
    path = tmp_path / "file.bin"
    whole = {b"a" * size, b"b" * size}
    for _ in range(5):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(size)]) as process:
            while not path.exists():
                assert process.poll() is None
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.03))
            process.kill()
        assert process.returncode == -signal.SIGKILL
        assert path.read_bytes() in whole
    write_bytes(path, b"later")
    assert path.read_bytes() == b"later"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600), (0o000, 0o666)])
def test_permissions_follow_the_umask(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "file.txt", "content")
        (tmp_path / "plain.txt").write_text("content")
    finally:
        after = os.umask(before)
    assert after == mask
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == mode
    assert (tmp_path / "plain.txt").stat().st_mode & 0o777 == mode


def test_json_comes_back_equal_and_is_readable(tmp_path: Path) -> None:
    value = {"name": "résumé", "rates": [0.1, 1e-4], "none": None, "nested": {"yes": True, "count": 3}}
    write_json(tmp_path / "file.json", value)
    text = (tmp_path / "file.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert "résumé" in text
    assert text.endswith("}\n")


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_refuses_numbers_that_it_cannot_hold(tmp_path: Path, number: float) -> None:
    path = tmp_path / "file.json"
    write_json(path, {"loss": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": number})
    assert json.loads(path.read_text()) == {"loss": 1.5}
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file.txt").write_text("old")
    (tmp_path / "link").symlink_to("far/file.txt")
    (tmp_path / "dangling").symlink_to("far/new.txt")
    write_text(tmp_path / "link", "one")
    write_text(tmp_path / "dangling", "two")
    assert (tmp_path / "link").is_symlink()
    assert {path.name: path.read_text() for path in (tmp_path / "far").iterdir()} == {
        "file.txt": "one",
        "new.txt": "two",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "far", "link"]


def test_what_is_no_regular_file_is_written_to_and_stays(tmp_path: Path) -> None:
    write_text(Path(os.devnull), "nothing")
    assert Path(os.devnull).is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        write_text(pipe, "through it")
        output, _ = reader.communicate(timeout=20)
    assert output == b"through it"
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_named_with_the_file() -> None:
    with pytest.raises(WriteError, match="cannot write /dev/full: No space left on device; make room, and run the"):
        write_text(Path("/dev/full"), "x")


def test_a_file_that_grows_too_large_is_named_and_leaves_the_old_one(tmp_path: Path, largest_file) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")
    with largest_file(1000), pytest.raises(WriteError, match=re.escape(f"cannot write {path}: File too large.")):
        write_bytes(path, bytes(5000))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, atomic_path(tmp_path / "out" / "file.bin") as temporary:
        shutil.copyfile(tmp_path / "elsewhere" / "missing", temporary)
    assert caught.value.filename == str(tmp_path / "elsewhere" / "missing")

"""Downloads over real HTTP, from servers that behave and servers that do not."""

import contextlib
import hashlib
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reslab.errors import DataError
from reslab.files import download
from reslab.files.download import Resource, fetch

CONTENT = np.random.default_rng(0).bytes(1_000_000)
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def content(server: Any) -> None:
    server.respond = lambda handler, _: handler.answer_range(CONTENT)


@pytest.fixture
def resource(server: Any) -> Resource:
    return Resource(f"{server.url}/pub/data.bin", f"md5:{hashlib.md5(CONTENT).hexdigest()}", len(CONTENT))


def fetch_quickly(resource: Resource, folder: Path) -> Path:
    return fetch(resource, folder, progress=False, retry_seconds=0.01)


def content_files(folder: Path) -> dict[str, bytes]:
    """All files but locks."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def test_a_file_arrives_whole_in_a_new_folder(server: Any, resource: Resource, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    path = fetch_quickly(resource, folder)
    assert path == folder / "data.bin"
    assert content_files(folder) == {"data.bin": CONTENT}
    assert server.paths == ["/pub/data.bin"]
    assert server.ranges == [None]


def test_a_whole_file_is_not_fetched_again(server: Any, resource: Resource, tmp_path: Path) -> None:
    (tmp_path / "data.bin").write_bytes(CONTENT)
    assert fetch_quickly(resource, tmp_path).read_bytes() == CONTENT
    assert server.ranges == []


@pytest.mark.parametrize("old", [b"", CONTENT[:HALF], CONTENT + b"x", bytes(len(CONTENT))])
def test_a_damaged_file_is_replaced(server: Any, resource: Resource, tmp_path: Path, old: bytes) -> None:
    (tmp_path / "data.bin").write_bytes(old)
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}


def test_a_mirror_takes_the_place_of_the_url(
    server: Any, resource: Resource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESLAB_MIRROR", f"{server.url}/mirror/")
    elsewhere = Resource("http://reslab.invalid/far/data.bin?key=1", resource.digest, resource.size)
    assert fetch_quickly(elsewhere, tmp_path).read_bytes() == CONTENT
    assert server.paths == ["/mirror/data.bin"]


def test_a_broken_connection_is_resumed_where_it_broke(server: Any, resource: Resource, tmp_path: Path) -> None:
    def respond(handler: Any, number: int) -> None:
        rest = CONTENT[handler.start :]
        handler.answer(rest[:HALF], status=206 if handler.start else 200, announced=len(rest))

    server.respond = respond
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_later_call_resumes_an_interrupted_one(server: Any, resource: Resource, tmp_path: Path) -> None:
    server.respond = lambda handler, _: handler.answer(b"", status=404)
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:12_345])
    with pytest.raises(DataError, match="404"):
        fetch_quickly(resource, tmp_path)
    server.respond = lambda handler, _: handler.answer_range(CONTENT)
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == ["bytes=12345-"] * 2


def test_a_server_without_ranges_sends_the_whole_file_again(server: Any, resource: Resource, tmp_path: Path) -> None:
    def respond(handler: Any, number: int) -> None:
        handler.answer(CONTENT[:HALF] if number == 1 else CONTENT, announced=len(CONTENT))

    server.respond = respond
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_stalled_server_is_left_and_asked_again(
    server: Any, resource: Resource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def respond(handler: Any, number: int) -> None:
        if number > 1:
            return handler.answer_range(CONTENT)
        handler.answer(CONTENT[:HALF], announced=len(CONTENT))
        handler.wfile.flush()
        handler.server.closing.wait(20)
        return None

    server.respond = respond
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.5)
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert len(server.ranges) == 2


def test_a_server_that_never_answers_is_given_up(
    server: Any, resource: Resource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.respond = lambda handler, _: handler.server.closing.wait(20) and None
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(DataError, match="timed out"):
        fetch_quickly(resource, tmp_path)
    assert len(server.ranges) == 4
    assert content_files(tmp_path) == {}


def test_a_busy_server_is_asked_again(server: Any, resource: Resource, tmp_path: Path) -> None:
    statuses = {1: 503, 2: 429}

    def respond(handler: Any, number: int) -> None:
        if number in statuses:
            handler.answer(b"busy", status=statuses[number])
        else:
            handler.answer_range(CONTENT)

    server.respond = respond
    assert fetch_quickly(resource, tmp_path).read_bytes() == CONTENT
    assert len(server.ranges) == 3


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (410, 1), (503, 4)])
def test_an_error_is_told_with_the_way_out(
    server: Any, resource: Resource, tmp_path: Path, status: int, requests: int
) -> None:
    server.respond = lambda handler, _: handler.answer(b"no", status=status)
    with pytest.raises(DataError, match=rf"answers {status} ") as caught:
        fetch_quickly(resource, tmp_path)
    for hint in (resource.url, str(tmp_path / "data.bin"), resource.digest):
        assert hint in str(caught.value)
    assert len(server.ranges) == requests
    assert content_files(tmp_path) == {}


def test_wrong_content_is_refused_and_not_kept(server: Any, resource: Resource, tmp_path: Path) -> None:
    server.respond = lambda handler, _: handler.answer(bytes(len(CONTENT)))
    with pytest.raises(DataError, match="another checksum"):
        fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {}
    server.respond = lambda handler, _: handler.answer_range(CONTENT)
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}


def test_a_wrong_beginning_is_not_built_upon_twice(server: Any, resource: Resource, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(bytes(HALF))
    with pytest.raises(DataError, match="another checksum"):
        fetch_quickly(resource, tmp_path)
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == [f"bytes={HALF}-", None]


def test_a_beginning_longer_than_the_file_is_thrown_away(server: Any, resource: Resource, tmp_path: Path) -> None:
    (tmp_path / "data.bin.part").write_bytes(CONTENT + b"more")
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == [None]


def test_a_beginning_that_the_server_cannot_continue_is_thrown_away(
    server: Any, resource: Resource, tmp_path: Path
) -> None:
    def respond(handler: Any, number: int) -> None:
        if handler.start:
            handler.answer(b"", status=416)
        else:
            handler.answer(CONTENT)

    server.respond = respond
    (tmp_path / "data.bin.part").write_bytes(bytes(HALF))
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == [f"bytes={HALF}-", None]


def test_a_short_file_is_never_taken_for_whole(server: Any, resource: Resource, tmp_path: Path) -> None:
    def respond(handler: Any, number: int) -> None:
        handler.answer(CONTENT[handler.start : HALF], status=206 if handler.start else 200)

    server.respond = respond
    with pytest.raises(DataError, match="sent 500,000 of 1,000,000 bytes"):
        fetch_quickly(resource, tmp_path)
    assert not (tmp_path / "data.bin").exists()


def test_an_endless_answer_is_cut_off_at_the_published_size(server: Any, resource: Resource, tmp_path: Path) -> None:
    written = 0

    def respond(handler: Any, number: int) -> None:
        nonlocal written
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT)
        while written < 1 << 30:
            written += handler.wfile.write(bytes(1 << 16))

    server.respond = respond
    fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert written < 1 << 27


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 2x0 what\r\n\r\n", b"\xff" * 70_000 + b"\n"]
)
def test_what_is_no_web_server_is_told(server: Any, resource: Resource, tmp_path: Path, answer: bytes) -> None:
    server.respond = lambda handler, _: handler.wfile.write(answer) and None
    with pytest.raises(DataError, match=r"could not download http://127\.0\.0\.1:\d+/pub/data\.bin: \S+"):
        fetch_quickly(resource, tmp_path)
    assert content_files(tmp_path) == {}


def test_a_refused_connection_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        resource = Resource(f"http://127.0.0.1:{unused.getsockname()[1]}/data.bin", "md5:0", 10)
        with pytest.raises(DataError, match="Connection refused"):
            fetch_quickly(resource, tmp_path)


def test_threads_that_ask_at_once_download_once(server: Any, resource: Resource, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetch_quickly(resource, tmp_path), range(8)))
    assert set(paths) == {tmp_path / "data.bin"}
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == [None]


def test_processes_that_ask_at_once_download_once(server: Any, resource: Resource, tmp_path: Path) -> None:
    both_ask = threading.Barrier(2)

    def respond(handler: Any, number: int) -> None:
        with contextlib.suppress(threading.BrokenBarrierError):
            both_ask.wait(0.5)
        handler.answer_range(CONTENT)

    server.respond = respond
    program = (
        "import sys; from pathlib import Path; from reslab.files.download import Resource, fetch\n"
        "fetch(Resource(sys.argv[1], sys.argv[2], int(sys.argv[3])), Path(sys.argv[4]))"
    )
    arguments = [resource.url, resource.digest, str(resource.size), str(tmp_path)]
    processes = [subprocess.Popen([sys.executable, "-c", program, *arguments]) for _ in range(2)]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert content_files(tmp_path) == {"data.bin": CONTENT}
    assert server.ranges == [None]


def test_progress_off_prints_nothing(
    resource: Resource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    fetch(resource, tmp_path / "off", progress=False)
    assert capfd.readouterr() == ("", "")
    fetch(resource, tmp_path / "on", progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "data.bin" in err

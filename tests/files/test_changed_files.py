"""Downloads of files that change on the server, or whose end cannot be told, over real HTTP."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reslab.errors import DataError
from reslab.files.download import Resource, fetch

OLD, NEW = (np.random.default_rng(seed).bytes(200_000) for seed in (0, 1))
HALF = len(OLD) // 2


def fetch_quickly(resource: Resource, folder: Path) -> bytes:
    return fetch(resource, folder, progress=False, retry_seconds=0.01).read_bytes()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def send(handler: Any, body: bytes, status: int = 200, **headers: Any) -> None:
    handler.send_response(status)
    for name, value in {"Content_Length": len(body), **headers}.items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def serve(server: Any, versions: list[bytes], tags: list[dict[str, str]], *, heeds_if_range: bool = True) -> list[Any]:
    """Sends half of the first version and closes; from then on the second one. What was asked is returned."""
    asked: list[Any] = []

    def respond(handler: Any, number: int) -> None:
        asked.append(handler.headers["If-Range"])
        if number == 1:
            return send(handler, versions[0][:HALF], Content_Length=len(versions[0]), **tags[0])
        current = next(iter(tags[1].values()), None)
        goes_on = handler.start and (not heeds_if_range or handler.headers["If-Range"] in (None, current))
        if goes_on:
            content_range = f"bytes {handler.start}-{len(versions[1]) - 1}/{len(versions[1])}"
            return send(handler, versions[1][handler.start :], 206, Content_Range=content_range, **tags[1])
        return send(handler, versions[1], **tags[1])

    server.respond = respond
    return asked


TAGS = [
    [{"ETag": '"one"'}, {"ETag": '"two"'}],
    [{"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"Last_Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}],
]


@pytest.mark.parametrize("tags", TAGS)
@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("digest", [False, True])
def test_a_file_that_changed_meanwhile_begins_again(
    server: Any, tmp_path: Path, tags: list[dict[str, str]], heeds: bool, digest: bool
) -> None:
    stated = hashlib.sha256(NEW).hexdigest() if digest else ""
    asked = serve(server, [OLD, NEW], tags, heeds_if_range=heeds)
    assert fetch_quickly(Resource(f"{server.url}/net.bin", f"sha256:{stated}"), tmp_path) == NEW
    assert asked[:2] == [None, next(iter(tags[0].values()))]
    assert left(tmp_path) == ["net.bin"]


@pytest.mark.parametrize("tags", TAGS)
def test_a_file_that_is_the_same_goes_on(server: Any, tmp_path: Path, tags: list[dict[str, str]]) -> None:
    serve(server, [OLD, OLD], [tags[0], tags[0]])
    assert fetch_quickly(Resource(f"{server.url}/net.bin", "sha256:"), tmp_path) == OLD
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_later_call_knows_of_what_its_beginning_is(server: Any, tmp_path: Path) -> None:
    resource = Resource(f"{server.url}/net.bin", "sha256:")
    server.respond = lambda handler, number: (
        send(handler, OLD[:HALF], Content_Length=len(OLD), ETag='"one"') if number == 1 else send(handler, b"", 404)
    )
    with pytest.raises(DataError, match="answers 404"):
        fetch_quickly(resource, tmp_path)
    assert left(tmp_path) == ["net.bin.part", "net.bin.part-of"]
    asked = []

    def respond(handler: Any, _: int) -> None:
        asked.append((handler.headers["Range"], handler.headers["If-Range"]))
        send(handler, NEW, ETag='"two"')

    server.respond = respond
    assert fetch_quickly(resource, tmp_path) == NEW
    assert asked == [(f"bytes={HALF}-", '"one"')]


def test_a_beginning_that_nothing_can_verify_is_not_built_upon(server: Any, tmp_path: Path) -> None:
    (tmp_path / "net.bin.part").write_bytes(OLD[:HALF])
    server.respond = lambda handler, _: handler.answer_range(NEW)
    assert fetch_quickly(Resource(f"{server.url}/net.bin", "sha256:"), tmp_path) == NEW
    assert server.ranges == [None]


def test_a_weak_etag_says_nothing_of_bytes(server: Any, tmp_path: Path) -> None:
    serve(server, [OLD, NEW], [{"ETag": 'W/"one"'}, {"ETag": 'W/"one"'}])
    assert fetch_quickly(Resource(f"{server.url}/net.bin", "sha256:"), tmp_path) == NEW
    assert server.ranges == [None, None]


def test_another_range_than_was_asked_for_is_not_appended(server: Any, tmp_path: Path) -> None:
    def respond(handler: Any, number: int) -> None:
        if number == 1:
            send(handler, OLD[:HALF], Content_Length=len(OLD), ETag='"one"')
        elif handler.start:
            send(handler, OLD, 206, ETag='"one"', Content_Range=f"bytes 0-{len(OLD) - 1}/{len(OLD)}")
        else:
            send(handler, OLD, ETag='"one"')

    server.respond = respond
    assert fetch_quickly(Resource(f"{server.url}/net.bin", "sha256:"), tmp_path) == OLD


def chunks(content: bytes, *, cut: bool) -> bytes:
    parts = [content[at : at + 50_000] for at in range(0, len(content), 50_000)]
    framed = [b"%x\r\n%s\r\n" % (len(part), part) for part in parts]
    return b"".join(framed[:2] if cut else [*framed, b"0\r\n\r\n"])


@pytest.mark.parametrize("digest", ["", hashlib.sha256(OLD).hexdigest()])
def test_the_end_of_chunks_is_waited_for(server: Any, tmp_path: Path, digest: str) -> None:
    def respond(handler: Any, number: int) -> None:
        body = chunks(OLD, cut=number < 3)
        handler.protocol_version = "HTTP/1.1"
        handler.close_connection = True
        send(handler, body, Content_Length=None, Transfer_Encoding="chunked", Connection="close")

    server.respond = respond
    assert fetch_quickly(Resource(f"{server.url}/net.bin", f"sha256:{digest}"), tmp_path) == OLD
    assert len(server.ranges) == 3


def test_a_body_that_ends_with_its_connection_is_taken_only_if_it_is_verified(server: Any, tmp_path: Path) -> None:
    server.respond = lambda handler, _: send(handler, OLD, Content_Length=None)
    verified = Resource(f"{server.url}/net.bin", f"sha256:{hashlib.sha256(OLD).hexdigest()}")
    assert fetch_quickly(verified, tmp_path) == OLD
    server.respond = lambda handler, _: send(handler, OLD[:HALF], Content_Length=None)
    with pytest.raises(DataError, match="does not say how long the file is"):
        fetch_quickly(Resource(f"{server.url}/other.bin", "sha256:"), tmp_path)
    assert not (tmp_path / "other.bin").exists()


def test_a_compressed_body_and_one_without_end_are_refused(server: Any, tmp_path: Path) -> None:
    server.respond = lambda handler, _: send(handler, OLD, Content_Encoding="gzip")
    with pytest.raises(DataError, match="sends the file compressed, which was not asked for"):
        fetch_quickly(Resource(f"{server.url}/net.bin", "sha256:"), tmp_path)

    def respond(handler: Any, _: int) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.close_connection = True
        send(handler, chunks(OLD, cut=False), Content_Length=None, Transfer_Encoding="chunked", Connection="close")

    server.respond = respond
    with pytest.raises(DataError, match="sends more than 100,000 bytes"):
        fetch_quickly(Resource(f"{server.url}/net.bin", "sha256:", most=100_000), tmp_path)
    assert left(tmp_path) == []

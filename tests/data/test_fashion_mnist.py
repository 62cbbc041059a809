"""Fashion-MNIST from real files, damaged files, and a server."""

import gzip
import struct
import threading
import tracemalloc
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import mnist

from reslab.data import ImageData, Role, load_data, search_path
from reslab.data.fashion_mnist import read_idx
from reslab.errors import DataError

SYSTEM = Path("/usr/share/datasets/fashion-mnist")
PREFIXES: dict[Role, str] = {"train": "train", "test": "t10k"}
NUM_IMAGES: dict[Role, int] = {"train": 60_000, "test": 10_000}
# The authors' archives differ from Debian's in the header alone: they carry the file's name and these times.
AUTHORS_TIMES = {"train": 1504176606, "t10k": 1504176627}


def idx(values: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.mark.parametrize("role", PREFIXES)
def test_sizes_shapes_and_classes(fashion_mnist: ImageData, role: Role) -> None:
    split = fashion_mnist.split(role)
    assert split.images.shape == (NUM_IMAGES[role], 28, 28, 1)
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int64
    np.testing.assert_array_equal(np.bincount(split.labels), [NUM_IMAGES[role] // 10] * 10)


def test_class_names_are_the_authors(fashion_mnist: ImageData) -> None:
    assert fashion_mnist.classes[0] == "T-shirt/top"
    assert fashion_mnist.classes[9] == "Ankle boot"
    assert [name.lower() for name in mnist.FashionMNIST.classes] == [name.lower() for name in fashion_mnist.classes]


@pytest.mark.parametrize("role", PREFIXES)
def test_pixels_and_labels_equal_torchvisions_reading(fashion_mnist: ImageData, tmp_path: Path, role: Role) -> None:
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        name = f"{PREFIXES[role]}-{kind}"
        (tmp_path / name).write_bytes(gzip.decompress((SYSTEM / f"{name}.gz").read_bytes()))
    images = mnist.read_image_file(str(tmp_path / f"{PREFIXES[role]}-images-idx3-ubyte"))
    labels = mnist.read_label_file(str(tmp_path / f"{PREFIXES[role]}-labels-idx1-ubyte"))
    np.testing.assert_array_equal(fashion_mnist.split(role).images[..., 0], images)
    np.testing.assert_array_equal(fashion_mnist.split(role).labels, labels)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 2)])
def test_idx_files_are_read_gzipped_or_not(
    tmp_path: Path, rng: np.random.Generator, suffix: str, shape: tuple[int, ...]
) -> None:
    values = rng.integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / f"some-idx-ubyte{suffix}"
    path.write_bytes(gzip.compress(idx(values)) if suffix else idx(values))
    np.testing.assert_array_equal(read_idx(path, shape), values)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(4, 3, 2))
DAMAGED = {
    "empty": b"",
    "header-only": GOOD[:16],
    "cut": GOOD[:-1],
    "longer": GOOD + b"\x00",
    "other-type": GOOD[:2] + b"\x09" + GOOD[3:],
    "other-rank": idx(np.arange(24, dtype=np.uint8)),
    "other-shape": idx(np.arange(24, dtype=np.uint8).reshape(4, 2, 3)),
    "more-images": idx(np.zeros((5, 3, 2), np.uint8)),
    "text": b"<html><body>Not found</body></html>" * 2,
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_files_of_another_content_are_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"some-idx3-ubyte{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=r"is not an IDX file of 4 x 3 x 2 bytes; delete it") as caught:
        read_idx(path, (4, 3, 2))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(GOOD)[:-9],
        gzip.compress(GOOD)[:-1],
        gzip.compress(GOOD)[:12],
        gzip.compress(GOOD)[:-8] + bytes(8),
        gzip.compress(GOOD)[:10] + b"\xff" * 40,
        GOOD,
        b"<html></html>",
    ],
    ids=["cut-data", "cut-trailer", "cut-start", "wrong-checksum", "wrong-stream", "not-gzipped", "text"],
)
def test_damaged_archives_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged: .+; delete it") as caught:
        read_idx(path, (4, 3, 2))
    assert str(path) in str(caught.value)


def test_an_archive_that_unpacks_to_a_gigabyte_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(GOOD) + gzip.compress(bytes(10 << 20)) * 100)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="is not an IDX file"):
            read_idx(path, (4, 3, 2))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def write_blank(folder: Path) -> None:
    """The four files at their official sizes, black and of class 0; the images are holes, not blocks on the disk."""
    folder.mkdir(parents=True)
    for prefix, num_images in (("train", 60_000), ("t10k", 10_000)):
        with (folder / f"{prefix}-images-idx3-ubyte").open("wb") as stream:
            stream.write(struct.pack(">HBB3I", 0, 8, 3, num_images, 28, 28))
            stream.truncate(16 + num_images * 784)
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.zeros(num_images, np.uint8)))


@pytest.mark.parametrize("place", ["fashion-mnist", "FashionMNIST/raw", "."])
def test_the_folder_asked_for_comes_first(tmp_path: Path, place: str) -> None:
    write_blank(tmp_path / "data" / place)
    data = load_data("fashion-mnist", data_dir=tmp_path / "data")
    assert data.split("train").images.max() == 0
    assert len(data.split("test")) == 10_000


def test_the_environments_folder_comes_before_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_blank(tmp_path / "fashion-mnist")
    monkeypatch.setenv("RESLAB_DATA", str(tmp_path))
    assert load_data("fashion-mnist").split("test").images.max() == 0


def test_a_damaged_file_of_a_whole_set_is_named(tmp_path: Path) -> None:
    write_blank(tmp_path / "fashion-mnist")
    path = tmp_path / "fashion-mnist" / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(9_999, np.uint8)))
    with pytest.raises(DataError, match="is not an IDX file of 10000 bytes") as caught:
        load_data("fashion-mnist", data_dir=tmp_path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("prefix", PREFIXES.values())
def test_a_label_beyond_the_classes_is_told_with_its_file(tmp_path: Path, prefix: str) -> None:
    write_blank(tmp_path / "fashion-mnist")
    path = tmp_path / "fashion-mnist" / f"{prefix}-labels-idx1-ubyte"
    labels = np.zeros(60_000 if prefix == "train" else 10_000, np.uint8)
    labels[7] = 10
    path.write_bytes(idx(labels))
    with pytest.raises(DataError, match="10 classes") as caught:
        load_data("fashion-mnist", data_dir=tmp_path)
    assert str(path) in str(caught.value)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a server, and a machine that has no data yet."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    folder = tmp_path / "mirror"
    folder.mkdir()
    monkeypatch.setattr(search_path, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RESLAB_DATA", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder))) as server:
        monkeypatch.setenv("RESLAB_MIRROR", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder
        server.shutdown()
        thread.join()


def write_authors_archives(folder: Path) -> None:
    for path in SYSTEM.glob("*.gz"):
        debian = path.read_bytes()
        assert debian[:4] == b"\x1f\x8b\x08\x00"
        header = struct.pack("<4sI2s", b"\x1f\x8b\x08\x08", AUTHORS_TIMES[path.name.split("-")[0]], debian[8:10])
        (folder / path.name).write_bytes(header + path.stem.encode() + b"\x00" + debian[10:])


def test_what_is_missing_is_downloaded_once(
    fashion_mnist: ImageData, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_authors_archives(mirror)
    assert load_data("fashion-mnist").describe() == fashion_mnist.describe()
    cached = tmp_path / "cache" / "reslab" / "data" / "fashion-mnist"
    assert {path.name for path in cached.glob("*.gz")} == {path.name for path in mirror.iterdir()}
    monkeypatch.setenv("RESLAB_MIRROR", "http://127.0.0.1:9")
    assert load_data("fashion-mnist").split("test").digest == fashion_mnist.split("test").digest


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_downloads_go_where_they_are_asked_to(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    (mirror / "train-images-idx3-ubyte.gz").write_bytes(bytes(26_421_880))
    folder = tmp_path / "chosen"
    if by == "environment":
        monkeypatch.setenv("RESLAB_DATA", str(folder))
    with pytest.raises(DataError, match="another checksum") as caught:
        load_data("fashion-mnist", data_dir=folder if by == "argument" else None)
    assert str(folder / "fashion-mnist" / "train-images-idx3-ubyte.gz") in str(caught.value)
    assert list((folder / "fashion-mnist").glob("*.gz")) == []


def test_a_file_that_the_mirror_lacks_is_told(mirror: Path) -> None:
    with pytest.raises(DataError, match=r"could not download http://127\S+/train-images-idx3-ubyte\.gz: .*404"):
        load_data("fashion-mnist")

"""CIFAR from archives and folders in the official formats, with images of our own."""

import gzip
import io
import os
import pickle
import shutil
import struct
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from torchvision import datasets

from reslab.data import ImageData, Role, load_data, search_path
from reslab.errors import DataError

PARTS = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
CLASSES_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLASSES_100 = tuple(f"fine_{index:02}" for index in range(100))
FOLDERS = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
ARCHIVES = {"python": "cifar-10-python.tar.gz", "binary": "cifar-10-binary.tar.gz"}


class _Python2Pickler(pickle._Pickler):
    """Writes byte strings and numpy arrays as Python 2 and its numpy did, as in the official files."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:].encode(), 0, 1), (3, b"|", None, None, None, -1, -1, 0)
        return NotImplemented

    def _save_string(self, value: bytes) -> None:
        header = b"U" + struct.pack("B", len(value)) if len(value) < 256 else b"T" + struct.pack("<i", len(value))
        self.write(header + value)  # type: ignore[attr-defined]
        self.memoize(value)  # type: ignore[attr-defined]

    dispatch[bytes] = _save_string


def python_2_pickle(value: Any) -> bytes:
    stream = io.BytesIO()
    _Python2Pickler(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)


def rows_of(batch: int, num_images: int) -> NDArray[np.uint8]:
    """(N, 3072) random pixels, others for every batch."""
    return np.random.default_rng(batch).integers(0, 256, (num_images, 3072), dtype=np.uint8)


def labels_of(batch: int, num_images: int, num_classes: int) -> NDArray[np.uint8]:
    return np.random.default_rng(100 + batch).integers(0, num_classes, num_images, dtype=np.uint8)


def write_tar(path: Path, files: dict[str, bytes | Path]) -> None:
    """An uncompressed archive under whatever name: the reader goes by its content."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            if isinstance(content, Path):
                archive.add(content, name)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def place(folder: Path, files: dict[str, bytes | Path]) -> None:
    """Writes files, and links those that lie elsewhere."""
    folder.mkdir(parents=True)
    for name, content in files.items():
        if isinstance(content, Path):
            (folder / name).symlink_to(content)
        else:
            (folder / name).write_bytes(content)


@dataclass(frozen=True)
class Form:
    """One form of CIFAR-10: where its folder and its archive lie, and the folder's files."""

    folder: Path
    archive: Path
    files: dict[str, bytes | Path]


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Form]]:
    """CIFAR-10 at its official size: 50,000 + 10,000 images."""
    root = tmp_path_factory.mktemp("cifar10")
    contents: dict[str, dict[str, bytes | Path]] = {"python": {}, "binary": {}}
    for batch, name in enumerate(PARTS):
        rows, labels = rows_of(batch, 10_000), labels_of(batch, 10_000, 10)
        contents["python"][name] = python_2_pickle(
            {
                b"batch_label": b"some batch",
                b"labels": labels.tolist(),
                b"data": rows,
                b"filenames": [b"leptodactylus_pentadactylus_s_000004.png"],
            }
        )
        contents["binary"][f"{name}.bin"] = np.concatenate([labels[:, np.newaxis], rows], axis=1).tobytes()
    names = [name.encode() for name in CLASSES_10]
    contents["python"]["batches.meta"] = python_2_pickle({b"num_cases_per_batch": 10_000, b"label_names": names})
    contents["binary"]["batches.meta.txt"] = b"\n".join(names) + b"\n\n"
    made = {}
    for form, files in contents.items():
        folder, archive = root / form / FOLDERS[form], root / f"{form}-archive" / ARCHIVES[form]
        place(folder, files)
        archive.parent.mkdir()
        write_tar(archive, {f"{FOLDERS[form]}/{name}": folder / name for name in files})
        made[form] = Form(folder, archive, {name: folder / name for name in files})
    yield made
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def from_python(forms: dict[str, Form]) -> ImageData:
    return load_data("cifar10", data_dir=forms["python"].folder.parent)


@pytest.fixture(autouse=True)
def nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Only the folder asked for has data; the large files of a test go with it."""
    monkeypatch.setattr(search_path, "_SYSTEM_FOLDERS", ())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("RESLAB_DATA", raising=False)
    yield
    shutil.rmtree(tmp_path)


def test_sizes_types_and_classes(from_python: ImageData) -> None:
    for role, num_images in (("train", 50_000), ("test", 10_000)):
        split = from_python.split(role)  # type: ignore[arg-type]
        assert split.images.shape == (num_images, 32, 32, 3)
        assert split.images.dtype == np.uint8
        assert split.images.flags.c_contiguous
        assert split.labels.shape == (num_images,)
        assert split.labels.dtype == np.int64
    assert from_python.classes == CLASSES_10
    assert list(from_python.splits) == ["train", "test"]


@pytest.mark.parametrize(("role", "index", "batch"), [("train", 0, 0), ("train", 49_999, 4), ("test", 17, 5)])
def test_pixels_are_rows_of_red_then_green_then_blue(
    from_python: ImageData, role: Role, index: int, batch: int
) -> None:
    row, label = rows_of(batch, 10_000)[index % 10_000], labels_of(batch, 10_000, 10)[index % 10_000]
    image = from_python.split(role).images[index]
    for y, x, channel in [(0, 0, 0), (0, 31, 0), (31, 0, 1), (5, 7, 2), (31, 31, 2)]:
        assert image[y, x, channel] == row[channel * 1024 + y * 32 + x]
    assert from_python.split(role).labels[index] == label


def test_torchvision_reads_the_same(
    forms: dict[str, Form], from_python: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    for role in ("train", "test"):
        theirs = datasets.CIFAR10(forms["python"].folder.parent, train=role == "train")
        ours = from_python.split(role)  # type: ignore[arg-type]
        assert np.array_equal(ours.images, theirs.data)
        assert ours.labels.tolist() == theirs.targets
        assert from_python.classes == tuple(theirs.classes)


@pytest.mark.parametrize(("form", "kind"), [("python", "archive"), ("binary", "folder"), ("binary", "archive")])
def test_every_form_holds_the_same(forms: dict[str, Form], from_python: ImageData, form: str, kind: str) -> None:
    found: Path = getattr(forms[form], kind)
    assert load_data("cifar10", data_dir=found.parent).describe() == from_python.describe()


@pytest.mark.parametrize("protocol", [2, 4])
def test_batches_written_by_python_3_are_read_too(
    forms: dict[str, Form], from_python: ImageData, tmp_path: Path, protocol: int
) -> None:
    batch = {b"data": rows_of(5, 10_000), b"labels": labels_of(5, 10_000, 10).tolist()}
    files = forms["python"].files | {"test_batch": pickle.dumps(batch, protocol)}
    place(tmp_path / FOLDERS["python"], files)
    assert load_data("cifar10", data_dir=tmp_path).describe() == from_python.describe()


@pytest.fixture(scope="module")
def cifar100(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """CIFAR-100 at its official size, in both forms."""
    root = tmp_path_factory.mktemp("cifar100")
    python: dict[str, bytes | Path] = {}
    binary: dict[str, bytes | Path] = {}
    for batch, (name, num_images) in enumerate((("train", 50_000), ("test", 10_000))):
        rows, fine = rows_of(10 + batch, num_images), labels_of(10 + batch, num_images, 100)
        coarse = fine // 5
        python[name] = python_2_pickle(
            {b"data": rows, b"coarse_labels": coarse.tolist(), b"fine_labels": fine.tolist()}
        )
        binary[f"{name}.bin"] = np.concatenate([coarse[:, np.newaxis], fine[:, np.newaxis], rows], axis=1).tobytes()
    names = [name.encode() for name in CLASSES_100]
    python["meta"] = python_2_pickle({b"fine_label_names": names, b"coarse_label_names": names[:20]})
    binary["fine_label_names.txt"] = b"\n".join(names) + b"\n"
    place(root / "python" / "cifar-100-python", python)
    place(root / "binary" / "cifar-100-binary", binary)
    yield {"python": root / "python", "binary": root / "binary"}
    shutil.rmtree(root)


def test_both_forms_of_cifar100_give_torchvisions_fine_labels(
    cifar100: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    data = load_data("cifar100", data_dir=cifar100["python"])
    assert data.classes == CLASSES_100
    theirs = datasets.CIFAR100(cifar100["python"], train=False)
    assert np.array_equal(data.split("test").images, theirs.data)
    assert data.split("test").labels.tolist() == theirs.targets
    assert np.array_equal(data.split("train").labels, labels_of(10, 50_000, 100))
    assert load_data("cifar100", data_dir=cifar100["binary"]).describe() == data.describe()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small CIFAR-10 with some of its files replaced; batches that are not reached are empty."""

    def write(form: str, kind: str, replaced: dict[str, bytes | None]) -> Path:
        suffix = "" if form == "python" else ".bin"
        names = [name.encode() for name in CLASSES_10]
        meta = python_2_pickle({b"label_names": names}) if form == "python" else b"\n".join(names)
        files: dict[str, bytes | None] = {name + suffix: b"" for name in PARTS}
        files |= {"batches.meta" if form == "python" else "batches.meta.txt": meta} | replaced
        present: dict[str, bytes | Path] = {name: content for name, content in files.items() if content is not None}
        if kind == "folder":
            place(tmp_path / "data" / FOLDERS[form], present)
            return tmp_path / "data" / FOLDERS[form]
        (tmp_path / "data").mkdir()
        write_tar(tmp_path / "data" / ARCHIVES[form], {f"{FOLDERS[form]}/{key}": present[key] for key in present})
        return tmp_path / "data" / ARCHIVES[form]

    return write


def refusal(found: Path) -> str:
    """What loading says; it must name what was found."""
    with pytest.raises(DataError) as caught:
        load_data("cifar10", data_dir=found.parent)
    assert str(found) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize(
    ("form", "missing"),
    [
        ("python", "data_batch_3"),
        ("python", "batches.meta"),
        ("binary", "test_batch.bin"),
        ("binary", "batches.meta.txt"),
    ],
)
def test_a_missing_file_is_named(write: Callable[..., Path], form: str, kind: str, missing: str) -> None:
    assert missing in refusal(write(form, kind, {missing: None}))


BATCH = {b"data": np.zeros((10_000, 3072), np.uint8), b"labels": [0] * 10_000}
NOT_A_BATCH = {
    "list": [1, 2],
    "number": 5,
    "string": b"data",
    "array": np.zeros((10_000, 3072), np.uint8),
    "no-data": {b"labels": [0] * 10_000},
    "no-labels": {b"data": BATCH[b"data"]},
    "text-keys": {"data": BATCH[b"data"], "labels": BATCH[b"labels"]},
    "fewer-images": BATCH | {b"data": np.zeros((9_999, 3072), np.uint8)},
    "fewer-labels": BATCH | {b"labels": [0] * 9_999},
    "floats": BATCH | {b"data": np.zeros((10_000, 3072), np.float16)},
    "ragged": BATCH | {b"data": [[0, 1], [2]]},
    "nested": BATCH | {b"data": {b"data": 1}},
    "label-names": BATCH | {b"labels": ["cat"] * 10_000},
    "label-fractions": BATCH | {b"labels": [0.5] * 10_000},
}


@pytest.mark.parametrize("value", NOT_A_BATCH.values(), ids=NOT_A_BATCH)
def test_a_pickle_that_is_no_batch_is_named(write: Callable[..., Path], value: Any) -> None:
    assert "data_batch_1" in refusal(write("python", "folder", {"data_batch_1": pickle.dumps(value)}))


@pytest.mark.parametrize("kept", [0, 1, 100, 1_000_000, -1])
def test_a_truncated_batch_is_named(write: Callable[..., Path], kept: int) -> None:
    content = python_2_pickle(BATCH)[:kept]
    assert "data_batch_1" in refusal(write("python", "folder", {"data_batch_1": content}))


@pytest.mark.parametrize("size", [0, 10_000 * 3073 - 1, 10_000 * 3073 + 1, 10_000 * 3074])
@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_a_binary_batch_of_another_size_is_named(write: Callable[..., Path], kind: str, size: int) -> None:
    message = refusal(write("binary", kind, {"data_batch_1.bin": bytes(size)}))
    assert f"data_batch_1.bin has {size:,} bytes instead of 30,730,000" in message


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
def test_a_malicious_pickle_is_refused_and_not_run(
    write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    class Malicious:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, ("touch trace",)

    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({b"data": Malicious(), b"label_names": Malicious()}, 2)
    message = refusal(write("python", kind, {name: content}))
    assert name in message
    assert "asks for posix.system" in message
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("form", "name", "label"),
    [("python", "test_batch", 10), ("python", "data_batch_3", -1), ("binary", "data_batch_5.bin", 255)],
)
def test_a_label_outside_the_classes_is_told(
    forms: dict[str, Form], tmp_path: Path, form: str, name: str, label: int
) -> None:
    if form == "python":
        content = pickle.dumps(BATCH | {b"labels": [*[0] * 9_999, label]})
    else:
        content = bytes([label]) + bytes(10_000 * 3073 - 1)
    place(tmp_path / FOLDERS[form], forms[form].files | {name: content})
    assert f"label {label}," in refusal(tmp_path / FOLDERS[form])


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize(
    "names",
    [(), CLASSES_10[:9], (*CLASSES_10, "boat"), (*CLASSES_10[:9], "cat"), (*CLASSES_10, "cat")],
    ids=["none", "nine", "eleven", "ten-with-a-double", "eleven-with-a-double"],
)
def test_another_number_of_class_names_is_refused(
    forms: dict[str, Form], tmp_path: Path, form: str, names: tuple[str, ...]
) -> None:
    encoded = [name.encode() for name in names]
    meta: dict[str, bytes | Path] = (
        {"batches.meta": python_2_pickle({b"label_names": encoded})}
        if form == "python"
        else {"batches.meta.txt": b"\n".join(encoded)}
    )
    place(tmp_path / FOLDERS[form], forms[form].files | meta)
    message = refusal(tmp_path / FOLDERS[form])
    assert next(iter(meta)) in message
    assert "class names" in message


@pytest.mark.parametrize(
    "content",
    [
        b"",
        pickle.dumps({}),
        pickle.dumps([]),
        pickle.dumps(3),
        pickle.dumps(np.zeros(3)),
        pickle.dumps({b"label_names": 3}),
    ],
    ids=["empty", "no-names", "list", "number", "array", "names-a-number"],
)
def test_a_list_of_names_that_is_none_is_named(write: Callable[..., Path], content: bytes) -> None:
    assert "batches.meta" in refusal(write("python", "folder", {"batches.meta": content}))


def test_names_that_are_no_text_are_named(write: Callable[..., Path]) -> None:
    assert "batches.meta.txt" in refusal(write("binary", "folder", {"batches.meta.txt": b"\xff\xfe\x00"}))


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("size", [0, 100, 1_000_000])
def test_a_truncated_archive_is_named(forms: dict[str, Form], tmp_path: Path, form: str, size: int) -> None:
    path = tmp_path / ARCHIVES[form]
    with forms[form].archive.open("rb") as stream:
        path.write_bytes(stream.read(size))
    assert "delete it" in refusal(path) or size == 0


@pytest.mark.parametrize("kept", [5, 15, 60, -20, -1])
def test_a_truncated_gzip_stream_is_named(write: Callable[..., Path], kept: int) -> None:
    path = write("python", "archive", {})
    path.write_bytes(gzip.compress(path.read_bytes())[:kept])
    refusal(path)


@pytest.mark.parametrize(
    "content", [b"<html>Not found</html>" * 50, b"\x1f\x8b\x08\x00" + b"\xff" * 2000, b"PK\x03\x04" * 500]
)
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ARCHIVES["python"]
    path.write_bytes(content)
    assert "is damaged" in refusal(path)


def test_a_folder_in_the_place_of_a_file_is_named(write: Callable[..., Path]) -> None:
    found = write("python", "folder", {"data_batch_2": None})
    (found / "data_batch_2").mkdir()
    assert str(found / "data_batch_2") in refusal(found)


def test_links_inside_an_archive_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / ARCHIVES["python"]
    with tarfile.open(path, "w") as archive:
        for name in (*PARTS, "batches.meta"):
            member = tarfile.TarInfo(f"{FOLDERS['python']}/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, str(path)
            archive.addfile(member)
    assert "data_batch_1" in refusal(path)


def test_an_archive_that_unpacks_to_half_a_gigabyte_is_not_kept_in_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo(f"{FOLDERS['python']}/data_batch_1")
    member.size = 1 << 29
    path = tmp_path / ARCHIVES["python"]
    path.write_bytes(gzip.compress(member.tobuf()) + gzip.compress(bytes(1 << 24)) * 32 + gzip.compress(bytes(1024)))
    tracemalloc.start()
    try:
        assert "data_batch_1" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()

"""What lies where images are expected: programs, pipes, devices, names with commands, headers that claim gigabytes."""

import contextlib
import gzip
import json
import os
import socket
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import reslab
from reslab.cli.main import main
from reslab.data import decoding, load_data
from reslab.data.check import check_folder
from reslab.data.preprocessing import Preprocessing
from reslab.data.quarantine import quarantine
from reslab.data.shards import INDEX_NAME, load_shards
from reslab.errors import DataError
from reslab.files.regular import read_regular
from reslab.models import create_model

VIEW = Preprocessing(height=8, width=8, channels=3, resize=8)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch /tmp/owned) (w) file\n"


@pytest.fixture
def pets(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Two classes of two pictures each."""
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in (1, 2):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    return tmp_path / "pets"


@pytest.fixture
def net(tmp_path: Path) -> str:
    """A network's name with weights in a file."""
    save_file(create_model("resnet8[widths=4-4-4]").state_dict(), tmp_path / "net.safetensors")
    return f"resnet8[widths=4-4-4]={tmp_path / 'net.safetensors'}"


def test_postscript_starts_no_program_anywhere(
    pets: Path, net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that open files; Pillow would start Ghostscript by its name."""
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gswin64c"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (pets / "cat" / "3.jpg").write_bytes(POSTSCRIPT)
    (pets / "cat" / "4.eps.png").write_bytes(POSTSCRIPT)
    for kind in ("small", "photos"):
        with pytest.raises(DataError, match=r"cat/3\.jpg: it is not an image"):
            load_data(pets, kind=kind, **({"view": VIEW} if kind == "photos" else {})).split("train").read(0, 6)  # type: ignore[call-overload]
    report = check_folder(pets)
    assert {(item.path, item.problem) for item in report.findings if item.problem == "unreadable"} == {
        ("cat/3.jpg", "unreadable"),
        ("cat/4.eps.png", "unreadable"),
    }
    predicted = reslab.load(net, mean=(0.5,)).predict(pets)
    assert [item.error is None for item in predicted] == [True, True, False, False, True, True]  # type: ignore[union-attr]
    for recipe in ("cifar-paper", "photos"):
        arguments = ["--data", str(pets), "--recipe", recipe, "--iterations", "2", "--quiet", "--workers", "0"]
        assert main(["train", "resnet8", *arguments, "--batch-size", "4", "--run-dir", str(tmp_path / recipe)]) == 2
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(
    ("what", "kind"), [("pipe", "a pipe"), ("socket", "a socket"), ("device", "a device"), ("folder", "a folder")]
)
def test_what_is_no_file_is_named(pets: Path, net: str, what: str, kind: str) -> None:
    path = pets / "dog" / "3.png"
    with contextlib.ExitStack() as stack:
        if what == "pipe":
            os.mkfifo(path)
        elif what == "socket":
            bound = stack.enter_context(socket.socket(socket.AF_UNIX))
            stack.enter_context(contextlib.chdir(path.parent))
            bound.bind(path.name)
        elif what == "device":
            path.symlink_to("/dev/zero")
        else:
            path.mkdir()
        message = rf"dog/3\.png: it is {kind} and not a regular file"
        with pytest.raises(DataError, match=message):
            load_data(pets, kind="small")
        split = load_data(pets, kind="photos", view=VIEW).split("train")
        with pytest.raises(DataError, match=message):
            split.read(0, 5)
        (finding,) = check_folder(pets).findings
        assert (finding.path, finding.problem) == ("dog/3.png", "unreadable")
        assert f"it is {kind} and not a regular file" in finding.detail
        found = {str(item.path): item.error for item in reslab.load(net, mean=(0.5,)).predict(pets)}  # type: ignore[union-attr]
        assert f"it is {kind}" in str(found[str(path)])


def test_a_folder_with_an_images_name_may_hold_images(pets: Path) -> None:
    (pets / "dog" / "film.gif").mkdir()
    (pets / "dog" / "1.png").rename(pets / "dog" / "film.gif" / "1.png")
    assert len(load_data(pets, kind="small").split("train")) == 4


def test_a_file_of_any_size_is_not_read(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (pets / "dog" / "3.png").open("wb") as stream:
        stream.truncate(20 << 30)  # it takes no place on the disk
    assert decoding.LARGEST_FILE == 1 << 30
    with pytest.raises(DataError, match=r"dog/3\.png: it has 21,474,836,480 bytes, and 1,073,741,824 are the most"):
        load_data(pets, kind="small")
    (finding,) = check_folder(pets).findings
    assert "21,474,836,480 bytes" in finding.detail
    (pets / "small").write_bytes(b"12345")
    assert read_regular(pets / "small", 5) == b"12345"
    with pytest.raises(DataError, match="it has 5 bytes"):
        read_regular(pets / "small", 4)


ODD = {
    "colour": b"\x1b[31mred\x07.png",
    "rows": b"two\nrows\r.png",
    "latin": b"caf\xe9.png",
    "turned": "a\u202egnp.png".encode(),
}
SHOWN = {
    "colour": r"\x1b[31mred\x07.png",
    "rows": r"two\nrows\r.png",
    "latin": r"caf\xe9.png",
    "turned": r"a\u202egnp.png",
}


@pytest.mark.parametrize("case", ODD)
def test_odd_names_are_shown_on_one_line(
    pets: Path, net: str, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = SHOWN[case]
    path = pets / "dog" / os.fsdecode(ODD[case])
    path.write_bytes((pets / "dog" / "1.png").read_bytes())
    assert main(["predict", net, "--mean", "0.5", "--input-size", "8", str(pets)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 5
    assert sum(row.startswith(f"{pets / 'dog'}/{shown}\t") for row in rows) == 1
    assert main(["predict", net, "--mean", "0.5", str(pets), "--out", str(tmp_path / "out.csv"), "--top", "1"]) == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 6
    assert main(["predict", net, "--mean", "0.5", str(pets), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out.partition("[")[2].join("[ "))) == 5
    path.write_bytes(b"damaged")
    messages = []
    for kind in ("small", "photos"):
        with pytest.raises(DataError) as caught:
            load_data(pets, kind=kind, **({"view": VIEW} if kind == "photos" else {})).split("train").read(0, 5)  # type: ignore[call-overload]
        messages.append(str(caught.value))
    assert all(f"{pets / 'dog'}/{shown}: it is not an image" in message for message in messages)
    assert main(["data", "check", str(pets)]) == 1
    assert f"  dog/{shown}: it is not an image" in capsys.readouterr().out
    assert main(["data", "check", str(pets), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["path"] == f"dog/{shown}"
    assert main(["train", "resnet8", "--data", str(pets), "--run-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert shown in error
    assert error.count("\n") == 1
    assert "\x1b" not in error
    assert quarantine(pets, check_folder(pets), tmp_path / "bad") == [f"dog/{os.fsdecode(ODD[case])}"]
    assert (
        json.loads((tmp_path / "bad" / "quarantine.json").read_text())["moves"][0]["findings"][0]["path"]
        == f"dog/{shown}"
    )
    assert not path.exists()


def test_class_folders_with_odd_names_are_shown_so_too(pets: Path) -> None:
    (pets / "dog").rename(pets / "do\x1b[31mg")
    (pets / "val" / "cat").mkdir(parents=True)
    with pytest.raises(DataError) as caught:
        load_data(pets)
    assert str(caught.value).isprintable()


def bomb(path: Path, kind: bytes) -> None:
    """An archive of a few megabytes whose first header says that a name of 6 GiB follows."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, 6 << 30
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.write(bytes(1 << 20))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_of_six_gigabytes_is_refused_unread(tmp_path: Path, kind: bytes) -> None:
    bomb(tmp_path / "cifar-10-python.tar.gz", kind)
    with pytest.raises(DataError, match=r"a part of it claims to have 6,442,450,944 bytes"):
        load_data("cifar10", data_dir=tmp_path)


def test_an_archive_that_unpacks_to_more_than_it_can_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("film.avi")
    info.size = 6 << 30
    with gzip.open(tmp_path / "cifar-10-python.tar.gz", "wb", compresslevel=1) as stream:
        stream.write(info.tobuf(tarfile.GNU_FORMAT))
        stream.write(bytes(1 << 20))
    with pytest.raises(DataError, match=r"it unpacks to more than 1,073,741,824 bytes"):
        load_data("cifar10", data_dir=tmp_path)


def test_a_local_index_of_any_size_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / INDEX_NAME).open("wb") as stream:
        stream.truncate(3 << 30)
    with pytest.raises(DataError, match=r"it has 3,221,225,472 bytes, and 2,147,483,648 are the most"):
        load_shards(tmp_path, VIEW)
    (tmp_path / INDEX_NAME).unlink()
    os.mkfifo(tmp_path / INDEX_NAME)
    with pytest.raises(DataError, match="it is a pipe"):
        load_shards(tmp_path, VIEW)

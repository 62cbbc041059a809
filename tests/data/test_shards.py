"""Photos in tar files: what other readers see in them, and that training finds the same photos there."""

import contextlib
import gc
import itertools
import json
import re
import shutil
import tarfile
import warnings

import numpy as np
import pytest
from safetensors.numpy import load, save

from reslab.data import load_data
from reslab.data.packing import pack_shards
from reslab.data.preprocessing import Preprocessing
from reslab.data.shards import INDEX_NAME, check_shards, index_checksum, load_shards
from reslab.errors import DataError

VIEW = Preprocessing(height=32, width=32, channels=3, resize=36)


@pytest.fixture(scope="module")
def folder(photos):
    return load_data(photos, kind="photos", view=VIEW)


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "shards"
    report = pack_shards(folder, out, shard_bytes=8 << 20)
    assert report.num_images == {"train": 200, "val": 200}
    assert len(report.shards) == 6
    return out


def test_shards_hold_the_same_photos_by_the_same_numbers_and_digest(folder, packed):
    shards = load_data(packed, kind="photos", view=VIEW)
    assert (shards.name, shards.classes) == (folder.name, folder.classes)
    for role, split in folder.splits.items():
        other = shards.split(role)
        assert other.digest == split.digest
        np.testing.assert_array_equal(other.labels, split.labels)
        for index in range(0, 200, 9):
            assert other.file(index) == split.file(index)
            assert other.name(index) == split.name(index)
    np.testing.assert_array_equal(shards.split("val").read(5, 9), folder.split("val").read(5, 9))
    assert list(load_data(packed, kind="photos", view=VIEW, roles=["val"]).splits) == ["val"]


def test_webdataset_reads_them(folder, packed):
    webdataset = pytest.importorskip("webdataset")
    paths = sorted(str(path) for path in packed.glob("train-*.tar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files to the collector
        samples = list(webdataset.WebDataset(paths, shardshuffle=False, empty_check=False))
        gc.collect()
    train = folder.split("train")
    order = np.random.default_rng(0).permutation(200)
    assert [int(sample["cls"]) for sample in samples] == train.labels[order].tolist()
    for place in range(0, 200, 25):
        assert samples[place]["jpg"] == train.file(int(order[place]))


def test_the_same_photos_give_the_same_bytes(folder, packed, tmp_path):
    pack_shards(folder, tmp_path, shard_bytes=8 << 20)
    names = sorted(path.name for path in packed.iterdir())
    assert names == sorted(path.name for path in tmp_path.iterdir())
    assert all((tmp_path / name).read_bytes() == (packed / name).read_bytes() for name in names)


def test_shards_on_a_server_are_read_by_ranges(folder, packed, server):
    asked = []

    def respond(handler, number):
        content = (packed / handler.path.lstrip("/").removeprefix("data/")).read_bytes()
        asked.append(handler.headers["Range"])
        if number % 5 == 3:
            handler.answer(b"", status=503)  # one in five has to be asked for again
        elif match := re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers["Range"] or ""):
            handler.answer(content[int(match[1]) : int(match[2]) + 1], status=206)
        else:
            handler.answer(content)

    server.respond = respond
    val = load_data(f"{server.url}/data/", kind="photos", view=VIEW, roles=["val"]).split("val")
    assert val.digest == folder.split("val").digest
    for index in (0, 150, 3, 77):
        assert val.file(index) == folder.split("val").file(index)
    assert len(asked) < 9
    np.testing.assert_array_equal(val.read(2, 5), folder.split("val").read(2, 5))


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [(404, b"", "it answers 404"), (200, b"whole", "does not understand ranges"), (206, b"short", "is cut short")],
)
def test_a_server_that_cannot_is_told_of(packed, server, status, body, message):
    def respond(handler, _):
        if handler.path.endswith(INDEX_NAME):
            handler.answer((packed / INDEX_NAME).read_bytes())
        else:
            handler.answer(body, status=status)

    server.respond = respond
    val = load_shards(server.url, VIEW).split("val")
    with pytest.raises(DataError, match=message):
        val.file(0)


def test_no_server_gets_a_sentence():
    with pytest.raises(DataError, match=r"cannot read http://127\.0\.0\.1:9/index"):
        load_shards("http://127.0.0.1:9/", VIEW)
    with pytest.raises(DataError, match=r"cannot read http://\[::1"):
        load_shards("http://[::1", VIEW)


def test_damage_is_told_and_nothing_is_overwritten(folder, packed, tmp_path):
    with pytest.raises(DataError, match="has a packed data set already"):
        pack_shards(folder, packed)
    with pytest.raises(DataError, match="cannot read the index"):
        load_shards(tmp_path, VIEW)

    def copied(name: str):
        out = tmp_path / name
        out.mkdir()
        for path in packed.iterdir():
            (out / path.name).write_bytes(path.read_bytes())
        return out

    whole = (packed / INDEX_NAME).read_bytes()
    damages = (b"", b"\0" * 100, whole[: len(whole) // 2], whole.replace(b'"reslab"', b'"Reslab"'))
    for number, content in enumerate(damages):
        damaged = copied(f"index{number}")
        (damaged / INDEX_NAME).write_bytes(content)
        with pytest.raises(DataError, match=r"index of .* is damaged"):
            load_data(damaged, kind="photos", view=VIEW)
    lost = copied("lost")
    (lost / "val-000001.tar").unlink()
    with pytest.raises(DataError, match=r"lacks the shard 'val-000001\.tar'"):
        load_data(lost, kind="photos", view=VIEW)
    short = copied("short")
    (short / "val-000001.tar").write_bytes((packed / "val-000001.tar").read_bytes()[:5000])
    val = load_data(short, kind="photos", view=VIEW).split("val")
    with pytest.raises(DataError, match=r"val-000001\.tar is cut short"):
        val.subset(np.arange(200)).read(0, 200)
    with pytest.raises(DataError, match="is not the shard that the index was written for"):
        check_shards(short)
    check_shards(packed)


def test_somebody_elses_files_are_left_alone(folder, tmp_path):
    (tmp_path / "train-000000.tar").write_text("precious")
    with pytest.raises(DataError, match="is not empty"):
        pack_shards(folder, tmp_path)
    assert (tmp_path / "train-000000.tar").read_text() == "precious"
    with pytest.raises(DataError, match="is not a folder"):
        pack_shards(folder, tmp_path / "train-000000.tar")


def rewritten(packed, out, about=None, *, checksum=True, **columns):
    """A packed folder with an index that says something else, with its checksum or without."""
    out.mkdir()
    for path in packed.glob("*.tar"):
        (out / path.name).symlink_to(path)
    content = (packed / INDEX_NAME).read_bytes()
    described = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["reslab"])
    tensors = load(content)
    tensors |= {f"val.{name}": change(tensors[f"val.{name}"].copy()) for name, change in columns.items()}
    described |= about or {}
    if checksum:
        with contextlib.suppress(AttributeError, TypeError):  # words of other kinds have none
            described["checksum"] = index_checksum(described, tensors)
    (out / INDEX_NAME).write_bytes(save(tensors, {"reslab": json.dumps(described)}))
    return out


def with_first(value):
    def change(column):
        column[0] = value
        return column

    return change


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": with_first(200)},
        {"labels": with_first(-1)},
        {"labels": lambda column: column.astype(np.float32)},
        {"labels": lambda column: np.append(column, 0)},
        {"shard": with_first(-1)},
        {"shard": with_first(99)},
        {"size": with_first(10**15)},
        {"start": with_first(-5)},
        {"start": lambda column: column.reshape(2, 100)},
        {"ends": with_first(-3)},
        {"ends": lambda column: column[::-1].copy()},
        {"text": lambda column: column[:-1].copy()},
        {name: lambda column: column[:0].copy() for name in ("labels", "shard", "start", "size", "ends")},
        {"about": {"classes": "abc"}},
        {"about": {"classes": [1, 2]}},
        {"about": {"name": {}}},
        {"about": {"note": None}},
        {"about": {"roles": []}},
        {"about": {"roles": ["validation"]}},
        {"about": {"shards": ["a.tar"]}},
        {"about": {"shards": {"../a.tar": ""}}},
        {"about": {"shards": {"http://127.0.0.1/a.tar": ""}}},
        {"about": {"format": 3}},
    ],
)
def test_an_index_that_makes_no_sense_is_refused(packed, tmp_path, changes):
    with pytest.raises(DataError, match=r"index of .* is damaged|is of format 3"):
        load_data(rewritten(packed, tmp_path / "changed", **changes), kind="photos", view=VIEW)
    load_data(rewritten(packed, tmp_path / "same"), kind="photos", view=VIEW)


def test_an_index_that_was_changed_to_other_sense_is_told(packed, tmp_path):
    with pytest.raises(DataError, match="another checksum than it states"):
        load_data(rewritten(packed, tmp_path / "changed", checksum=False, labels=with_first(1)), view=VIEW)


def test_a_photo_with_a_flipped_bit_is_told(packed, tmp_path):
    """One that decodes all the same, to other pixels."""
    out = tmp_path / "copy"
    shutil.copytree(packed, out)
    files = load_data(out, kind="photos", view=VIEW).split("val").files
    path = out / files.shards[int(files.shard[3])]
    content = bytearray(path.read_bytes())
    content[int(files.start[3]) + int(files.sizes[3]) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"\.tar is damaged: .* has another checksum than the index states"):
        files.read(3)
    assert files.read(4)


def test_shards_of_the_first_format_are_read(packed, tmp_path):
    out = rewritten(packed, tmp_path / "first", {"format": 1}, checksum=False)
    content = (out / INDEX_NAME).read_bytes()
    tensors = {name: value for name, value in load(content).items() if not name.endswith(".crc")}
    words = json.loads(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]["reslab"])
    del words["checksum"]
    (out / INDEX_NAME).write_bytes(save(tensors, {"reslab": json.dumps(words)}))
    ours, theirs = (load_data(place, kind="photos", view=VIEW).split("val") for place in (out, packed))
    assert ours.digest == theirs.digest
    assert ours.file(0) == theirs.file(0)


def test_an_interrupted_packing_leaves_no_data_set(folder, tmp_path):
    photos_done = itertools.count()

    def stop(_: int) -> None:
        if next(photos_done) == 150:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_shards(folder, tmp_path, shard_bytes=8 << 20, advance=stop)
    assert not (tmp_path / INDEX_NAME).exists()
    for path in tmp_path.glob("*.tar"):
        with tarfile.open(path) as tar:
            assert len(tar.getmembers()) > 0
    assert not list(tmp_path.glob("*.partial"))
    (tmp_path / "val-000099.tar").touch()  # of a try with smaller shards
    pack_shards(folder, tmp_path, shard_bytes=8 << 20)
    assert load_data(tmp_path, kind="photos", view=VIEW).split("val").digest == folder.split("val").digest
    assert len(list(tmp_path.iterdir())) == 7

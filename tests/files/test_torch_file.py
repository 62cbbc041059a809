"""Files that torch saved, or that claim to be: small ones that ask for time or memory without end are refused first."""

import contextlib
import io
import pickle
import resource
import struct
import time
import zipfile

import pytest
import torch

from reslab.errors import WeightsError
from reslab.files import pickle_survey, torch_file
from reslab.files.pickle_survey import DamagedFileError
from reslab.files.torch_file import load_torch_file
from reslab.models.weight_files import open_tables

SECONDS = 5  # far more than any refusal takes, on a busy core


def write(path, pickled, *, compression=zipfile.ZIP_STORED, **members):
    """An archive as torch writes it, of a pickle by hand and of tensors' bytes."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("w/data.pkl", pickled)
        archive.writestr("w/version", "3\n")
        for key, content in members.items():
            archive.writestr(f"w/data/{key.removeprefix('_')}", content)
    return path


def refused(path, said):
    before, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedFileError, match=said):
        load_torch_file(path)
    assert time.process_time() - before < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300 << 10  # KiB


def under(name, value):
    """A table of one entry."""
    return b"\x80\x02}X" + struct.pack("<I", len(name)) + name.encode() + value + b"s."


def laughs(times, opening=b")", pair=b"h\x00h\x00\x86"):
    """Something that holds twice what was before, so many times over."""
    return opening + (b"q\x00" + b"0" + pair) * times


TUPLES = laughs(60)
DEEP_TUPLES = b")" + b"\x85" * 200_000


def storage(numel, kind="FloatStorage", key="0"):
    """A reference to a tensor's values."""
    return (
        b"(X\x07\x00\x00\x00storagec" + f"torch\n{kind}\n".encode() + b"X" + struct.pack("<I", len(key)) + key.encode()
        + b"X\x03\x00\x00\x00cpu\x8a\x08" + struct.pack("<q", numel) + b"tQ"
    )  # fmt: skip


def tensor(numel, kind="FloatStorage"):
    size = b"\x8a\x08" + struct.pack("<q", numel)
    ordered = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage(numel, kind)
        + b"K\x00"
        + size
        + b"\x85K\x01\x85\x89"
        + ordered
        + b"tR"
    )


def test_the_pickles_made_here_are_those_that_torch_reads(tmp_path):
    write(tmp_path / "w.pth", under("a", tensor(2)), _0=struct.pack("<2f", 1.5, -2.0))
    assert load_torch_file(tmp_path / "w.pth")["a"].tolist() == [1.5, -2.0]


SMALL_FILES = {
    "tuples of tuples as a name": (b"\x80\x02}" + TUPLES + b"K\x01s.", "tuples within tuples without end"),
    "tuples of tuples in a set": (
        b"\x80\x02cbuiltins\nset\n](" + TUPLES + b"e\x85R.",
        "tuples within tuples without end",
    ),
    "tuples of tuples": (under("a", TUPLES), "tuples within tuples without end"),
    "deep tuples": (b"\x80\x02}" + DEEP_TUPLES + b"K\x01s.", "tuples within tuples without end"),
    "the same tuple as a name again and again": (
        b"\x80\x02}" + laughs(18) + b"q\x010" + b"h\x01K\x01s" * 200 + b".",
        "names that nobody gives",
    ),
    "huge numbers as names": (b"\x80\x02}\x8a\x0a" + b"\x01" * 10 + b"K\x01s.", "names that nobody gives"),
    "memory of a given size": (
        b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\0\0\0\0\x10\x85R.",
        "without saying what is in it",
    ),
    "a tensor of a given size": (
        b"\x80\x02ctorch\nFloatTensor\n\x8a\x05\0\0\0\0\x10\x85R.",
        "without saying what is in it",
    ),
    "a storage of a given size": (
        b"\x80\x02ctorch.storage\nUntypedStorage\n\x8a\x05\0\0\0\0\x10\x85R.",
        "without saying what is in it",
    ),
    "more values than there are": (under("a", tensor(1 << 40)), "says that a tensor has 4,398,046,511,104 bytes"),
    "fewer than none": (under("a", tensor(-1)), "a tensor's length is no number"),
    "a text of four gigabytes": (b"\x80\x02X\xff\xff\xff\xffab.", "more than 32 MiB besides the tensors"),
    "a text of petabytes": (b"\x80\x04\x8d\0\0\0\0\0\0\1\0ab.", "more than 32 MiB besides the tensors"),
    "a text of exabytes": (b"\x80\x04\x8d" + b"\xff" * 8 + b"ab.", "broken or cut short"),
    "without an end": (b"\x80\x02}", "torch cannot make sense of its bytes"),
    "the oldest protocol": (b"(i__main__\nx\n.", "by a protocol that torch does not write"),
}


@pytest.mark.parametrize(("pickled", "said"), SMALL_FILES.values(), ids=SMALL_FILES)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_small_files_that_ask_for_much_are_refused_at_once(tmp_path, pickled, said, zipped):
    path = tmp_path / "w.pth"
    if zipped:
        write(path, pickled)
    else:
        stream = io.BytesIO()
        torch.save({}, stream, _use_new_zipfile_serialization=False)
        beginning = stream.getvalue()
        path.write_bytes(beginning[: beginning.rindex(b"\x80\x02}q\x00.")] + pickled + b"\x80\x02].")
        said = said.replace(
            "says that a tensor has 4,398,046,511,104 bytes", "tensors have more bytes than are in the file"
        )
    refused(path, said)


def in_itself(make):
    value = make()
    if isinstance(value, list):
        value.append(value)
    else:
        value["state_dict"] = value
    return value


def doubled(times):
    value = []
    for _ in range(times):
        value = [value, value]
    return value


@pytest.mark.parametrize("value", [doubled(60), in_itself(list), in_itself(dict)], ids=["lists", "list", "table"])
def test_what_holds_itself_or_much_of_one_thing_is_walked_once(tmp_path, value):
    """Lists are never looked into, and a table is looked into once."""
    write(tmp_path / "w.pth", pickle.dumps({"model": value}, 2))
    before = time.process_time()
    with pytest.raises(WeightsError, match=r"w.pth holds no table of named tensors"):
        open_tables(tmp_path / "w.pth")
    assert time.process_time() - before < SECONDS


def test_an_archive_that_unpacks_to_far_more_is_refused_and_one_that_is_packed_is_read(tmp_path):
    content = bytes(torch_file.FREE_EXPANSION)
    write(tmp_path / "bomb.pth", under("a", tensor(len(content) // 4)), compression=zipfile.ZIP_DEFLATED, _0=content)
    assert (tmp_path / "bomb.pth").stat().st_size < 100_000
    refused(tmp_path / "bomb.pth", r"it would unpack to 67,\d\d\d,\d\d\d bytes, \d+ times its size")
    write(tmp_path / "packed.pth", under("a", tensor(1000)), compression=zipfile.ZIP_DEFLATED, _0=bytes(4000))
    assert load_torch_file(tmp_path / "packed.pth")["a"].tolist() == [0.0] * 1000


def test_an_archive_whose_members_lie_in_one_another_is_refused(tmp_path):
    """Forty names for the same bytes; the directory is what torch goes by."""
    path = write(tmp_path / "w.pth", under("a", tensor(1)), _0=bytes(2 << 20))
    with zipfile.ZipFile(path, "a") as archive:
        info = archive.getinfo("w/data/0")
        for number in range(1, 41):
            other = zipfile.ZipInfo(f"w/data/{number}")
            other.header_offset, other.CRC = info.header_offset, info.CRC
            other.file_size = other.compress_size = info.file_size
            archive.filelist.append(other)
        archive._didModify = True
    refused(path, "it would unpack to .* times its size")


@pytest.mark.parametrize("change", [b"w/data/0", b"w/version", b"PK\x01\x02"])
def test_broken_archives_are_sentences(tmp_path, change):
    path = write(tmp_path / "w.pth", under("a", tensor(1)), _0=bytes(4))
    path.write_bytes(path.read_bytes().replace(change, b"\xff" * len(change)))
    with pytest.raises(DamagedFileError):
        load_torch_file(path)


def test_torchs_archives_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(3)}, tmp_path / "w.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_torch_file(tmp_path / "w.pth")["a"].tolist() == [1.0] * 3


def test_limits_leave_room_for_what_people_have(tmp_path):
    """A table of 2,000 tensors takes a hundredth; ResNet-1202 with momentum and an average has 19,000."""
    state = {f"module.layer3.{number}.bn2.running_mean": torch.zeros(1) for number in range(2_000)}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth") as archive:
        (pickled,) = (info.file_size for info in archive.infolist() if info.filename.endswith("data.pkl"))
    assert pickled < pickle_survey.MOST_PICKLE_BYTES / 100
    assert len(load_torch_file(tmp_path / "w.pth")["state_dict"]) == 2_000


def test_random_bytes_in_a_pickle_lead_to_a_sentence_or_a_value(tmp_path):
    """Whatever the bytes, there is no other exception, and none takes long."""
    generator = torch.Generator().manual_seed(0)
    whole = pickle.dumps({"a": (1, 2.5, "text", [None, True], {"b": b"bytes"})}, 2)
    read = 0
    for _ in range(150):
        pickled = bytearray(whole)
        for place in torch.randint(len(whole), (3,), generator=generator).tolist():
            pickled[place] = int(torch.randint(256, (), generator=generator))
        write(tmp_path / "w.pth", bytes(pickled))
        with contextlib.suppress(DamagedFileError):
            load_torch_file(tmp_path / "w.pth")
            read += 1
    assert 0 < read < 150  # some change a value alone, and most are refused

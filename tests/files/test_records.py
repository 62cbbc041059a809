"""A record says with a checksum what was written, and a reader notices any other content."""

import json

import pytest

from reslab.errors import CheckpointError
from reslab.files.records import read_record, write_record

RECORD = {"schema_version": 2, "name": "résumé", "rates": [0.1, 1e-05], "none": None, "nested": {"count": 3}}


def read(path, **arguments):
    asked = {"schema_version": 2, "older": (1,), "checksum": True} | arguments
    return read_record(path, error=CheckpointError, if_missing="there is none.", **asked)


@pytest.fixture
def path(tmp_path):
    write_record(tmp_path / "record.json", RECORD)
    return tmp_path / "record.json"


def test_it_comes_back_equal_and_can_be_written_again(path):
    assert read(path) == RECORD
    before = path.read_bytes()
    write_record(path, read(path))
    assert path.read_bytes() == before


def test_every_flipped_bit_is_noticed_or_changes_nothing(path):
    content, messages = path.read_bytes(), set()
    for position in range(8 * len(content)):
        changed = bytearray(content)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            found = read(path)
        except CheckpointError as error:
            messages.add(str(error))
        else:
            assert found == RECORD  # 1e-05 and 1E-05 are the same number
    assert messages
    assert all("record.json" in message for message in messages)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "its checksum differs; put back a copy"),
        ({"more": 1}, "its checksum differs"),
        ({"schema_version": 1}, "its checksum differs"),
        ({"schema_version": 3}, "not a record of schema version 2"),
        ({"checksum": None}, "lacks its checksum"),
    ],
)
def test_a_change_by_hand_is_noticed(path, change, message):
    values = json.loads(path.read_text()) | change
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not None or name == "none"}))
    with pytest.raises(CheckpointError, match=message):
        read(path)


def test_an_older_version_needs_no_checksum(path):
    path.write_text(json.dumps({"schema_version": 1, "name": "old"}))
    assert read(path)["name"] == "old"
    path.write_text(json.dumps({"name": "older"}))
    assert read(path, older=(None,))["name"] == "older"
    with pytest.raises(CheckpointError, match="schema version"):
        read(path)

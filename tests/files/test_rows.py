"""Rows that are changed, missing or at another place are noticed; a line that a crash cut short is not one."""

import pytest

from reslab.errors import CheckpointError
from reslab.files.rows import RowLog

ROWS = [{"iteration": number, "loss": 2.5 / number} for number in range(1, 6)]


def log(path, **arguments) -> RowLog:
    return RowLog(path, **{"anchor": "the run", "error": CheckpointError} | arguments)


@pytest.fixture
def path(tmp_path):
    written = log(tmp_path / "rows.jsonl")
    for row in ROWS:
        written.append(row)
    written.sync()
    return tmp_path / "rows.jsonl"


def test_rows_come_back_and_others_follow(path):
    again = log(path)
    assert again.read() == ROWS
    again.append({"iteration": 6})
    assert log(path).read() == [*ROWS, {"iteration": 6}]


def test_no_file_has_no_rows(tmp_path):
    assert log(tmp_path / "none").read() == []
    log(tmp_path / "none").sync()
    assert not (tmp_path / "none").exists()
    log(tmp_path / "none").keep_none()
    assert (tmp_path / "none").read_bytes() == b""


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_last_line_that_a_crash_cut_short_is_left_out(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    assert log(path).read() == (ROWS if cut == 1 else ROWS[:-1])


def _swapped(lines):
    return [lines[1], lines[0], *lines[2:]]


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (_swapped, 1),
        (lambda lines: lines[1:], 1),
        (lambda lines: lines[:2] + lines[3:], 3),
        (lambda lines: [*lines[:3], lines[3].replace(b"0.6", b"0.7"), lines[4]], 4),
        (lambda lines: [*lines[:4], lines[4].replace(b"0.5", b"0.6")], 5),
        (lambda lines: [*lines[:2], b"[]\n", *lines[3:]], 3),
        (lambda lines: [*lines, lines[4]], 6),
        (lambda lines: [b'{"iteration": 1}\n', *lines[1:]], 1),
    ],
)
def test_a_changed_file_is_noticed_at_its_line(path, change, number):
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(CheckpointError, match=rf"rows\.jsonl, line {number}, is damaged"):
        log(path).read()


def test_rows_of_another_run_are_noticed(path):
    with pytest.raises(CheckpointError, match="of another run"):
        log(path, anchor="another run").read()


def test_every_flipped_bit_is_noticed_where_it_counts(path):
    content, messages = path.read_bytes(), set()
    read = log(path)
    read.read()
    for position in range(8 * len(content)):
        changed = bytearray(content)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            assert log(path).keep(read.mark, "the checkpoint") == ROWS
        except CheckpointError as error:
            messages.add(str(error))
    assert messages
    assert all("rows.jsonl" in message for message in messages)


def test_rows_that_somebody_counts_on_must_be_there(path):
    read = log(path)
    read.read()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3]))
    assert log(path).read() == ROWS[:3]
    with pytest.raises(CheckpointError, match="lacks rows that the checkpoint counts on: it has 3 of 5"):
        log(path).keep(read.mark, "the checkpoint")


def test_what_lies_after_a_mark_is_cut_off_whatever_it_is(path):
    first = log(path.with_name("first.jsonl"))
    for row in ROWS[:2]:
        first.append(row)
    with path.open("ab") as stream:
        stream.write(b"\0\0\0\n\xff\n")
    kept = log(path)
    assert kept.keep(first.mark, "the checkpoint") == ROWS[:2]
    assert path.read_bytes() == first.path.read_bytes()
    kept.append(ROWS[2])
    assert log(path).read() == ROWS[:3]


def test_rows_without_checksums_are_read_where_they_are_expected_and_get_them(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"iteration": 1}\n{"iteration": 2}\n{"iterat')
    with pytest.raises(CheckpointError, match="line 1"):
        log(path).read()
    old = log(path, bare_too=True)
    assert old.read() == [{"iteration": 1}, {"iteration": 2}]
    assert old.keep_where(lambda row: row["iteration"] < 2) == [{"iteration": 1}]
    old.append({"iteration": 3})
    assert log(path).read() == [{"iteration": 1}, {"iteration": 3}]

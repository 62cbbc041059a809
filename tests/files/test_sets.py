"""Files that belong together change together, whenever the process ends that changes them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reslab.errors import WeightsError
from reslab.files.sets import finish_replacement, read_set, replace_set

NAMES = ("a", "b", "c")

WRITER = """
import sys
from pathlib import Path
from reslab.files.sets import replace_set

number = 0
while True:
    number += 1
    with replace_set(Path(sys.argv[1]), ("a", "b", "c")) as temporary:
        for path in temporary.values():
            path.write_text(str(number))
"""


class Killed(BaseException):
    """As if the process ended there."""


def write(folder: Path, text: str) -> None:
    with replace_set(folder, NAMES) as temporary:
        for path in temporary.values():
            path.write_text(text)


def contents(folder: Path) -> set[str]:
    finish_replacement(folder, WeightsError)
    return {(folder / name).read_text() for name in NAMES}


def test_files_are_written_and_replaced_and_nothing_else_stays(tmp_path):
    for text in ("old", "new"):
        write(tmp_path / "deep" / "er", text)
        assert contents(tmp_path / "deep" / "er") == {text}
        assert sorted(path.name for path in (tmp_path / "deep" / "er").iterdir()) == list(NAMES)


@pytest.mark.parametrize("function", ["replace", "fsync", "unlink"])
def test_whole_old_or_whole_new_wherever_it_ends(tmp_path, monkeypatch, function):
    seen = set()
    for number in range(20):
        folder = tmp_path / str(number)
        write(folder, "old")
        calls, real = iter(range(100)), getattr(os, function)

        def killed(*arguments, real=real, calls=calls, number=number, **more):
            if next(calls) == number:
                raise Killed
            return real(*arguments, **more)

        with monkeypatch.context() as patch:
            patch.setattr(os, function, killed)
            try:
                write(folder, "new")
            except Killed:
                ended = True
            else:
                ended = False
        (found,) = contents(folder)
        seen.add(found)
        assert not list(folder.glob(".replacing-*"))
        write(folder, "newer")
        assert contents(folder) == {"newer"}
        if not ended:
            break
    assert not ended
    assert seen == ({"new"} if function == "unlink" else {"old", "new"})


def test_an_error_before_the_files_are_written_leaves_the_old_ones(tmp_path):
    write(tmp_path, "old")
    with pytest.raises(ValueError, match="no"), replace_set(tmp_path, NAMES) as temporary:  # noqa: PT012
        temporary["a"].write_text("new")
        raise ValueError("no")
    assert contents(tmp_path) == {"old"}
    assert sorted(path.name for path in tmp_path.iterdir()) == list(NAMES)


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose replacement ended after its journal was written; the journal."""
    write(folder, "old")

    def killed(source, target):
        if Path(target).name in NAMES:
            raise Killed
        return real(source, target)

    real = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(Killed):
            write(folder, "new")
    (journal,) = folder.glob(".replacing-*.json")
    return journal


def test_a_damaged_journal_is_named(tmp_path, monkeypatch):
    journal = interrupted(tmp_path, monkeypatch)
    journal.write_text(journal.read_text().replace('"a"', '"d"'))
    with pytest.raises(WeightsError, match=journal.name):
        finish_replacement(tmp_path, WeightsError)


def test_a_journal_that_cannot_be_followed_is_a_sentence(tmp_path, monkeypatch):
    interrupted(tmp_path, monkeypatch)

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(WeightsError, match=r"cut short, and cannot be finished: Permission denied; run the command"):
        finish_replacement(tmp_path, WeightsError)


def test_a_reader_beside_a_writer_sees_one_set_or_the_next(tmp_path):
    write(tmp_path, "0")

    def read() -> str:
        texts = {(tmp_path / name).read_text() for name in NAMES}
        if len(texts) != 1:
            raise WeightsError("mixed")
        return texts.pop()

    seen, messages = set(), set()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)]) as process:
        deadline = time.monotonic() + 10
        while len(seen) < 20 and time.monotonic() < deadline:
            try:
                seen.add(read_set(tmp_path, "c", read, WeightsError))
            except WeightsError as error:  # this writer never pauses
                messages.add(str(error))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(seen) == 20
    assert all("were replaced while they were read" in message for message in messages)
    assert len(contents(tmp_path)) == 1

"""What is said on stderr never costs what it is of, and stdout takes every text."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.cli.main import main
from reslab.cli.output import print_json
from reslab.console import error_console, progress_bar
from reslab.streams import forgiving, say, stdout_takes

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
RESLAB = [sys.executable, "-m", "reslab"]


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


@needs_full
@pytest.mark.parametrize("broken", ["full", "closed pipe", "closed", "none"])
def test_what_cannot_be_said_is_dropped(broken, monkeypatch):
    made = {"full": lambda: FULL.open("w", buffering=1), "closed pipe": closed_pipe, "closed": io.StringIO}
    stream = made[broken]() if broken in made else None
    if broken == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    say("a line")
    error_console().print("a [b]table[/b]")
    with progress_bar() as bar:
        bar.update(bar.add_task("working", total=2), advance=1)
    assert forgiving(stream).write("four") == 4
    assert not forgiving(stream).isatty()
    if stream is not None and broken != "closed":
        with pytest.raises(OSError, match=r"No space left|Broken pipe"):
            stream.write("a line\n")  # it is broken: what it holds back is dropped with it
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.close()


def test_what_can_be_said_is(capsys):
    say("a line")
    assert capsys.readouterr().err == "a line\n"
    assert forgiving(forgiving(sys.stderr)).write("x") == 1


@pytest.fixture
def folder(tmp_path):
    """Class folders with names that ASCII and Latin-1 lack, and a damaged file."""
    for name in ("고양이", "собака"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((20, 20, 3), len(name), np.uint8)).save(tmp_path / name / "é.png")
    (tmp_path / "собака" / "щенок.png").write_bytes(b"no picture")
    return tmp_path


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_stdout_takes_every_name(folder, encoding, monkeypatch):
    def said(*arguments):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
        assert main(["data", "check", str(folder), *arguments]) == 1
        sys.stdout.flush()
        return written.getvalue().decode(encoding)

    paths = [finding["path"] for finding in json.loads(said("--json"))["findings"]]
    assert "собака/щенок.png" in paths
    assert ("щенок" in said()) == (encoding == "utf-8")
    assert ("\\u0449\\u0435\\u043d\\u043e\\u043a" in said()) == (encoding != "utf-8")


def test_names_that_are_not_utf_8_are_json(capsys):
    name = os.fsdecode(b"caf\xe9.png")
    assert not stdout_takes(name)
    print_json({"path": name})
    assert json.loads(capsys.readouterr().out) == {"path": name}


@needs_full
def test_a_stdout_that_is_full_gets_a_sentence():
    with FULL.open("w") as full:
        done = subprocess.run([*RESLAB, "models"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (2, "reslab: No space left on device: standard output\n")


def test_a_reader_that_has_had_enough_gets_no_traceback():
    with subprocess.Popen([*RESLAB, "models", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr.read() == b""


def test_files_do_not_get_the_numbers_of_missing_streams(tmp_path):
    """A process started without stdout and stderr opens a file: what is printed does not end up in it."""
    program = (
        "from reslab.streams import open_missing_streams\n"
        "import os, sys\n"
        "open_missing_streams()\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w')\n"
        "print('on stdout'); print('on stderr', file=sys.stderr); os.write(2, b'from a library')\n"
        "file.write('mine'); file.close()\n"
    )
    shell = 'exec "$0" -c "$1" <&- >&- 2>&-'
    assert subprocess.run(["sh", "-c", shell, sys.executable, program]).returncode == 0
    assert (tmp_path / "file").read_text() == "mine"
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *RESLAB, "models"])
    assert done.returncode == 0


@needs_full
@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&1 >/dev/null | head -c 5"])
def test_a_training_goes_on_without_its_progress(redirection, tmp_path):
    command = f"{sys.executable} -m reslab train resnet8 --data digits --iterations 12 --run-dir {tmp_path}/run"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command} {redirection}"], stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert (tmp_path / "run" / "result.json").is_file()


def test_sigterm_leaves_no_temporary_files(tmp_path):
    """Any command: here one that has begun a file, and waits."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "import reslab.cli.env as env\n"
        "from dataclasses import replace\n"
        "from reslab.cli.main import main\n"
        "from reslab.files.atomic import atomic_path\n"
        "def run(asked):\n"
        "    with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "        temporary.write_text('half')\n"
        "        print('begun', flush=True)\n"
        "        time.sleep(60)\n"
        "env.COMMANDS[''] = replace(env.COMMANDS[''], run=run)\n"
        "sys.exit(main(['env']))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "labels.csv")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n", process.stderr.read()
        process.terminate()
        assert process.wait(30) == 143
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []

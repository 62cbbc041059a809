"""A run for all that is asked of finished runs, trained once by the command line itself."""

import shutil
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def trained(made_once):
    """A folder with the run of a small net on the digits, in run/, and with what the command said, in out and err."""

    def train(folder):
        command = [sys.executable, "-m", "reslab", "train", "resnet8", "--iterations", "60", "--json"]
        command += ["--run-dir", str(folder / "run"), "--hardware.threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        (folder / "out").write_text(done.stdout)
        (folder / "err").write_text(done.stderr)

    return made_once("trained", train)


@pytest.fixture(scope="module")
def finished(trained, tmp_path_factory):
    """The run, for one file's tests to write into."""
    return shutil.copytree(trained / "run", tmp_path_factory.mktemp("runs") / "run")

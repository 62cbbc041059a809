"""A run for all that is asked of finished runs."""

import shutil

import pytest


@pytest.fixture(scope="module")
def finished(trained, tmp_path_factory):
    """The run, for one file's tests to write into."""
    return shutil.copytree(trained / "run", tmp_path_factory.mktemp("runs") / "run")

"""Pickles from anywhere give arrays and plain types, or a DataError."""

import builtins
import collections
import contextlib
import io
import os
import pickle
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reslab.errors import DataError
from reslab.files.unpickle import load_plain_pickle

PROTOCOLS = [2, 3, 4, 5]
ARRAYS = {
    "bytes": np.arange(12, dtype=np.uint8).reshape(3, 4),
    "floats": np.linspace(0, 1, 5),
    "big-endian": np.arange(5, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "strings": np.array(["cat", "dog"]),
    "empty": np.empty((0, 3072), np.uint8),
    "scalar": np.array(3.5),
}
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(min_size=1),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)
valid_pickles = st.builds(
    lambda array, protocol: pickle.dumps({b"data": array, b"labels": [1, 2, 300], b"name": "x"}, protocol),
    st.sampled_from(list(ARRAYS.values())),
    st.sampled_from(PROTOCOLS),
)


class Call:
    """Pickles as a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


@contextlib.contextmanager
def limited_memory(gib: int) -> Iterator[None]:
    """Lets this process take so much more address space, and raises MemoryError beyond."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (gib << 30), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def load_or_refuse(content: bytes) -> None:
    """Fails on any exception but a DataError."""
    with contextlib.suppress(DataError):
        load_plain_pickle(content, "file")


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_come_back(array: np.ndarray[Any, Any], protocol: int) -> None:
    read = load_plain_pickle(pickle.dumps({"array": array}, protocol), "file")["array"]
    assert type(read) is np.ndarray
    assert read.dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, array)


@given(plain_values, st.sampled_from(PROTOCOLS))
@settings(deadline=None, max_examples=100, derandomize=True)
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert load_plain_pickle(pickle.dumps(value, protocol), "file") == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_empty_bytes_come_back(protocol: int) -> None:
    assert load_plain_pickle(pickle.dumps([b""], protocol), "file") == [b""]


def test_strings_of_python_2_stay_bytes() -> None:
    python_2 = b"\x80\x02}q\x01(U\x04dataq\x02U\x05\x00caf\xe9q\x03U\x06labelsq\x04]q\x05(K\x01K\x02eu."
    assert load_plain_pickle(python_2, "file") == {b"data": b"\x00caf\xe9", b"labels": [1, 2]}


def test_arrays_of_old_numpy_come_back() -> None:
    python_2 = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
        b"(I1\n(I2\nI2\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nS'\\x00\\x01\\x02\\xff'\ntb."
    )
    read = load_plain_pickle(python_2, "file")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, [[0, 1], [2, 255]])


@pytest.mark.parametrize("protocol", [0, *PROTOCOLS])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, "system"),
        (builtins.eval, "eval"),
        (builtins.exec, "exec"),
        (builtins.getattr, "getattr"),
        (builtins.open, "open"),
        (subprocess.call, "call"),
        (np.fromfile, "fromfile"),
        (np.load, "load"),
        (np.save, "save"),
        (collections.OrderedDict, "OrderedDict"),
        (Path, "Path"),
    ],
)
def test_calls_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Callable[..., Any], name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(Call(function, "touch trace"), protocol)
    with pytest.raises(DataError, match=rf"^cifar/batch: the pickle asks for \S+\.{name},"):
        load_plain_pickle(content, "cifar/batch")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["cposix\nsystem\n.", "c__builtin__\neval\n.", "cnumpy\nload\n."])
def test_even_a_mention_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="only arrays and plain types are admitted"):
        load_plain_pickle(name.encode(), "file")


@pytest.mark.parametrize(
    "name", ["numpy\nndarray.tofile", "numpy\ndtype.__class__", "numpy.core.multiarray\nfrombuffer"]
)
def test_what_lies_beside_an_admitted_name_is_refused(name: str) -> None:
    module, _, attribute = name.partition("\n")
    content = b"\x80\x04" + b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (module, attribute))
    with pytest.raises(DataError, match="only arrays and plain types are admitted"):
        load_plain_pickle(content + b"\x93.", "file")


def test_another_codec_is_refused() -> None:
    with pytest.raises(DataError, match="only latin1 is admitted"):
        load_plain_pickle(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "file")


@pytest.mark.parametrize("protocol", [0, *PROTOCOLS])
def test_persistent_ids_are_refused(protocol: int) -> None:
    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> str | None:
            return "elsewhere" if value == "outside" else None

    stream = io.BytesIO()
    Pickler(stream, protocol).dump(["inside", "outside"])
    with pytest.raises(DataError, match=r"^file: the pickle refers to objects outside itself"):
        load_plain_pickle(stream.getvalue(), "file")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_beginning_of_a_pickle_is_refused(protocol: int) -> None:
    content = pickle.dumps({"data": np.arange(4, dtype=np.uint8), "labels": [0, 1, 2, 3]}, protocol)
    for length in range(len(content)):
        with pytest.raises(DataError, match=r"^cifar/batch"):
            load_plain_pickle(content[:length], "cifar/batch")


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda content: b"\x80\x02" + content + b"."))
@example(b"")
@example(b"(" * 100_000)
@example(b"\x80\x04" + b"]" * 50_000 + b"a" * 49_999 + b".")
@example(b"\x80\x04\x8e" + b"\xff" * 8 + b".")
@settings(deadline=None, max_examples=300, derandomize=True)
def test_random_bytes_raise_nothing_but_a_data_error(content: bytes) -> None:
    with limited_memory(gib=1):
        load_or_refuse(content)


@given(valid_pickles, st.data())
@settings(deadline=None, max_examples=300, derandomize=True)
def test_a_damaged_pickle_raises_nothing_but_a_data_error(content: bytes, data: st.DataObject) -> None:
    damaged = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with limited_memory(gib=1):
        load_or_refuse(bytes(damaged))


def in_a_process(content: bytes) -> subprocess.CompletedProcess[str]:
    """Loads a pickle and touches every value of the array in it; prints the memory used at most, in MiB."""
    program = """
import re, sys
from pathlib import Path
import numpy as np
from reslab.errors import DataError
from reslab.files.unpickle import load_plain_pickle
try:
    for value in np.asarray(load_plain_pickle(bytes.fromhex(sys.argv[1]), "file")).ravel().tolist():
        repr(value)
except DataError as error:
    print("DataError:", error, file=sys.stderr)
print(int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""
    return subprocess.run([sys.executable, "-c", program, content.hex()], capture_output=True, text=True, check=False)


def test_a_few_bytes_cannot_take_gigabytes() -> None:
    result = in_a_process(b"\x80\x02Nr\x00\x00\x00\x04.")  # "remember None as number 67,108,864"
    assert result.returncode == 0
    assert int(result.stdout) < 512


def test_bytes_cannot_pose_as_pointers() -> None:
    class Disguised:
        def __reduce__(self) -> Any:
            objects_without_the_flag = (3, "|", None, ("field",), {"field": (np.dtype("O"), 0)}, 8, 1, 0)
            return np.dtype, ("V8", False, True), objects_without_the_flag

    content = pickle.dumps(Call(np.ndarray, (1,), Disguised(), b"\x10\x20\x00\x00\x00\x00\x00\x00"), 2)
    result = in_a_process(content)
    assert result.returncode == 0, f"the process died of signal {-result.returncode}"
    assert "DataError: file" in result.stderr

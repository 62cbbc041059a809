"""Hashes depend on content, and on nothing else."""

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reslab.files.hashing import file_digest, hash_arrays, hash_json


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_a_files_digest_is_its_contents(tmp_path: Path, rng: np.random.Generator, algorithm: str, size: int) -> None:
    content = rng.bytes(size)
    (tmp_path / "file.bin").write_bytes(content)
    assert file_digest(tmp_path / "file.bin", algorithm) == hashlib.new(algorithm, content).hexdigest()


def test_an_arrays_hash_is_fixed_for_all_time() -> None:
    array = np.arange(6, dtype="<i4").reshape(2, 3)
    assert hash_arrays(array) == hashlib.sha256(b"<i4(2, 3)" + array.tobytes()).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        np.arange(6, dtype="<i4").reshape(3, 2),
        np.arange(6, dtype="<u4").reshape(2, 3),
        np.arange(6, dtype="<i8").reshape(2, 3),
        np.arange(6, dtype="<i4"),
        np.arange(1, 7, dtype="<i4").reshape(2, 3),
        np.arange(6, dtype="<i4").reshape(2, 3)[::-1],
    ],
    ids=["shape", "sign", "width", "flat", "values", "order"],
)
def test_type_shape_and_values_all_count(other: np.ndarray[Any, Any]) -> None:
    assert hash_arrays(other) != hash_arrays(np.arange(6, dtype="<i4").reshape(2, 3))


def test_the_layout_in_memory_does_not_count(rng: np.random.Generator) -> None:
    array = rng.integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)
    expected = hash_arrays(array)
    assert hash_arrays(np.asfortranarray(array)) == expected
    assert hash_arrays(np.repeat(array, 2, axis=2)[:, :, ::2]) == expected


def test_the_arrays_order_and_number_count() -> None:
    first, second = np.arange(4), np.arange(4, 8)
    hashes = {hash_arrays(first, second), hash_arrays(second, first), hash_arrays(first), hash_arrays(np.arange(8))}
    assert len(hashes) == 4


def test_empty_arrays_have_hashes_of_their_own() -> None:
    assert hash_arrays(np.empty((0, 3))) != hash_arrays(np.empty((0, 4)))


def test_the_order_of_keys_does_not_count() -> None:
    assert hash_json({"a": 1, "b": {"c": [1, 2], "d": None}}) == hash_json({"b": {"d": None, "c": [1, 2]}, "a": 1})


@pytest.mark.parametrize("other", [{"a": [2, 1]}, {"a": [1, 2.5]}, {"b": [1, 2]}, [1, 2], {"a": ["1", "2"]}])
def test_other_values_have_other_hashes(other: Any) -> None:
    assert hash_json(other) != hash_json({"a": [1, 2]})


def test_values_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        hash_json({"loss": math.nan})

"""Scores that are kept: found again, computed anew where damaged, and bounded in size."""

import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reslab.data import load_data
from reslab.data.normalization import Normalization
from reslab.data.preprocessing import Preprocessing
from reslab.evaluation.cache import cached_scores, scores_key
from reslab.evaluation.dense import Dense
from reslab.evaluation.protocols import OneCrop, Shifted, TenCrop
from reslab.models.zoo import parse_model

SCORES = np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "reslab" / "scores"


class Counted:
    """Scores that count how often they are computed."""

    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return SCORES.copy()


def test_what_is_there_is_not_computed_again():
    compute = Counted()
    assert cached_scores("key", (4, 3), compute)[1] is False
    scores, found = cached_scores("key", (4, 3), compute)
    assert (found, compute.times, scores.dtype) == (True, 1, np.float32)
    np.testing.assert_array_equal(scores, SCORES)
    assert cached_scores("another", (4, 3), compute)[1] is False


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_text("hello"),
        lambda path: np.savez(path, other=SCORES),
        lambda path: np.savez(path, scores=SCORES.astype(np.float64)),
        lambda path: np.savez(path, scores=SCORES[:2]),
        lambda path: np.savez(path, scores=np.array([{}], dtype=object)),
        lambda path: (path.unlink(), path.mkdir()),
        flip,
    ],
)
def test_a_damaged_file_is_computed_anew(folder, damage):
    compute = Counted()
    cached_scores("key", (4, 3), compute)
    damage(folder / "key.npz")
    scores, found = cached_scores("key", (4, 3), compute)
    assert (found, compute.times) == (False, 2)
    np.testing.assert_array_equal(scores, SCORES)


def test_where_nothing_can_be_written_nothing_is_kept(folder):
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    assert cached_scores("key", (4, 3), Counted())[1] is False


def test_the_files_unused_for_the_longest_time_go_first(folder):
    for number in range(4):
        cached_scores(f"key{number}", (4, 3), Counted())
        os.utime(folder / f"key{number}.npz", (number, number))
    cached_scores("key0", (4, 3), Counted())  # used again
    size = (folder / "key0.npz").stat().st_size
    cached_scores("key4", (4, 3), Counted(), largest_cache=3 * size)
    assert sorted(path.stem for path in folder.iterdir()) == ["key0", "key3", "key4"]


def test_the_key_knows_all_that_scores_depend_on(tiny_data, tmp_path):
    spec, split = parse_model("resnet20[num_classes=4]"), tiny_data().split("test")
    normalization = Normalization.measure(split.images, "per-pixel-mean")
    usual = (spec, "a" * 64, split, normalization, OneCrop(), "cpu")
    other_images = replace(split, images=255 - split.images)
    changes = [
        (0, replace(spec, shortcut_padding="split")),  # the same weights fit
        (1, "b" * 64),
        (2, other_images),
        (2, tiny_data().split("val")),
        (3, replace(normalization, mean=normalization.mean + 0.1)),
        (4, TenCrop(resize=8, crop=7)),
        (4, TenCrop(resize=8, crop=7, average="logits")),
        (4, Dense(scales=(8,))),
        (4, Shifted()),
        (4, Shifted(border=(9,))),
        (5, "cuda"),
    ]
    keys = {scores_key(*usual)}
    assert scores_key(*usual) in keys
    for position, value in changes:
        keys.add(scores_key(*(value if index == position else item for index, item in enumerate(usual))))
    assert len(keys) == 1 + len(changes)


def test_a_photo_that_was_changed_in_place_is_another_one(tmp_path):
    path = tmp_path / "photos" / "class" / "photo.bmp"
    path.parent.mkdir(parents=True)
    spec, keys = parse_model("resnet20[num_classes=1]"), []
    for color in (10, 20):
        Image.new("RGB", (8, 8), (color, 0, 0)).save(path)
        os.utime(path, (color, color))
        split = load_data(
            path.parents[1], kind="photos", view=Preprocessing(height=8, width=8, channels=3, resize=8)
        ).split("train")
        keys.append(scores_key(spec, "a", split, Normalization.imagenet(), OneCrop(), "cpu"))
    assert keys[0] != keys[1]

"""Images of one picture are found: held to imagehash, to all pairs, and to what is done to real photos."""

import io

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from reslab.data import ImageData, Split, load_data
from reslab.data.duplicates import (
    MOST_BITS,
    Fingerprints,
    _like_hashes,
    duplicate_groups,
    fingerprint_images,
    group_numbers,
    perceptual_hashes,
)
from reslab.errors import DataError

SIDE = 96


def scene(seed):
    """A picture with structure of all sizes, as photos have."""
    generator = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((SIDE, SIDE)), float
        )
        for side in (3, 6, 12, 24)
    ]
    mixed = np.tensordot([0.4, 0.3, 0.2, 0.1], layers, 1)
    return Image.fromarray(np.clip((mixed - 127) * 2 + 127, 0, 255).astype(np.uint8))


def compressed(image, quality=40):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def margins_off(image, share=0.02):
    cut = int(share * SIDE)
    return image.crop((cut, cut, SIDE - cut, SIDE - cut)).resize((SIDE, SIDE))


EDITS = {
    "compressed": compressed,
    "smaller": lambda image: image.resize((SIDE // 2, SIDE // 2)).resize((SIDE, SIDE)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "greyer": lambda image: ImageEnhance.Color(image).enhance(0.5),
    "flatter": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "cut": margins_off,
}


def prints_of(images):
    pixels = np.stack([np.asarray(image) for image in images])
    return fingerprint_images(Split(pixels, np.zeros(len(pixels), np.int64)))


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(40)]


def test_hashes_are_those_of_imagehash(scenes):
    images = [*scenes, Image.new("RGB", (SIDE, SIDE), "white")]
    wanted = [int(str(imagehash.phash(image)), 16) for image in images]
    assert prints_of(images).hashes.tolist() == wanted


def test_all_pairs_of_near_hashes_are_found():
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 1 << 63, 300, dtype=np.uint64)
    flips = [sum(1 << int(bit) for bit in generator.permutation(64)[: number % 10]) for number in range(300)]
    hashes = np.concatenate([hashes, hashes ^ np.array(flips, np.uint64)])
    found = {tuple(pair) for pairs in _like_hashes(hashes) for pair in pairs.T.tolist()}
    bits = np.bitwise_count(hashes[:, None] ^ hashes)
    assert found == {(a, b) for a, b in np.argwhere(bits <= MOST_BITS).tolist() if a < b}
    assert len(found) == 240  # of ten numbers of flipped bits eight


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_done_to_a_picture_does_not_hide_it(edit, scenes):
    images = scenes + [EDITS[edit](image) for image in scenes]
    groups = duplicate_groups(prints_of(images))
    assert sum(group.tolist() == [group[0], group[0] + len(scenes)] for group in groups) >= 0.9 * len(scenes)
    assert all(len(set((group % len(scenes)).tolist())) == 1 for group in groups)


def test_other_pictures_are_other_groups(scenes, digits):
    assert duplicate_groups(prints_of(scenes)) == []
    assert len(np.unique(group_numbers(prints_of(scenes)))) == len(scenes)
    # Which are like each other; one is there twice.
    assert len(duplicate_groups(fingerprint_images(digits.split("train")))) <= 2


def test_colour_counts_where_nothing_else_does():
    red, green = (Image.new("RGB", (SIDE, SIDE), color) for color in ((255, 0, 0), (0, 130, 0)))  # as bright
    assert [group.tolist() for group in duplicate_groups(prints_of([red, green, red, green, red]))] == [
        [0, 2, 4],
        [1, 3],
    ]


def test_groups_are_all_that_is_connected(scenes):
    first, second = scenes[:2]
    images = [
        second,
        first,
        compressed(first, 30),
        *scenes[2:12],
        margins_off(first),
        second,
        ImageEnhance.Color(first).enhance(0.4),
    ]
    found = [group.tolist() for group in duplicate_groups(prints_of(images))]
    assert found == [[0, 14], [1, 2, 13, 15]]
    numbers = group_numbers(prints_of(images))
    assert len(set(numbers[[1, 2, 13, 15]].tolist())) == len(set(numbers[[0, 14]].tolist())) == 1
    assert len(np.unique(numbers)) == len(images) - 4


def test_a_thousand_copies_are_one_group(scenes):
    prints = prints_of(scenes[:12])
    many = Fingerprints.joined([prints, *[Fingerprints.of(prints.grey[:1], prints.color[:1])] * 3000])
    (group,) = duplicate_groups(many)
    assert len(group) == 3001
    assert duplicate_groups(Fingerprints.of(prints.grey[:0], prints.color[:0])) == []
    assert len(perceptual_hashes(prints.grey[:0])) == 0


def test_a_folder_of_photos_by_their_files(scenes, tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
    for number, image in enumerate(scenes[:6]):
        image.resize((300 + number, 260)).save(tmp_path / "ab"[number % 2] / f"{number}.jpg")
    scenes[0].resize((170, 200)).save(tmp_path / "b" / "again.png")
    turned = scenes[1].resize((200, 200)).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a" / "turned.jpg", exif=exif)
    split = load_data(tmp_path, kind="photos").split("train")
    told = []
    groups = duplicate_groups(fingerprint_images(split, advance=told.append))
    names = [[split.name(int(index)) for index in group] for group in groups]
    assert names == [["train/a/0.jpg", "train/b/again.png"], ["train/a/turned.jpg", "train/b/1.jpg"]] or names == [
        ["a/0.jpg", "b/again.png"],
        ["a/turned.jpg", "b/1.jpg"],
    ]
    assert sum(told) == len(split) == 8
    (tmp_path / "b" / "1.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"cannot use the image \S*b/1\.jpg: it is not an image"):
        fingerprint_images(split)


def test_splits_that_are_joined_count_on(scenes):
    data = ImageData(
        "scenes",
        ("a",),
        {
            "train": Split(np.stack([np.asarray(image) for image in scenes[:20]]), np.zeros(20, np.int64)),
            "val": Split(np.stack([np.asarray(compressed(image)) for image in scenes[15:30]]), np.zeros(15, np.int64)),
        },
    )
    joined = Fingerprints.joined([fingerprint_images(data.split(role)) for role in ("train", "val")])
    assert [group.tolist() for group in duplicate_groups(joined)] == [[15 + n, 20 + n] for n in range(5)]

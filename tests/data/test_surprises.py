"""Folders of images as people have them: each read as it is meant, or refused with what to give instead."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.data import available_roles, kind_and_classes, load_data
from reslab.data.check import check_folder
from reslab.data.class_names import order_doubt, read_class_names
from reslab.data.listing import DataWarning
from reslab.deploy.prediction import find_images
from reslab.errors import DataError
from reslab.texts import show_name

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Writes random images under the folder `pets`, and gives the folder."""

    def write(*names: str) -> Path:
        for name in names:
            path = tmp_path / "pets" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)).save(path)
        return tmp_path / "pets"

    return write


def each(*classes: str, below: str = "") -> list[str]:
    return [f"{below}{name}/1.png" for name in classes]


def refusal(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_data(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Training", "Validation", "Test"), ("TRAIN", "valid", "testing"), ("train", "Val", "Testing")],
)
def test_roles_are_known_however_they_are_spelt(write: Write, train: str, val: str, test: str) -> None:
    folder = write(*each("cat", "dog", below=f"{train}/"), *each("cat", "dog", below=f"{val}/"))
    write(*each("cat", "dog", below=f"{test}/"), f"{test}/dog/2.png")
    with pytest.warns(DataWarning, match=f"{val}/ as the val images and {test}/ as the test images, by their names"):
        data = load_data(folder)
    assert data.classes == ("cat", "dog")
    assert {role: len(split) for role, split in data.splits.items()} == {"train": 2, "val": 2, "test": 3}
    assert available_roles(folder) == ("train", "val", "test")


def test_two_folders_for_a_role_are_refused(write: Write) -> None:
    folder = write(*each("cat", "dog", below="train/"), *each("cat", "dog", below="val/"))
    write(*each("cat", "dog", below="validation/"))
    assert "both val/ and validation/" in refusal(folder)


def test_classes_may_be_called_like_roles(write: Write) -> None:
    assert load_data(write(*each("invalid", "Valid"))).classes == ("Valid", "invalid")


@pytest.mark.parametrize("role", ["train/", "Training/", ""])
def test_a_folder_one_level_too_high_names_the_one_that_is_meant(write: Write, role: str) -> None:
    folder = write(*each("cat", "dog", below=f"data/photos/{role}"))
    assert f"give {folder / 'data' / 'photos'} instead" in refusal(folder)
    assert f"give {folder / 'data' / 'photos'} instead" in refusal(folder / "data")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        assert load_data(folder / "data" / "photos").classes == ("cat", "dog")


def test_folders_with_the_same_classes_in_each_are_refused(write: Write) -> None:
    folder = write(*each("cat", "dog", below="part1/"), *each("cat", "dog", below="part2/"))
    assert f"each hold cat/, dog/, which look like the classes; give one of them instead, as {folder / 'part1'}" in (
        refusal(folder)
    )


def test_roles_within_classes_are_refused(write: Write) -> None:
    folder = write("cat/train/1.png", "cat/test/2.png", "dog/train/1.png", "dog/test/2.png")
    assert f"the other way round is read, as {folder / 'train' / 'cat'}" in refusal(folder)


def test_classes_of_folders_that_differ_are_read_with_a_word(write: Write) -> None:
    with pytest.warns(DataWarning, match="hold only folders"):
        assert load_data(write("cat/persian/1.png", "dog/pug/1.png")).classes == ("cat", "dog")


def test_test_images_without_classes_are_passed_over_with_a_word(write: Write) -> None:
    folder = write(*each("cat", "dog", below="train/"), *each("cat", "dog", below="val/"), "test/1.png", "test/2.png")
    with pytest.warns(DataWarning, match=r"test has no class folders, so that its 2 images have no labels"):
        assert list(load_data(folder).splits) == ["train", "val"]
    assert available_roles(folder) == ("train", "val")
    with pytest.raises(DataError, match="has no test images; it has train and val"):
        load_data(folder, roles=["test"])


def test_loose_files_are_told_of(write: Write) -> None:
    folder = write(*each("cat", "dog"), "1.png", "2.png")
    (folder / "labels.csv").write_text("1.png,cat")
    (folder / "README.txt").write_text("pets")
    with pytest.warns(DataWarning) as told:
        assert load_data(folder).classes == ("cat", "dog")
    assert [str(warning.message) for warning in told] == [
        f"{folder} has 2 images beside its folders, which belong to no class and are passed over.",
        f"{folder / 'labels.csv'} is not read: the folders alone say which class an image has. "
        "To go by a table, give the file instead of the folder.",
    ]


def test_a_class_that_begins_with_a_dot_is_told_of(write: Write) -> None:
    folder = write(*each(".net", "java", "php"))
    with pytest.warns(DataWarning, match=r"\.net has images, and is passed over since its name begins with a dot"):
        assert load_data(folder).classes == ("java", "php")


def test_litter_is_passed_over_without_a_word(write: Write) -> None:
    folder = write(*each("cat", "dog", below="train/"), *each("cat", "dog", below="val/"))
    write("train/cat/.ipynb_checkpoints/1-checkpoint.png", "train/.ipynb_checkpoints/2.png", "__MACOSX/train/cat/1.png")
    write("train/__MACOSX/cat/1.png", "@eaDir/train/1.png")
    for place in ("", "train", "train/cat", "val/dog"):
        (folder / place / "._1.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (folder / place / name).write_bytes(b"litter")
    for kind in ("small", "photos"):
        data = load_data(folder, kind=kind)  # warnings are errors here
        assert (data.classes, len(data.split("train")), len(data.split("val"))) == (("cat", "dog"), 2, 2)
    assert sorted(path.relative_to(folder).as_posix() for path in find_images([folder])) == [
        *each("cat", "dog", below="train/"),
        *each("cat", "dog", below="val/"),
    ]
    report = check_folder(folder)
    assert {finding.problem for finding in report.findings} == {"single-image"}
    assert report.num_images == {"train": 2, "val": 2}


def test_photos_in_formats_that_are_not_read_are_told_of(write: Write) -> None:
    folder = write(*each("cat", "dog"))
    (folder / "cat" / "2.HEIC").write_bytes(b"ftypheic")
    with pytest.warns(DataWarning, match=r"of .*cat 1 photo are passed over: \.heic files cannot be read; convert"):
        assert len(load_data(folder).split("train")) == 2
    (folder / "cat" / "1.png").unlink()
    assert "has no images; of" in (message := refusal(folder))
    assert "pip install pillow-heif" in message


def test_numbers_that_stand_in_the_order_of_their_text_are_doubted() -> None:
    numbers = tuple(sorted(map(str, range(12))))
    assert "label 2 is '10'; by their numbers it would be '2'" in order_doubt(numbers)
    assert "label 1 is 'class10'" in order_doubt(("class1", "class10", "class2"))
    for classes in (tuple(map(str, range(10))), tuple(map(str, range(12))), ("01", "02", "10"), ("cat", "dog10")):
        assert order_doubt(classes) == ""


def test_a_file_of_classes_gives_their_order(write: Write, tmp_path: Path) -> None:
    folder = write(*(f"train/{number}/1.png" for number in range(12)), *(f"val/{number}/1.png" for number in range(12)))
    (tmp_path / "classes.txt").write_bytes("\ufeff".encode() + b"\r\n".join(b"%d" % number for number in range(12)))
    names = read_class_names(tmp_path / "classes.txt")
    assert names == tuple(map(str, range(12)))
    data = load_data(folder)
    ordered = data.in_order(names)
    assert data.split("val").labels.tolist() == list(range(12))
    assert [ordered.classes[label] for label in ordered.split("val").labels] == list(data.classes)
    assert ordered.split("val").labels.tolist() == [0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9]
    with pytest.raises(DataError, match="lacks '11', a class folder of pets"):
        data.in_order(names[:11])
    with pytest.raises(DataError, match="has '12', and pets has no such class folder"):
        data.in_order([*names, "12"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\ndog\ncat\n", "has the class 'cat' twice, in lines 1 and 3"),
        (b"cat\n\ndog\n", "has no name in line 2"),
        (b"", "has no name in line 1"),
        (b"\xff\xd8\xff\xe0", "is no text in UTF-8"),
        (None, "there is no file"),
    ],
)
def test_a_file_that_is_no_list_of_classes_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_class_names(tmp_path / "classes.txt")
    assert str(tmp_path / "classes.txt") in str(caught.value)


def test_names_are_shown_on_one_line() -> None:
    assert show_name("a\x1b[31m\nb\udcff\u202e猫 c") == "a\\x1b[31m\\nb\\xff\\u202e猫 c"
    assert show_name(Path("دوست‌ها") / "👩‍👧.png") == "دوست‌ها/👩‍👧.png"


def test_a_folder_that_went_missing_between_is_told(write: Write) -> None:
    folder = write(*each("cat", "dog"))
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="no data at"):
        kind_and_classes(folder)

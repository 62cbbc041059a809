"""What `reslab data check` tells of a folder, besides damage."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.cli.main import main
from reslab.data.check import check_folder
from reslab.data.decoding import decode_image
from reslab.deploy.prediction import find_images
from reslab.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Writes a random picture under the folder `pets`, and gives the folder."""

    def write(*names: str, size: tuple[int, int] = (8, 8)) -> Path:
        for name in names:
            path = tmp_path / "pets" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        return tmp_path / "pets"

    return write


@pytest.fixture
def pets(write: Write) -> Path:
    """Two classes of two pictures each in train and val."""
    return write(
        *(f"{role}/{name}/{number}.png" for role in ("train", "val") for name in ("cat", "dog") for number in (1, 2))
    )


def found(folder: Path) -> set[tuple[str, str, str]]:
    return {(item.path, item.problem, item.detail) for item in check_folder(folder).findings}


def test_images_a_class_are_counted(pets: Path, write: Write) -> None:
    write(*(f"train/dog/{number}.png" for number in range(3, 8)))
    report = check_folder(pets)
    assert report.class_counts == {"cat": {"train": 2, "val": 2}, "dog": {"train": 7, "val": 2}}
    assert found(pets) == {("train", "unbalanced", "dog has 7 images, and cat 2")}
    assert not report.blocking
    assert "class  train  val\ndog        7    2\ncat        2    2" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["class_counts"] == report.class_counts


def test_of_many_classes_the_largest_and_the_smallest_are_shown(write: Write) -> None:
    folder = write(*(f"c{number:02}/{image}.png" for number in range(20) for image in range(2 if number < 19 else 6)))
    lines = str(check_folder(folder)).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("class "))
    assert [line.split()[0] for line in lines[start + 1 : start + 14]] == [
        *("c19", "c00", "c01", "c02", "c03", "c04", "(8"),
        *("c13", "c14", "c15", "c16", "c17", "c18"),
    ]


def test_the_same_picture_in_two_classes_or_roles_stops_a_check(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open(pets / "train" / "cat" / "1.png") as image:
        image.save(pets / "train" / "dog" / "other.bmp")  # other bytes, the same pixels
    (pets / "val" / "cat" / "3.png").write_bytes((pets / "train" / "cat" / "2.png").read_bytes())
    assert found(pets) == {
        ("train/dog/other.bmp", "in-two-classes", "train/cat/1.png"),
        ("val/cat/3.png", "leaked", "train/cat/2.png"),
    }
    assert check_folder(pets).blocking
    assert main(["data", "check", str(pets), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["blocking"], said["problems"]["leaked"], said["problems"]["in-two-classes"]) == (True, 1, 1)
    assert main(["data", "check", str(pets)]) == 1
    assert "train/dog/other.bmp: train/cat/1.png" in capsys.readouterr().out


def test_placeholders_are_told_by_name_colour_and_repetition(pets: Path, write: Write) -> None:
    write("train/cat/imageNotFound.gif")
    Image.new("RGB", (8, 8), "white").save(pets / "train" / "cat" / "white.png")
    for number in (3, 4):
        (pets / "train" / "dog" / f"{number}.png").write_bytes((pets / "train" / "dog" / "1.png").read_bytes())
    assert found(pets) == {
        ("train/cat/imageNotFound.gif", "placeholder", "by its name"),
        ("train/cat/white.png", "placeholder", "it has a single colour"),
        ("train/dog/1.png", "placeholder", "it is there 3 times"),
        ("train/dog/3.png", "duplicate", "train/dog/1.png"),
        ("train/dog/4.png", "duplicate", "train/dog/1.png"),
    }
    assert not check_folder(pets).blocking


def test_the_placeholder_of_a_real_data_set_is_found(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "data" / "hymenoptera.tar") as archive:
        names = [name for name in archive.getnames() if "/train/" in name and name.endswith((".jpg", ".gif"))]
        chosen = sorted(name for name in names if name.endswith(".gif")) + sorted(names)[:3]
        archive.extractall(tmp_path, [archive.getmember(name) for name in chosen], filter="data")
    (finding,) = [
        item for item in check_folder(tmp_path / "hymenoptera_data").findings if item.problem == "placeholder"
    ]
    assert finding.path == "train/ants/imageNotFound.gif"


def test_odd_shapes_and_films_are_told(pets: Path, write: Write, rng: np.random.Generator) -> None:
    write("train/cat/dot.png", size=(1, 1))
    write("train/dog/line.png", size=(3000, 4))
    write("train/dog/wide.png", size=(160, 8))  # exactly 20 times
    frames = [Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(pets / "train" / "dog" / "film.gif", save_all=True, append_images=frames[1:])
    assert found(pets) == {
        ("train/cat/dot.png", "tiny", "1x1 pixels"),
        ("train/dog/line.png", "oblong", "3000x4 pixels"),
        ("train/dog/film.gif", "animated", "3 pictures"),
    }
    np.testing.assert_array_equal(decode_image(pets / "train" / "dog" / "film.gif", 1), np.asarray(frames[0]))


def test_a_class_of_one_image_is_told(pets: Path) -> None:
    (pets / "train" / "dog" / "2.png").unlink()
    assert found(pets) == {("train/dog", "single-image", "")}


def test_photos_that_need_converting_are_named(pets: Path, tmp_path: Path) -> None:
    for name in ("cat/IMG_1.HEIC", "cat/2.avif"):
        (pets / "train" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (pets / "train" / "dog" / "3.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    problems = {(path, problem) for path, problem, _ in found(pets)}
    assert problems == {
        ("train/cat/IMG_1.HEIC", "needs-converting"),
        ("train/cat/2.avif", "needs-converting"),
        ("train/dog/3.jpg", "unreadable"),
    }
    shown = str(check_folder(pets))
    assert (
        "train/cat/IMG_1.HEIC: .heic files cannot be read; convert them to JPEG, as with `pip install pillow-heif`"
        in shown
    )
    assert "train/dog/3.jpg: it is HEIC, AVIF or a film" in shown
    assert pets / "train" / "cat" / "IMG_1.HEIC" in set(find_images([pets]))
    with pytest.raises(DataError, match="pip install pillow-heif"):
        decode_image(pets / "train" / "cat" / "IMG_1.HEIC", 3)


def test_what_lies_beside_is_told_too(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pets / "labels.csv").write_text("1,cat")
    (pets / "train").rename(pets / "Training")
    report = check_folder(pets)
    assert report.num_images == {"train": 4, "val": 4}
    assert [note.split(" ", 1)[1] for note in report.notes] == [
        "has Training/ as the train images, by their names.",
        "is not read: the folders alone say which class an image has. To go by a table, give the file instead of the "
        "folder.",
    ]
    assert main(["data", "check", str(pets)]) == 0
    assert "note: " in capsys.readouterr().out

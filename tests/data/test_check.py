"""What is wrong with a folder: every kind of damage, made of real photographs."""

import json

import pytest
from PIL import Image

from reslab.data.check import check_folder
from reslab.data.quarantine import quarantine
from reslab.errors import DataError


@pytest.fixture
def pets(photos, tmp_path, enormous_png):
    """Ten whole photographs in two classes of train and val, and one of each kind of damage."""
    sources = sorted(photos.glob("val/*/*"))
    root = tmp_path / "pets"
    for number, source in enumerate(sources[:10]):
        path = root / ("train" if number < 6 else "val") / ("cat" if number % 2 else "dog") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes())
    cats = root / "train" / "cat"
    whole = sources[10].read_bytes()
    (cats / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (cats / "text.png").write_text("no image")
    (cats / "empty.jpg").touch()
    (cats / "huge.png").write_bytes(enormous_png)
    (cats / "misnamed.png").write_bytes(whole)
    (cats / "notes.txt").write_text("about cats")
    (root / "val" / "cat" / "leaked.jpg").write_bytes((root / "train" / "cat" / "1.jpg").read_bytes())
    (root / "train" / "bird").mkdir()
    Image.open(sources[11]).convert("L").save(cats / "grey.png")
    (cats / "dangling.jpg").symlink_to(tmp_path / "nowhere.jpg")
    return root


EXPECTED = {
    ("train", "unbalanced"),
    ("train/bird", "empty-class"),
    ("train/cat/cut.jpg", "truncated"),
    ("train/cat/dangling.jpg", "unreadable"),
    ("train/cat/empty.jpg", "unreadable"),
    ("train/cat/huge.png", "too-large"),
    ("train/cat/misnamed.png", "wrong-extension"),
    ("train/cat/notes.txt", "no-image"),
    ("train/cat/text.png", "unreadable"),
    ("val/cat/leaked.jpg", "leaked"),
}


def test_every_kind_of_damage_is_found_and_nothing_else(pets):
    done = []
    report = check_folder(pets, advance=lambda *counts: done.append(counts))
    assert {(finding.path, finding.problem) for finding in report.findings} == EXPECTED
    details = {finding.path: finding.detail for finding in report.findings}
    assert details["val/cat/leaked.jpg"] == "train/cat/1.jpg"
    assert details["train/cat/misnamed.png"] == "it is JPEG"
    assert report.num_images == {"train": 13, "val": 5}
    assert report.num_classes == 3
    assert report.kinds["grey"] >= 1
    assert done[-1] == (18, 18)
    assert json.loads(json.dumps(report.to_dict()))["problems"]["unreadable"] == 3


def test_a_quarantine_takes_what_cannot_be_used_and_says_why(pets, tmp_path):
    moved = quarantine(pets, check_folder(pets), tmp_path / "bad")
    unusable = {path for path, problem in EXPECTED if problem in ("truncated", "unreadable", "too-large")}
    assert set(moved) == unusable
    for path in unusable:
        assert not (pets / path).is_symlink()
        assert not (pets / path).exists()
        assert (tmp_path / "bad" / path).is_symlink() or (tmp_path / "bad" / path).exists()
    (pets / "train" / "cat" / "later.jpg").write_text("no image either")
    assert quarantine(pets, check_folder(pets), tmp_path / "bad") == ["train/cat/later.jpg"]
    moves = json.loads((tmp_path / "bad" / "quarantine.json").read_text())["moves"]
    assert [{finding["path"] for finding in move["findings"]} for move in moves] == [unusable, {"train/cat/later.jpg"}]
    left = check_folder(pets)
    assert {finding.problem for finding in left.findings} == {"empty-class", "wrong-extension", "no-image", "leaked"}
    assert quarantine(pets, left, tmp_path / "none") == []
    assert not (tmp_path / "none").exists()


def test_nothing_is_moved_where_that_would_lose_something(pets, tmp_path):
    report = check_folder(pets)
    with pytest.raises(DataError, match=r"lies in .* itself"):
        quarantine(pets, report, pets / "bad")
    (tmp_path / "bad" / "train" / "cat").mkdir(parents=True)
    (tmp_path / "bad" / "train" / "cat" / "cut.jpg").write_text("earlier")
    with pytest.raises(DataError, match="is there already"):
        quarantine(pets, report, tmp_path / "bad")
    assert check_folder(pets) == report


def test_what_cannot_be_listed_is_told(photos, tmp_path):
    sources = sorted(photos.glob("val/*/*"))
    for number, name in enumerate(("train/x", "train/y", "val/x", "val/z")):
        (tmp_path / name).mkdir(parents=True)
        for copy in range(2):
            (tmp_path / name / f"{copy}.jpg").write_bytes(sources[2 * number + copy].read_bytes())
    (finding,) = check_folder(tmp_path).findings
    assert (finding.problem, finding.path) == ("structure", ".")
    assert "lacks the class 'y'" in finding.detail


def test_whole_photographs_are_left_alone(photos):
    report = check_folder(photos / "val")
    assert {finding.problem for finding in report.findings} == {"single-image"}
    assert report.num_images == {"": 200}


def test_folders_without_classes_get_a_sentence(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        check_folder(tmp_path / "none")
    with pytest.raises(DataError, match="has no class folders"):
        check_folder(tmp_path)
